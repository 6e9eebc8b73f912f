//! Refusals by Postgres: the start fails at once if only an operator can remedy the fault.

use latchkey_testkit::{
    PASSWORD, Place,
    servers::{eventually, own::OwnPostgres},
};

/// Rules that admit only the administrator without a password, and reject the user `nobody`.
pub(super) const RULES: &str = "host all postgres 127.0.0.1/32 trust\n\
                                host all nobody 127.0.0.1/32 reject\n\
                                host all all 127.0.0.1/32 scram-sha-256\n";

/// Starts a server with these rules, a user `latchkey` with the password `hunter2hunter2`, and a
/// database.
pub(super) async fn server_with(rules: &str) -> OwnPostgres {
    let postgres = OwnPostgres::start_with(&[]).await;
    postgres
        .execute("CREATE ROLE latchkey LOGIN PASSWORD 'hunter2hunter2'")
        .await;
    postgres
        .execute("CREATE DATABASE latchkey OWNER latchkey")
        .await;
    postgres.execute("CREATE DATABASE foreign_owner").await;
    postgres.put("pg_hba.conf", rules);
    postgres.execute("SELECT pg_reload_conf()").await;
    let probe = format!(
        "postgres://latchkey:wrong@127.0.0.1:{}/latchkey",
        postgres.port
    );
    eventually("the rules are in force", async || {
        tokio_postgres::connect(&probe, tokio_postgres::NoTls)
            .await
            .is_err()
    })
    .await;
    postgres
}

/// Returns the one line with which `serve` ends at once, although its startup timeout is a minute.
pub(super) fn line(url: &str) -> String {
    let place = Place::new()
        .with("DATABASE_URL", url)
        .with("LATCHKEY_STARTUP_TIMEOUT", "1m");
    let outcome = place.run("serve --bind 127.0.0.1:0");
    assert!(
        !outcome.err.contains("hunter2"),
        "the password is printed: {outcome:?}"
    );
    let line = outcome.refused(2).to_owned();
    assert!(place.files().is_empty(), "{:?}", place.files());
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_connection_ends_the_start_with_a_remedy() {
    let postgres = server_with(RULES).await;
    let at = format!("127.0.0.1:{}", postgres.port);
    let remedy = "correct user and password in the URL, or pg_hba.conf on the server";
    let password =
        |user: &str| format!("password authentication failed for user \"{user}\": {remedy}");
    for (url, shown, reason) in [
        ("latchkey:hunter2@AT/latchkey", "latchkey:***@AT/latchkey", password("latchkey")),
        ("adminn:hunter2@AT/latchkey", "adminn:***@AT/latchkey", password("adminn")),
        (
            "latchkey:hunter2hunter2@AT/latchky",
            "latchkey:***@AT/latchky",
            "database \"latchky\" does not exist: create it, or correct the URL".to_owned(),
        ),
        (
            "nobody:hunter2@AT/latchkey",
            "nobody:***@AT/latchkey",
            format!(
                "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"nobody\", database \"latchkey\", no \
                 encryption: {remedy}"
            ),
        ),
        (
            "latchkey@AT/latchkey",
            "latchkey@AT/latchkey",
            "invalid configuration: password missing: correct the URL".to_owned(),
        ),
        (
            "latchkey:hunter2hunter2@AT/foreign_owner",
            "latchkey:***@AT/foreign_owner",
            "permission denied for schema public: grant it to the user of the URL, or make them the owner".to_owned(),
        ),
    ] {
        let (url, shown) = (url.replace("AT", &at), shown.replace("AT", &at));
        assert_eq!(
            line(&format!("postgres://{url}")),
            format!("DATABASE_URL: postgres://{shown} cannot be used: {reason}")
        );
    }
}

/// A running server returns 503 and logs the reason, which the doctor also reports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_password_is_503_until_it_is_restored() {
    let postgres = server_with(RULES).await;
    let url = format!(
        "postgres://latchkey:hunter2hunter2@127.0.0.1:{}/latchkey",
        postgres.port
    );
    let place = Place::new().with("DATABASE_URL", &url);
    place.user("ada", PASSWORD);
    let server = place.serve("");
    let pair = server.pair("ada", PASSWORD).await;
    postgres
        .execute("ALTER ROLE latchkey PASSWORD 'another one'")
        .await;
    postgres
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'latchkey'",
        )
        .await;
    let mut last = None;
    eventually("new connections are refused", async || {
        let answer = server.refresh(&pair.refresh).await;
        let text = answer.text.clone();
        last = Some(answer);
        text.contains("temporarily unavailable")
            && server.log().contains("password authentication failed")
    })
    .await;
    super::unavailable(&last.unwrap());
    let line = place
        .run("doctor")
        .out
        .lines()
        .find(|line| line.contains("  database"))
        .unwrap()
        .to_owned();
    assert!(
        line.starts_with("FAIL") && line.contains("password authentication failed"),
        "{line}"
    );
    postgres
        .execute("ALTER ROLE latchkey PASSWORD 'hunter2hunter2'")
        .await;
    eventually("the server connects again", async || {
        server.refresh(&pair.refresh).await.status == 200
    })
    .await;
}
