//! Floods of audit events. Events over the budget are summarised in one row.

use latchkey_domain::audit::AuditEntry;
use reqwest::Method;
use serde_json::json;

use latchkey_testkit::{Backend, PASSWORD, Pair, TestApp, detail, on_both_backends};

/// Number of revoked sessions.
const SESSIONS: usize = 25;
/// Refusals for each session: the refresh token in two views, and the access token in one.
const REFUSALS_PER_SESSION: usize = 3;

async fn dead_sessions(app: &TestApp, name: &str) -> Vec<Pair> {
    let mut pairs = vec![app.signed_in(name).await];
    while pairs.len() < SESSIONS {
        pairs.push(app.obtain(name, PASSWORD).await.pair());
    }
    app.log_out_everywhere(&pairs[0].access)
        .await
        .expect(200, r#"{"detail":"Successfully logged out."}"#);
    pairs
}

async fn present(app: &TestApp, pairs: &[Pair]) {
    for pair in pairs {
        assert_eq!(app.refresh(&pair.refresh).await.status, 401);
        assert_eq!(app.blacklist(&pair.refresh).await.status, 401);
        assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 401);
    }
}

async fn refused(app: &TestApp, kind: &str) -> Vec<AuditEntry> {
    app.events()
        .await
        .into_iter()
        .filter(|event| event.event == kind)
        .collect()
}

fn times(events: &[AuditEntry]) -> u32 {
    events.iter().map(|event| event.times).sum()
}

fn over_budget(events: &[AuditEntry]) -> Vec<&AuditEntry> {
    events
        .iter()
        .filter(|event| event.cause.as_deref() == Some("over_budget"))
        .collect()
}

on_both_backends! {
    async fn refusals_beyond_the_budget_are_summarized_in_one_row(backend: Backend) {
        let mut app = TestApp::start(backend).await;
        let pairs = dead_sessions(&app, "mallory").await;
        for _ in 0..4 {
            present(&app, &pairs).await;
        }
        app.stop();
        let events = refused(&app, "token_refused").await;
        assert_eq!(times(&events), u32::try_from(4 * SESSIONS * REFUSALS_PER_SESSION).unwrap(), "each refusal is counted");
        assert_eq!(events.len(), 20 + 1, "{events:#?}");
        let [rest] = over_budget(&events)[..] else { panic!("{events:#?}") };
        assert_eq!((detail(rest, "budget"), rest.user.as_ref()), ("user", events[0].user.as_ref()));
        assert_eq!((rest.origin.ip.as_deref(), rest.session, &rest.jti), (Some("127.0.0.1"), None, &None));
    }
}

#[tokio::test]
async fn summary_is_written_each_minute_and_counted_in_a_metric() {
    let app = TestApp::start(Backend::Embedded).await;
    let pairs = dead_sessions(&app, "mallory").await;
    present(&app, &pairs).await;
    let over = SESSIONS * REFUSALS_PER_SESSION - 20;
    let line = format!("latchkey_audit_events_summarised_total {over}");
    latchkey_testkit::servers::eventually("every event is counted", async || {
        app.get("/metrics").await.text.contains(&line)
    })
    .await;
    assert!(
        over_budget(&refused(&app, "token_refused").await).is_empty(),
        "summary before the minute is over"
    );
    app.advance(60);
    let rest = app
        .eventually_event("the rest", |event| {
            event.cause.as_deref() == Some("over_budget")
        })
        .await;
    assert_eq!(rest.times as usize, over);
    // The next minute has ten more rows.
    present(&app, &pairs).await;
    let written = 20 + 1 + 10;
    latchkey_testkit::servers::eventually("ten more rows", async || {
        refused(&app, "token_refused").await.len() == written
    })
    .await;
}

#[tokio::test]
async fn flood_of_one_account_hides_no_event_of_another() {
    let app = TestApp::start(Backend::Embedded).await;
    let pairs = dead_sessions(&app, "mallory").await;
    let ada = app.signed_in("ada").await;
    app.log_out(&ada.refresh).await;
    present(&app, &pairs).await;
    app.verify(&ada.access).await;
    app.eventually_event("the refusal of ada", |event| {
        event.cause.as_deref() == Some("logged_out") && event.event == "token_refused"
    })
    .await;
}

#[tokio::test]
async fn sign_ins_from_one_ipv6_network_are_one_source() {
    let mut app = TestApp::start_with(Backend::Embedded, &["--trusted-proxies=127.0.0.1"]).await;
    let sent: u32 = 60;
    for number in 0..sent {
        let request = app
            .request(Method::POST, "/api/token/")
            .header("content-type", "application/json");
        let request = request.header("x-forwarded-for", format!("2001:db8:1:2::{number:x}"));
        let body = json!({ "username": format!("name{number}"), "password": "x" }).to_string();
        assert_eq!(app.send(request.body(body)).await.status, 401);
    }
    app.stop();
    let events = refused(&app, "sign_in_refused").await;
    assert_eq!((times(&events), events.len()), (sent, 40 + 1));
    let [rest] = over_budget(&events)[..] else {
        panic!("{events:#?}")
    };
    assert_eq!(
        (detail(rest, "budget"), rest.origin.ip.as_deref()),
        ("source", Some("2001:db8:1:2::/64"))
    );
}

#[tokio::test]
async fn repeated_refreshes_are_limited_by_the_budget() {
    let mut app = TestApp::start(Backend::Embedded).await;
    let first = app.signed_in("ada").await;
    app.refresh(&first.refresh).await.pair();
    for _ in 0..50 {
        app.refresh(&first.refresh).await.pair();
    }
    app.stop();
    let events = refused(&app, "refresh_repeated").await;
    assert!(events.len() <= 20 + 1, "{}", events.len());
    assert_eq!(times(&events), 50);
}

#[tokio::test]
async fn audited_refreshes_are_limited_by_the_budget() {
    let mut app = TestApp::start_with(Backend::Embedded, &["--audit-refreshes=true"]).await;
    let mut pair = app.signed_in("ada").await;
    for _ in 0..100 {
        pair = app.refresh(&pair.refresh).await.pair();
    }
    app.stop();
    let events = refused(&app, "refreshed").await;
    assert_eq!((events.len(), times(&events)), (60 + 1, 100));
}
