//! A read replica at the primary's address. It may lack revocations, so it is never queried.

use super::{BLACKLISTED, PASSWORD, VERIFY_BLACKLISTED, unavailable};
use latchkey_testkit::{
    Backend, Place, Proxy, TestApp,
    servers::{eventually, own::OwnPostgres},
};

/// Starts a server without Redis, so that every response comes from the database.
async fn app_over(address: &str) -> TestApp {
    TestApp::start_with(
        Backend::Embedded,
        &[&format!(
            "--database-url=postgres://postgres@{address}/postgres"
        )],
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lagging_replica_lets_no_revoked_token_in() {
    let primary = OwnPostgres::start_with(&[]).await;
    let proxy = Proxy::to(primary.port);
    let app = app_over(&proxy.address.to_string()).await;
    let (dead, live, spent) = (
        app.signed_in("ada").await,
        app.signed_in("bob").await,
        app.signed_in("eve").await,
    );
    let replica = primary
        .replica(&["-c", "recovery_min_apply_delay=1h"])
        .await;
    app.blacklist(&dead.refresh).await.expect(200, "{}");
    let next = app.refresh(&spent.refresh).await.pair();
    let revoked = "SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL";
    assert_eq!(
        (primary.number(revoked).await, replica.number(revoked).await),
        (1, 0),
        "the replica lags"
    );

    proxy.lead_to(replica.port);
    for pair in [&dead, &live, &spent, &next] {
        for _ in 0..3 {
            unavailable(&app.me(&format!("Bearer {}", pair.access)).await);
            unavailable(&app.verify(&pair.access).await);
            unavailable(&app.verify(&pair.refresh).await);
            unavailable(&app.refresh(&pair.refresh).await);
        }
        unavailable(&app.blacklist(&pair.refresh).await);
    }
    unavailable(&app.obtain("ada", PASSWORD).await);

    proxy.lead_to(primary.port);
    app.verify(&dead.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
    app.refresh(&dead.refresh).await.expect(401, BLACKLISTED);
    app.refresh(&live.refresh).await.pair();
    assert_eq!(
        app.refresh(&spent.refresh).await.pair().refresh,
        next.refresh
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_and_current_replicas_are_not_read() {
    let primary = OwnPostgres::start_with(&[]).await;
    let proxy = Proxy::to(primary.port);
    let app = app_over(&proxy.address.to_string()).await;
    let pair = app.signed_in("ada").await;
    let replica = primary.replica(&[]).await;
    proxy.lead_to(replica.port);
    unavailable(&app.me(&format!("Bearer {}", pair.access)).await);

    proxy.lead_to(primary.port);
    replica.execute("SELECT pg_wal_replay_pause()").await;
    app.blacklist(&pair.refresh).await.expect(200, "{}");
    proxy.lead_to(replica.port);
    unavailable(&app.me(&format!("Bearer {}", pair.access)).await);
    unavailable(&app.verify(&pair.access).await);
}

/// The URL has both addresses. The one that accepts writes is used, and it changes with the
/// fail-over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn url_with_two_addresses_uses_the_primary_after_a_failover() {
    let mut primary = OwnPostgres::start_with(&[]).await;
    let replica = primary.replica(&[]).await;
    let url = format!(
        "--database-url=postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        replica.port, primary.port
    );
    let app = TestApp::start_with(Backend::Embedded, &[&url]).await;
    let (dead, live) = (app.signed_in("ada").await, app.signed_in("bob").await);
    let next = app.refresh(&live.refresh).await.pair();
    app.blacklist(&dead.refresh).await.expect(200, "{}");
    eventually("the replica has the revocation", async || {
        replica
            .number("SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL")
            .await
            == 1
    })
    .await;
    primary.stop();
    unavailable(&app.refresh(&next.refresh).await);
    replica.promote().await;
    assert_eq!(
        app.refresh(&live.refresh).await.pair().refresh,
        next.refresh,
        "the grace outlasts the fail-over"
    );
    app.refresh(&next.refresh).await.pair();
    app.refresh(&dead.refresh).await.expect(401, BLACKLISTED);
    app.verify(&dead.access)
        .await
        .expect(400, VERIFY_BLACKLISTED);
}

fn place_on(postgres: &OwnPostgres) -> Place {
    Place::new()
        .with("DATABASE_URL", &postgres.url())
        .with("LATCHKEY_LOG_FORMAT", "pretty")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_on_a_replica_fails_with_a_remedy() {
    let primary = OwnPostgres::start_with(&[]).await;
    let replica = primary.replica(&[]).await;
    let fault = format!(
        "{}: the server is read-only: a replica, or not promoted yet after a fail-over; correct the URL to lead to the \
         primary",
        replica.url()
    );
    let reason = fault.replace(": the server", " cannot be used: the server");
    let place = place_on(&replica);
    let outcome = place_on(&replica)
        .with("LATCHKEY_STARTUP_TIMEOUT", "1s")
        .run("serve --bind 127.0.0.1:0");
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (Some(1), ""),
        "{outcome:?}"
    );
    let (log, last) = outcome.err.trim_end().rsplit_once('\n').unwrap();
    assert!(
        log.contains("the database takes no writes: trying again"),
        "{log}"
    );
    assert_eq!(last, format!("latchkey: DATABASE_URL: {reason}"));
    assert_eq!(
        place.run("users list").refused(1),
        format!("DATABASE_URL: {reason}")
    );
    let report = place.run("doctor");
    assert_eq!(report.code, Some(1));
    let line = report
        .out
        .lines()
        .find(|line| line.contains("database"))
        .unwrap();
    assert!(line.starts_with("FAIL") && line.ends_with(&fault), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_during_a_failover_waits_for_its_end() {
    let mut primary = OwnPostgres::start_with(&[]).await;
    let replica = primary.replica(&[]).await;
    primary.stop();
    let place = place_on(&replica);
    let server = place.starting("");
    eventually("the start waits", async || {
        server
            .log()
            .contains("the database takes no writes: trying again")
    })
    .await;
    replica.promote().await;
    assert_eq!(server.listening().get("/health/live").await.status, 200);
}
