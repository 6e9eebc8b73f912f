//! Two servers over one Redis, however it is set up.

use super::{BLACKLISTED, Probe, REFUSED};
use crate::support::{
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
    /// Two servers with these flags, which believe Redis.
    pub async fn with(redis: R, flags: &[String]) -> Self {
        let scene = Self::unbelieving(redis, flags).await;
        scene.eventually_believed().await;
        scene
    }

    pub async fn unbelieving(redis: R, flags: &[String]) -> Self {
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

    pub async fn eventually_believed(&self) {
        for server in self.servers() {
            self.probe.eventually_redis_answers(server).await;
        }
    }

    pub fn servers(&self) -> [&TestApp; 2] {
        [&self.app, &self.twin]
    }

    pub async fn refused(&self, pair: &Pair) {
        for server in self.servers() {
            server.verify(&pair.access).await.expect(400, REFUSED);
            server.verify(&pair.refresh).await.expect(400, REFUSED);
            server.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
        }
    }

    pub async fn accepted(&self, pair: &Pair) {
        for server in self.servers() {
            server.verify(&pair.access).await.expect(200, "{}");
            server.verify(&pair.refresh).await.expect(200, "{}");
        }
    }

    pub async fn believed(&self) -> bool {
        self.probe.redis_answers(&self.app).await && self.probe.redis_answers(&self.twin).await
    }

    /// Sees to it that the token is refused at every moment until Redis is believed again by both.
    pub async fn refused_until_believed(&self, pair: &Pair) {
        eventually("Redis is believed again, by both", async || {
            self.refused(pair).await;
            self.believed().await
        })
        .await;
        self.refused(pair).await;
    }

    /// Sees to it that the dead are refused and the living accepted at every moment until `done`.
    pub async fn right_until(
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
