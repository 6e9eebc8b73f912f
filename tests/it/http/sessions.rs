//! `/api/auth/sessions/`: list and revocation of a user's own sessions.

use futures_util::future::join_all;
use latchkey_crypto::random;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    ids::SessionId,
    ports::{Clock as _, NewSession, SessionStore as _},
    session::Session,
};
use reqwest::Method;
use serde_json::json;

use super::tools::{refused_here, select};
use latchkey_testkit::{Backend, PASSWORD, TestApp, on_both_backends, sid, username};

const LIST: &str = "/api/auth/sessions/";
const NOT_PROVIDED: &str = r#"{"detail":"Authentication credentials were not provided."}"#;
const NOT_FOUND: &str = r#"{"detail":"Not found."}"#;
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";
const REVOKED: &str =
    "SELECT CAST(COUNT(*) AS TEXT) AS found FROM sessions WHERE revoked_at IS NOT NULL";

/// Inserts live sessions of the same user, each one second older than the previous one. Returns
/// their ids.
async fn more_sessions(app: &TestApp, access: &str, number: i64) -> Vec<String> {
    let (sql, id) = (app.sql(), SessionId::parse(&sid(access)).unwrap());
    let own = sql.find(id).await.unwrap().unwrap().session;
    let mut ids = Vec::new();
    for second in 1..=number {
        let created_at = own.created_at - chrono::TimeDelta::seconds(second);
        let session = Session {
            id: random::session_id(),
            created_at,
            ..own.clone()
        };
        ids.push(session.id.to_string());
        let audit = AuditEvent::new(app.clock.now(), EventKind::SignIn, Actor::User);
        assert!(
            sql.insert(NewSession {
                session,
                update_last_login: false,
                audit
            })
            .await
            .unwrap()
            .is_some()
        );
    }
    ids
}

on_both_backends! {
    async fn own_sessions_are_listed_newest_first(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        app.signed_in("bob").await;
        app.advance(60);
        let body = json!({ "username": "ada", "password": PASSWORD }).to_string();
        let request = app.request(Method::POST, "/api/token/").header("content-type", "application/json").body(body);
        let second = app.send(request.header("user-agent", "Phöne\u{202e}/1\t\u{1f511}")).await.pair();
        app.advance(60);
        let answer = app.signed(Method::GET, LIST, &first.access).await;
        answer.expect(200, &format!(
            r#"[{{"id":"{}","current":false,"created_at":"2027-01-15T08:01:00.250000Z","last_used_at":"2027-01-15T08:01:00.250000Z","expires_at":"2027-02-14T08:01:00.250000Z","ip":"127.0.0.1","user_agent":"Phöne/1🔑"}},{{"id":"{}","current":true,"created_at":"2027-01-15T08:00:00.250000Z","last_used_at":"2027-01-15T08:00:00.250000Z","expires_at":"2027-02-14T08:00:00.250000Z","ip":"127.0.0.1","user_agent":null}}]"#,
            sid(&second.access), sid(&first.access),
        ));
        assert_eq!((answer.header("allow"), answer.header("cache-control")), ("GET, HEAD, OPTIONS", "no-store"));
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(app.signed(Method::GET, "/api/auth/sessions", &first.access).await.text, answer.text);
        app.signed(Method::HEAD, LIST, &first.access).await.expect(200, "");
    }

    async fn refresh_updates_last_use_and_address(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.advance(90);
        let elsewhere = reqwest::Client::builder().local_address("127.0.0.9".parse::<std::net::IpAddr>().unwrap()).build().unwrap();
        let request = elsewhere.post(app.url("/api/token/refresh/")).header("content-type", "application/json");
        let next = app.send(request.header("user-agent", "tablet").body(json!({ "refresh": pair.refresh }).to_string())).await.pair();
        let listed = app.own_sessions(&next.access).await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["last_used_at"], "2027-01-15T08:01:30.250000Z");
        assert_eq!(listed[0]["created_at"], "2027-01-15T08:00:00.250000Z");
        assert_eq!((&listed[0]["ip"], &listed[0]["user_agent"]), (&json!("127.0.0.9"), &json!("tablet")));
    }

    async fn only_live_sessions_of_the_user_are_listed(backend: Backend) {
        let app = TestApp::start_with(backend, &["--session-lifetime=1h", "--refresh-token-lifetime=1h"]).await;
        app.signed_in("bob").await;
        let ended = app.signed_in("ada").await;
        app.advance(3000);
        let out = app.obtain("ada", PASSWORD).await.pair();
        app.log_out(&out.refresh).await.expect(200, r#"{"detail":"Successfully logged out."}"#);
        let kept = app.obtain("ada", PASSWORD).await.pair();
        let ids = async |access: &str| -> Vec<String> {
            app.own_sessions(access).await.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(&kept.access).await, [sid(&kept.access), sid(&ended.access)]);
        app.advance(600);
        let kept = app.refresh(&kept.refresh).await.pair();
        assert_eq!(ids(&kept.access).await, [sid(&kept.access)]);
        app.accounts().await.sign_out(&username("ada")).await.unwrap();
        let again = app.obtain("ada", PASSWORD).await.pair();
        assert_eq!(ids(&again.access).await, [sid(&again.access)]);
    }

    async fn unauthenticated_requests_are_refused(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let one = format!("{LIST}{}/", sid(&pair.access));
        for (path, method, allow) in [(LIST, Method::GET, "GET, HEAD, OPTIONS"), (&one, Method::DELETE, "DELETE, OPTIONS")] {
            for method in [method, Method::PUT, Method::POST] {
                let answer = app.send(app.request(method.clone(), path)).await;
                answer.expect(401, NOT_PROVIDED);
                assert_eq!((answer.header("www-authenticate"), answer.header("allow")), ("Bearer realm=\"api\"", allow));
                app.signed(method.clone(), path, "junk").await.expect(401, &refused_here("Token is invalid"));
                app.signed(method, path, &pair.refresh).await.expect(401, &refused_here("Token has wrong type"));
            }
            let answer = app.signed(Method::PUT, path, &pair.access).await;
            answer.expect(405, r#"{"detail":"Method \"PUT\" not allowed."}"#);
            assert_eq!((answer.header("allow"), answer.header("content-type")), (allow, "application/json"));
            assert_eq!(app.send(app.request(Method::OPTIONS, path)).await.expect(204, "").header("allow"), allow);
        }
        app.live(&pair).await;
    }

    async fn revoked_session_is_refused_on_every_server(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let lost = app.signed_in("ada").await;
        let lost_next = app.refresh(&lost.refresh).await.pair();
        let (here, eve) = (app.obtain("ada", PASSWORD).await.pair(), app.signed_in("eve").await);
        let answer = app.end_session(&sid(&lost.access), &here.access).await;
        answer.expect(204, "");
        for server in [&twin, &app] {
            server.dead(&lost).await;
            server.dead(&lost_next).await;
            server.live(&here).await;
            server.live(&eve).await;
            assert_eq!(server.own_sessions(&here.access).await.len(), 1);
        }
        app.end_session(&sid(&lost.access), &here.access).await.expect(404, NOT_FOUND);
    }

    async fn session_can_revoke_itself(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (here, there) = (app.signed_in("ada").await, app.obtain("ada", PASSWORD).await.pair());
        let bare = format!("/api/auth/sessions/{}", sid(&here.access));
        app.signed(Method::DELETE, &bare, &here.access).await.expect(204, "");
        app.dead(&here).await;
        app.live(&there).await;
        app.end_session(&sid(&there.access), &here.access).await.expect(401, &refused_here("Token is blacklisted"));
        app.live(&there).await;
    }

    /// Some clients send UUIDs in upper case.
    async fn session_id_ignores_case(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (here, there) = (app.signed_in("ada").await, app.obtain("ada", PASSWORD).await.pair());
        app.end_session(&sid(&there.access).to_ascii_uppercase(), &here.access).await.expect(204, "");
        app.dead(&there).await;
        app.live(&here).await;
    }

    async fn foreign_ended_or_malformed_id_is_not_found(backend: Backend) {
        let app = TestApp::start_with(backend, &["--session-lifetime=1h", "--refresh-token-lifetime=1h"]).await;
        let (over, eve) = (app.signed_in("ada").await, app.signed_in("eve").await);
        app.advance(3600);
        let (ended, stale) = (app.obtain("ada", PASSWORD).await.pair(), app.obtain("ada", PASSWORD).await.pair());
        app.accounts().await.sign_out(&username("ada")).await.unwrap();
        let (here, eves) = (app.obtain("ada", PASSWORD).await.pair(), app.obtain("eve", PASSWORD).await.pair());
        let mine = sid(&here.access);
        let ids = [
            sid(&eves.access), sid(&eve.access), sid(&ended.access), sid(&stale.access), sid(&over.access),
            UNKNOWN.to_owned(), mine.replace('-', ""), format!("%7B{mine}%7D"), format!("{mine}%00"),
            format!("%20{mine}"), "%ff".to_owned(), "%00".to_owned(), "all".to_owned(), "0".to_owned(), "-1".to_owned(),
            "%27%20OR%201=1--".to_owned(), "x".repeat(2000), "%25".to_owned(), "*".to_owned(), "..%2f..".to_owned(),
        ];
        for id in &ids {
            let answer = app.end_session(id, &here.access).await;
            answer.expect(404, NOT_FOUND);
            assert_eq!(answer.header("content-type"), "application/json", "{id:.40}");
            // The response does not reveal existing ids.
            app.send(app.request(Method::DELETE, &format!("{LIST}{id}/"))).await.expect(401, NOT_PROVIDED);
        }
        app.live(&here).await;
        app.live(&eves).await;
        assert_eq!(select(&app, REVOKED).await, "0");
        assert!(app.events().await.iter().all(|event| event.event != "session_revoked"));
    }

    async fn one_of_two_concurrent_revocations_succeeds(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let here = app.signed_in("ada").await;
        for id in more_sessions(&app, &here.access, 8).await {
            let (one, other) = tokio::join!(app.end_session(&id, &here.access), twin.end_session(&id, &here.access));
            let mut statuses = [one.status, other.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [204, 404]);
        }
        let recorded = app.events().await.into_iter().filter(|event| event.event == "session_revoked").count();
        assert_eq!(recorded, 8, "one event for each revocation");
    }

    async fn hundred_sessions_can_be_revoked_concurrently(backend: Backend) {
        let app = TestApp::start_with(backend, &["--sessions-per-user=200"]).await;
        let here = app.signed_in("ada").await;
        let ids = more_sessions(&app, &here.access, 100).await;
        assert_eq!(app.own_sessions(&here.access).await.len(), 101);
        let listed: Vec<_> = app.own_sessions(&here.access).await.into_iter().skip(1).map(|session| session["id"].clone()).collect();
        assert_eq!(listed, ids.iter().map(|id| json!(id)).collect::<Vec<_>>(), "newest first");
        for answer in join_all(ids.iter().map(|id| app.end_session(id, &here.access))).await {
            answer.expect(204, "");
        }
        assert_eq!(app.own_sessions(&here.access).await.len(), 1);
        app.live(&here).await;
    }
}
