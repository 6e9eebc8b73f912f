//! The service's role in Postgres with a leaked password, as set up by docs/guides/postgres.md.

use tokio_postgres::{NoTls, error::SqlState};

use latchkey_testkit::{PASSWORD, Place, servers::own::OwnPostgres};

/// Runs the first SQL block of the guide in the server's databases.
async fn set_up(postgres: &OwnPostgres) {
    let guide = include_str!("../../../docs/guides/postgres.md");
    let sql = guide
        .split("```sql\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap()
        .replace('…', "hunter2hunter2");
    let (before, after) = sql.split_once("\\connect latchkey\n").unwrap();
    for statement in before.lines() {
        postgres.execute(statement).await;
    }
    administrator(postgres)
        .await
        .batch_execute(after)
        .await
        .unwrap();
}

async fn administrator(postgres: &OwnPostgres) -> tokio_postgres::Client {
    connect(&format!(
        "postgres://postgres@127.0.0.1:{}/latchkey",
        postgres.port
    ))
    .await
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_role_serves_and_cannot_alter_the_audit_trail() {
    let postgres = OwnPostgres::start_with(&[]).await;
    set_up(&postgres).await;
    let url = |role: &str| {
        format!(
            "postgres://{role}:hunter2hunter2@127.0.0.1:{}/latchkey",
            postgres.port
        )
    };
    Place::new()
        .with("DATABASE_URL", &url("latchkey_owner"))
        .run("migrate run")
        .done();

    let place = Place::new().with("DATABASE_URL", &url("latchkey"));
    place.user("ada", PASSWORD);
    let server = place.serve("");
    let pair = server.pair("ada", PASSWORD).await;
    server.refresh(&pair.refresh).await.pair();
    let report = place.run("doctor");
    assert!(
        report.code == Some(0) && !report.out.contains("superuser"),
        "{report:?}"
    );
    assert!(place.run("flush-expired").code == Some(0));

    let thief = connect(&url("latchkey")).await;
    for statement in [
        "DROP TRIGGER audit_events_append_only ON audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "DROP FUNCTION audit_events_are_not_changed() CASCADE",
        "CREATE OR REPLACE FUNCTION audit_events_are_not_changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET session_replication_role = replica",
        "TRUNCATE audit_events",
        "DROP TABLE audit_events",
        "ALTER TABLE audit_events OWNER TO latchkey",
        "SET ROLE latchkey_owner",
    ] {
        let error = thief.batch_execute(statement).await.expect_err(statement);
        assert_eq!(
            error.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{statement}: {error}"
        );
    }
    let changed = thief
        .execute("UPDATE audit_events SET event = event", &[])
        .await;
    assert!(changed.is_err(), "the trigger holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn superuser_role_is_reported_by_doctor() {
    let postgres = OwnPostgres::start_with(&[]).await;
    let report = Place::new()
        .with("DATABASE_URL", &postgres.url())
        .run("doctor");
    let line = report
        .out
        .lines()
        .find(|line| line.contains("superuser"))
        .unwrap();
    assert!(
        line.starts_with("warn  role           postgres is a superuser of Postgres"),
        "{line}"
    );
}

/// Runs the second SQL block of the guide on an installation whose role owns everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_role_loses_ownership_by_the_guide() {
    let postgres = OwnPostgres::start_with(&[]).await;
    postgres
        .execute("CREATE ROLE latchkey LOGIN PASSWORD 'hunter2hunter2'")
        .await;
    postgres
        .execute("CREATE DATABASE latchkey OWNER latchkey")
        .await;
    let url = format!(
        "postgres://latchkey:hunter2hunter2@127.0.0.1:{}/latchkey",
        postgres.port
    );
    let place = Place::new().with("DATABASE_URL", &url);
    place.user("ada", PASSWORD);
    let guide = include_str!("../../../docs/guides/postgres.md");
    let sql = guide
        .split("```sql\n")
        .nth(2)
        .unwrap()
        .split("```")
        .next()
        .unwrap()
        .replace('…', "hunter2hunter2");
    administrator(&postgres)
        .await
        .batch_execute(&sql.replace("\\connect latchkey\n", ""))
        .await
        .unwrap();
    let server = place.serve("");
    server.pair("ada", PASSWORD).await;
    let error = connect(&url)
        .await
        .batch_execute("DROP TRIGGER audit_events_append_only ON audit_events")
        .await;
    assert_eq!(
        error.unwrap_err().code(),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    );
}

/// `docker-compose.yml` runs the SQL of the guide.
#[test]
fn roles_of_the_compose_stack_match_the_guide() {
    let (guide, stack) = (
        include_str!("../../../docs/guides/postgres.md"),
        include_str!("../../../docker-compose.yml"),
    );
    let sql = guide
        .split("```sql\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    for line in sql
        .replacen("'…'", ":'owner'", 1)
        .replacen("'…'", ":'service'", 1)
        .lines()
    {
        assert!(stack.lines().any(|found| found.trim() == line), "{line}");
    }
}
