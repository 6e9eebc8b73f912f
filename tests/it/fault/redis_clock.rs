//! Jumps of Redis's clock: entries expire before the tokens that they refuse.

use super::redis_scene::Scene;
use latchkey_testkit::servers::own::OwnRedis;

async fn scene(flags: &[&str]) -> Scene<OwnRedis> {
    let redis = OwnRedis::with_own_clock().await;
    let mut all = vec![format!("--redis-url={}", redis.url())];
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Scene::with(redis, &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_jump_past_every_entry_lets_no_dead_token_in() {
    let scene = scene(&[]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.redis.jump(40 * 86_400);
    scene.refused_until_trusted(&dead).await;
    scene.accepted(&live).await;
    let entries: Vec<String> = scene.redis.ask(&["KEYS", "*:s:*"]).await;
    assert_eq!(entries.len(), 1, "the entry was written again");
}

/// Each jump is shorter than the lifetime of a cache epoch. Their sum exceeds the lifetime of an
/// entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_clock_jumps_let_no_dead_token_in() {
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
    scene.refused_until_trusted(&dead).await;
    scene.accepted(&live).await;
}
