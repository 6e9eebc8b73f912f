//! Password hashing under load, and renewal of old hashes.

use futures_util::future::join_all;

use super::tools::{BAD_CREDENTIALS, select};
use latchkey_testkit::{Backend, PASSWORD, TestApp, on_both_backends};

const HASH: &str = "SELECT password_hash AS found FROM users WHERE username = 'ada'";

on_both_backends! {
    async fn sign_ins_beyond_the_queue_get_503(backend: Backend) {
        let app = TestApp::start_with(backend, &["--hash-threads=1", "--hash-queue=1", "--argon2-passes=16"]).await;
        app.user("ada").await;
        let answers = join_all((0..12).map(|_| app.obtain("ada", PASSWORD))).await;
        let (busy, done): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 503);
        assert!(!busy.is_empty() && !done.is_empty(), "{} busy, {} done", busy.len(), done.len());
        for answer in busy {
            answer.expect(503, r#"{"detail":"Too many sign-ins at once. Try again shortly."}"#);
            assert_eq!((answer.header("retry-after"), answer.header("allow")), ("1", "POST, OPTIONS"));
            assert_eq!((answer.header("www-authenticate"), answer.header("cache-control")), ("", "no-store"));
        }
        for answer in done {
            answer.pair();
        }
        app.obtain("ada", PASSWORD).await.pair();
    }

    async fn hash_with_old_parameters_is_renewed_at_sign_in(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        let old = select(&app, HASH).await;
        assert!(old.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{old}");
        app.obtain("ada", PASSWORD).await.pair();
        assert_eq!(select(&app, HASH).await, old);

        let stronger = app.twin_with(|config| config.passwords.argon2_passes = 3).await;
        stronger.obtain("ada", "wrong").await.expect(401, BAD_CREDENTIALS);
        assert_eq!(select(&app, HASH).await, old);
        stronger.obtain("ada", PASSWORD).await.pair();
        let new = select(&app, HASH).await;
        assert!(new.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"), "{new}");
        // The renewal revokes no session, and the password stays valid.
        app.refresh(&first.refresh).await.pair();
        stronger.obtain("ada", PASSWORD).await.pair();
        assert_eq!(select(&app, HASH).await, new);
    }
}
