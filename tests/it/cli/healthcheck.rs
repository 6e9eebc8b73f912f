//! `latchkey healthcheck`.

use std::{io::Write as _, net::TcpListener, thread};

use latchkey_testkit::{
    Backend, Place,
    servers::{eventually, own::OwnPostgres},
};

/// Returns the command that checks a server.
fn command(url: &str) -> String {
    format!("healthcheck --bind {}", url.trim_start_matches("http://"))
}

#[tokio::test]
async fn ready_server_is_healthy() {
    for (backend, expected) in [
        (
            Backend::Embedded,
            "{\"status\":\"ok\",\"database\":\"ok\",\"keys\":\"ok\"}\n",
        ),
        (
            Backend::PostgresAndRedis,
            "{\"status\":\"ok\",\"database\":\"ok\",\"redis\":\"ok\",\"keys\":\"ok\"}\n",
        ),
    ] {
        let place = Place::on(backend).await;
        let server = place.serve("");
        // Before the rebuild of the blacklist, the server is degraded, which is healthy as well.
        eventually("the server is ready", async || {
            place.run(&command(&server.url)).done() == expected
        })
        .await;
    }
}

#[tokio::test]
async fn healthcheck_uses_the_bind_address_on_loopback() {
    let server = Place::new().serve("");
    let port = server.url.rsplit(':').next().unwrap();
    let place = Place::new().with("LATCHKEY_BIND", &format!("0.0.0.0:{port}"));
    assert_eq!(
        place.run("healthcheck").done(),
        "{\"status\":\"ok\",\"database\":\"ok\",\"keys\":\"ok\"}\n"
    );
    assert!(place.files().is_empty(), "the check creates no files");
}

#[tokio::test]
async fn server_without_its_database_is_not_healthy() {
    let mut postgres = OwnPostgres::start_with(&[]).await;
    let place = Place::new().with("DATABASE_URL", &postgres.url());
    let server = place.serve("");
    place.run(&command(&server.url)).done();
    postgres.stop();
    let outcome = place.run(&command(&server.url));
    let line = outcome.refused(1);
    assert!(
        line.contains("is not ready: 503 {\"status\":\"down\""),
        "{line}"
    );
}

#[test]
fn missing_or_foreign_server_is_not_healthy() {
    let place = Place::new();
    let missing = place.run("healthcheck --bind 127.0.0.1:1");
    assert!(
        missing
            .refused(1)
            .starts_with("http://127.0.0.1:1 does not respond: "),
        "{missing:?}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let other = thread::spawn(move || {
        listener
            .accept()
            .unwrap()
            .0
            .write_all(b"220 mail ready\r\n")
    });
    let outcome = place.run(&format!("healthcheck --bind {address}"));
    other.join().unwrap().unwrap();
    assert!(
        outcome.refused(1).contains(&address.to_string()),
        "{outcome:?}"
    );
}

/// The listener accepts connections and does not respond, like a server that hangs.
#[test]
fn hanging_server_is_not_healthy_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outcome = Place::new().run(&format!(
        "healthcheck --timeout 50ms --bind {}",
        listener.local_addr().unwrap()
    ));
    assert!(
        outcome.refused(1).contains("does not respond"),
        "{outcome:?}"
    );
}
