//! Two servers that share a database and one Redis, of any topology.

use super::{BLACKLISTED, Probe, VERIFY_BLACKLISTED};
use latchkey_testkit::{
    Backend, Pair, TestApp,
    servers::{self, eventually},
};

pub struct Scene<R> {
    pub app: TestApp,
    pub twin: TestApp,
    pub probe: Probe,
    pub redis: R,
    pub database: String,
}

impl<R> Scene<R> {
    /// Starts two servers with these flags and waits until both trust Redis.
    pub async fn with(redis: R, flags: &[String]) -> Self {
        let scene = Self::untrusted(redis, flags).await;
        scene.eventually_trusted().await;
        scene
    }

    /// Starts two servers with these flags without waiting for trust in Redis.
    pub async fn untrusted(redis: R, flags: &[String]) -> Self {
        let database = servers::fresh_database().await;
        let mut all = vec![format!("--database-url={database}")];
        all.extend_from_slice(flags);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let app = TestApp::start_with(Backend::Embedded, &all).await;
        let twin = app.twin().await;
        let probe = Probe::new(&app, &database).await;
        Self {
            app,
            twin,
            probe,
            redis,
            database,
        }
    }

    pub async fn eventually_trusted(&self) {
        for server in self.servers() {
            self.probe.eventually_redis_answers(server).await;
        }
    }

    pub fn servers(&self) -> [&TestApp; 2] {
        [&self.app, &self.twin]
    }

    pub async fn refused(&self, pair: &Pair) {
        for server in self.servers() {
            server
                .verify(&pair.access)
                .await
                .expect(400, VERIFY_BLACKLISTED);
            server
                .verify(&pair.refresh)
                .await
                .expect(400, VERIFY_BLACKLISTED);
            server.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
        }
    }

    pub async fn accepted(&self, pair: &Pair) {
        for server in self.servers() {
            server.verify(&pair.access).await.expect(200, "{}");
            server.verify(&pair.refresh).await.expect(200, "{}");
        }
    }

    pub async fn trusted(&self) -> bool {
        self.probe.redis_answers(&self.app).await && self.probe.redis_answers(&self.twin).await
    }

    /// Asserts repeatedly that the tokens are refused, until both servers trust Redis again.
    pub async fn refused_until_trusted(&self, pair: &Pair) {
        eventually("both servers trust Redis again", async || {
            self.refused(pair).await;
            self.trusted().await
        })
        .await;
        self.refused(pair).await;
    }

    /// Asserts repeatedly that `dead` tokens are refused and `live` ones accepted, until `done`.
    pub async fn correct_until(
        &self,
        dead: &[Pair],
        live: &Pair,
        what: &str,
        mut done: impl AsyncFnMut() -> bool,
    ) {
        eventually(what, async || {
            for pair in dead {
                self.refused(pair).await;
            }
            self.accepted(live).await;
            done().await
        })
        .await;
    }
}
