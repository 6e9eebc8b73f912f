//! `POST /api/auth/logout/all/`

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use reqwest::Method;

use super::tools::refused_here;
use latchkey_testkit::{Answer, Backend, PASSWORD, Pair, TestApp, on_both_backends};

const PATH: &str = "/api/auth/logout/all/";
const DONE: &str = r#"{"detail":"Successfully logged out."}"#;
const NOT_PROVIDED: &str = r#"{"detail":"Authentication credentials were not provided."}"#;

async fn signed_in_often(app: &TestApp, times: usize) -> Vec<Pair> {
    join_all((0..times).map(|_| app.obtain("ada", PASSWORD)))
        .await
        .iter()
        .map(Answer::pair)
        .collect()
}

on_both_backends! {
    async fn all_sessions_of_the_user_end_on_every_server(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let (mut pairs, eve) = (vec![app.signed_in("ada").await], app.signed_in("eve").await);
        pairs.extend(signed_in_often(&app, 4).await);
        let next = twin.refresh(&pairs[1].refresh).await.pair();
        pairs.push(next);
        let answer = app.log_out_everywhere(&pairs[0].access).await;
        answer.expect(200, DONE);
        assert_eq!((answer.header("allow"), answer.header("cache-control")), ("POST, OPTIONS", "no-store"));
        for server in [&twin, &app] {
            for pair in &pairs {
                server.dead(pair).await;
            }
            server.live(&eve).await;
        }
        // The session epoch is a counter, so a sign-in at the same time is not affected.
        let again = app.obtain("ada", PASSWORD).await.pair();
        for server in [&app, &twin] {
            server.live(&again).await;
            assert_eq!(server.own_sessions(&again.access).await.len(), 1);
        }
        twin.refresh(&again.refresh).await.pair();
    }

    async fn unauthenticated_request_revokes_no_session(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        for method in [Method::POST, Method::GET] {
            app.send(app.request(method.clone(), PATH)).await.expect(401, NOT_PROVIDED);
            app.signed(method.clone(), PATH, &pair.refresh).await.expect(401, &refused_here("Token has wrong type"));
            app.signed(method, PATH, "junk").await.expect(401, &refused_here("Token is invalid"));
        }
        let answer = app.signed(Method::GET, PATH, &pair.access).await;
        answer.expect(405, r#"{"detail":"Method \"GET\" not allowed."}"#);
        assert_eq!(answer.header("allow"), "POST, OPTIONS");
        app.live(&pair).await;
        app.signed(Method::POST, "/api/auth/logout/all", &pair.access).await.expect(200, DONE);
        app.dead(&pair).await;
        app.log_out_everywhere(&pair.access).await.expect(401, &refused_here("Token is blacklisted"));
    }

    async fn one_of_many_concurrent_log_outs_succeeds(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        app.user("ada").await;
        let pairs = signed_in_often(&app, 8).await;
        let requests = (0..32).map(|number| {
            let server = if number % 2 == 0 { &app } else { &twin };
            server.log_out_everywhere(&pairs[number % 8].access)
        });
        let (done, refused): (Vec<_>, Vec<_>) =
            join_all(requests).await.into_iter().partition(|answer| answer.status == 200);
        assert_eq!(done.len(), 1);
        for answer in refused {
            answer.expect(401, &refused_here("Token is blacklisted"));
        }
        let recorded = app.events().await.into_iter().filter(|event| event.event == "cut_off").count();
        assert_eq!(recorded, 1);
        app.live(&app.obtain("ada", PASSWORD).await.pair()).await;
    }

    /// The log-out also revokes tokens of refreshes that raced it.
    async fn no_refresh_succeeds_after_the_log_out(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        app.user("ada").await;
        for _ in 0..3 {
            let pairs = signed_in_often(&app, 6).await;
            let answered = AtomicBool::new(false);
            let refreshing = pairs.iter().enumerate().map(async |(number, pair)| {
                let server = if number % 2 == 0 { &app } else { &twin };
                let mut newest = pair.clone();
                loop {
                    let before = answered.load(Ordering::SeqCst);
                    let answer = server.refresh(&newest.refresh).await;
                    if answer.status != 200 {
                        answer.expect(401, r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#);
                        return newest;
                    }
                    assert!(!before, "a refresh that began after the log-out succeeded");
                    newest = answer.pair();
                }
            });
            let log_out = async {
                app.log_out_everywhere(&pairs[0].access).await.expect(200, DONE);
                answered.store(true, Ordering::SeqCst);
            };
            let (newest, ()) = tokio::join!(join_all(refreshing), log_out);
            for pair in &newest {
                app.dead(pair).await;
                twin.dead(pair).await;
            }
        }
    }
}
