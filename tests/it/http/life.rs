//! Lifecycle of a session, from sign-in to log-out.

use latchkey_testkit::{Backend, Forge, TestApp, on_both_backends};

on_both_backends! {
    async fn session_from_sign_in_to_log_out(backend: Backend) {
        let server = TestApp::start(backend).await;
        server.user("ada").await;
        // One connection for the whole life, as browsers and proxies keep it.
        let app = server.with_keep_alive();
        let first = app.pair_of("ada").await;
        app.verify(&first.access).await.expect(200, "{}");
        let me = app.me(&format!("Bearer {}", first.access)).await;
        assert_eq!((me.status, me.json()["username"].as_str()), (200, Some("ada")));

        server.advance(60);
        let second = app.refresh(&first.refresh).await.pair();
        assert_ne!(first, second);
        assert_eq!(Forge::claims_of(&second.refresh)["gen"], 1);

        app.blacklist(&second.refresh).await.expect(200, "{}");
        let blacklisted = r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#;
        app.refresh(&second.refresh).await.expect(401, blacklisted);
        app.blacklist(&second.refresh).await.expect(401, blacklisted);
        app.verify(&second.access).await.expect(400, r#"{"non_field_errors":["Token is blacklisted"]}"#);
        app.verify(&first.access).await.expect(400, r#"{"non_field_errors":["Token is blacklisted"]}"#);
        assert_eq!(app.me(&format!("Bearer {}", second.access)).await.status, 401);
    }
}
