//! Two deployments, each with its own database, that share one Redis and one key prefix.

use super::{Probe, VERIFY_BLACKLISTED, readiness, redis_scene::Scene, state};
use latchkey_testkit::{
    Backend, Pair, TestApp,
    servers::{self, eventually, own::OwnRedis},
};

struct Two {
    ours: Scene<OwnRedis>,
    theirs: TestApp,
    their_probe: Probe,
}

impl Two {
    async fn start() -> Self {
        let redis = OwnRedis::start().await;
        let flags = [format!("--redis-url={}", redis.url())];
        let ours = Scene::with(redis, &flags).await;
        let database = servers::fresh_database().await;
        let flags = [
            format!("--database-url={database}"),
            format!("--redis-url={}", ours.redis.url()),
        ];
        let theirs =
            TestApp::start_with(Backend::Embedded, &flags.each_ref().map(String::as_str)).await;
        let their_probe = Probe::new(&theirs, &database).await;
        Self {
            ours,
            theirs,
            their_probe,
        }
    }

    async fn refused(&self, our_dead: &Pair, their_dead: &Pair) {
        self.ours.refused(our_dead).await;
        self.theirs
            .verify(&their_dead.access)
            .await
            .expect(400, VERIFY_BLACKLISTED);
    }

    async fn theirs_trust_redis(&self) -> bool {
        self.their_probe.redis_answers(&self.theirs).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_rebuilt_by_one_deployment_lets_no_dead_token_in() {
    let two = Box::pin(Two::start()).await;
    let (our_dead, their_dead) = (
        two.ours.app.signed_in("ada").await,
        two.theirs.signed_in("ada").await,
    );
    two.ours
        .app
        .blacklist(&our_dead.refresh)
        .await
        .expect(200, "{}");
    two.theirs
        .blacklist(&their_dead.refresh)
        .await
        .expect(200, "{}");
    for _ in 0..5 {
        let () = two.ours.redis.ask(&["FLUSHALL"]).await;
        eventually("one of the two has rebuilt the cache", async || {
            two.refused(&our_dead, &their_dead).await;
            two.ours.probe.redis_answers(&two.ours.app).await || two.theirs_trust_redis().await
        })
        .await;
        two.refused(&our_dead, &their_dead).await;
        assert_ne!(
            two.ours.probe.redis_answers(&two.ours.app).await,
            two.theirs_trust_redis().await
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_deployment_is_degraded_until_the_first_stops() {
    let mut two = Box::pin(Two::start()).await;
    eventually("the second is degraded", async || {
        readiness(&two.theirs).await == state(200, "degraded", "degraded")
    })
    .await;
    let pair = two.theirs.signed_in("ada").await;
    two.theirs.verify(&pair.access).await.expect(200, "{}");
    assert!(two.ours.trusted().await && !two.theirs_trust_redis().await);
    let metrics = two.theirs.get("/metrics").await.text;
    assert!(
        metrics.contains("latchkey_blacklist_trusted 0\n"),
        "{metrics}"
    );

    two.ours.app.stop();
    two.ours.twin.stop();
    for bucket in 0..16 {
        let _: i64 = two
            .ours
            .redis
            .ask(&["PEXPIRE", &format!("{{latchkey:{bucket}}}:epoch"), "1"])
            .await;
    }
    eventually("the second trusts Redis", async || {
        two.theirs_trust_redis().await
    })
    .await;
    eventually("readiness is ok", async || {
        readiness(&two.theirs).await == state(200, "ok", "ok")
    })
    .await;
}
