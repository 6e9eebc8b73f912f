//! The clock of Redis jumps: entries expire before the tokens that they refuse.

use super::redis_scene::Scene;
use crate::support::servers::own::OwnRedis;

async fn scene(flags: &[&str]) -> Scene<OwnRedis> {
    let redis = OwnRedis::with_own_clock().await;
    let mut all = vec![format!("--redis-url={}", redis.url())];
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Scene::with(redis, &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_of_redis_clock_beyond_every_entry_s_end_lets_no_dead_token_in() {
    let scene = scene(&[]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.redis.jump(40 * 86_400);
    scene.refused_until_believed(&dead).await;
    scene.accepted(&live).await;
    let marks: Vec<String> = scene.redis.ask(&["KEYS", "*:s:*"]).await;
    assert_eq!(marks.len(), 1, "it was written again");
}

/// Each jump is shorter than the life of an epoch; together they are longer than that of an entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_jumps_of_redis_clock_let_no_dead_token_in() {
    let scene = scene(&["--refresh-token-lifetime=5m", "--session-lifetime=5m"]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    for jump in 1..=30 {
        scene.redis.jump(jump * 50);
        scene.refused(&dead).await;
        scene.accepted(&live).await;
    }
    scene.refused_until_believed(&dead).await;
    scene.accepted(&live).await;
}
