//! Keys in the database while the database is unavailable.

use std::{fs, os::unix::fs::PermissionsExt as _};

use latchkey_service::keys::Rotate;
use latchkey_verifier::Kind;

use super::{Probe, unavailable};
use latchkey_testkit::{
    Backend, TestApp,
    servers::{
        eventually,
        own::{OwnPostgres, OwnRedis},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_keys_publish_and_verify_without_the_database() {
    let (mut postgres, redis) = (OwnPostgres::start_with(&[]).await, OwnRedis::start().await);
    let folder = tempfile::tempdir().unwrap();
    let passphrase = folder.path().join("passphrase");
    fs::write(&passphrase, "a passphrase of this test\n").unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let flags = [
        format!("--database-url={}", postgres.url()),
        format!("--redis-url={}", redis.url()),
        format!("--keys-passphrase-file={}", passphrase.display()),
        "--keys=database".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let app = TestApp::start_with(Backend::Embedded, &flags).await;
    Probe::new(&app, &postgres.url())
        .await
        .eventually_redis_answers(&app)
        .await;
    let pair = app.signed_in("ada").await;
    let keys = app.get("/.well-known/jwks.json").await;

    postgres.stop();
    eventually("readiness is 503", async || {
        app.get("/health/ready").await.status == 503
    })
    .await;
    for _ in 0..20 {
        app.verify(&pair.access).await.expect(200, "{}");
        app.get("/.well-known/jwks.json")
            .await
            .expect(200, &keys.text);
    }
    unavailable(&app.refresh(&pair.refresh).await);
    let metrics = app.get("/metrics").await.text;
    assert!(
        metrics.contains("\nlatchkey_key_ring_keys 2\n")
            && metrics.contains("\nlatchkey_key_ring_unusable 0\n"),
        "{metrics}"
    );

    postgres.again().await;
    let next = app.refresh(&pair.refresh).await.pair();
    app.live(&next).await;
    let order = Rotate {
        kind: Kind::Access,
        algorithm: None,
        now: false,
    };
    let created = app.keys().await.rotate(order).await.unwrap();
    eventually("the new key is published", async || {
        app.kids().await.contains(&created.kid)
    })
    .await;
}
