//! `latchkey healthcheck`, as a container engine runs it.

use std::{io::Write as _, net::TcpListener, thread};

use crate::support::{
    Backend, Place,
    servers::{eventually, own::OwnPostgres},
};

/// The flag that names where a server listens.
fn asking(url: &str) -> String {
    format!("healthcheck --bind {}", url.trim_start_matches("http://"))
}

#[tokio::test]
async fn a_server_that_is_ready_is_healthy() {
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
        // Until Redis has the marks it is degraded, which is healthy, too.
        eventually("all is well", async || {
            place.run(&asking(&server.url)).done() == expected
        })
        .await;
    }
}

#[tokio::test]
async fn the_address_is_the_setting_of_the_server_and_all_addresses_are_asked_on_loopback() {
    let server = Place::new().serve("");
    let port = server.url.rsplit(':').next().unwrap();
    let place = Place::new().with("LATCHKEY_BIND", &format!("0.0.0.0:{port}"));
    assert_eq!(
        place.run("healthcheck").done(),
        "{\"status\":\"ok\",\"database\":\"ok\",\"keys\":\"ok\"}\n"
    );
    assert!(place.files().is_empty(), "asking makes nothing");
}

#[tokio::test]
async fn a_server_whose_database_is_gone_is_not_healthy() {
    let mut postgres = OwnPostgres::start_with(&[]).await;
    let place = Place::new().with("DATABASE_URL", &postgres.url());
    let server = place.serve("");
    place.run(&asking(&server.url)).done();
    postgres.stop();
    let outcome = place.run(&asking(&server.url));
    let line = outcome.refused(1);
    assert!(
        line.contains("is not ready: 503 {\"status\":\"down\""),
        "{line}"
    );
}

#[test]
fn nobody_and_somebody_else_are_not_healthy() {
    let place = Place::new();
    let nobody = place.run("healthcheck --bind 127.0.0.1:1");
    assert!(
        nobody
            .refused(1)
            .starts_with("http://127.0.0.1:1 does not answer: "),
        "{nobody:?}"
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

/// It takes connections and never answers, as a server does that hangs.
#[test]
fn a_server_that_hangs_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outcome = Place::new().run(&format!(
        "healthcheck --timeout 50ms --bind {}",
        listener.local_addr().unwrap()
    ));
    assert!(
        outcome.refused(1).contains("does not answer"),
        "{outcome:?}"
    );
}
