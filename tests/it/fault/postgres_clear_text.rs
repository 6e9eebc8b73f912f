//! An attacker between Latchkey and Postgres requests the password in clear text.
//!
//! A host name other than a known loopback address counts as another machine. These tests use such
//! names for loopback.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use super::postgres_refusals::{RULES, server_with};
use latchkey_testkit::{Outcome, Place, listen, servers::eventually};

const SECRET: &str = "hunter2hunter2";
const REFUSAL: &str = "the server requests the password in clear text, and the connection is not encrypted and \
                       verified: set sslmode=verify-full in the URL, or configure the server for scram-sha-256";

/// Messages that a server may send first, and the request: `AuthenticationCleartextPassword`.
const NOTICE: &[u8] = b"N\0\0\0\x0cSNOTICE\0\0";
const CLEAR_TEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

/// Reads a message of the client without a kind before its length, as at the start of a connection.
fn startup(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut rest).ok()?;
    Some(rest)
}

/// Answers the request for TLS, then requests the password. Records everything that a client sends.
fn man_in_the_middle(chunk_size: usize, answer: &'static [u8]) -> (u16, Arc<Mutex<Vec<Vec<u8>>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&received);
    let address = listen(move |mut stream| {
        stream.set_nodelay(true).unwrap();
        let Some(mut first) = startup(&mut stream) else {
            return;
        };
        // `SSLRequest`
        if first == [4, 210, 22, 47] {
            stream.write_all(answer).unwrap();
            if answer != b"N" {
                return;
            }
            let Some(next) = startup(&mut stream) else {
                return;
            };
            first = next;
        }
        assert!(
            first.starts_with(&[0, 3, 0, 0]),
            "no start of a session: {first:?}"
        );
        for piece in CLEAR_TEXT.chunks(chunk_size) {
            let _ = stream.write_all(piece);
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        recorder.lock().unwrap().push(rest);
    });
    (address.port(), received)
}

fn migrate(url: &str) {
    Place::new()
        .with("DATABASE_URL", url)
        .run("migrate run")
        .done();
}

fn users(url: &str) -> Outcome {
    Place::new().with("DATABASE_URL", url).run("users list")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_text_request_without_tls_gets_no_password() {
    for (mode, chunk_size) in [
        ("", 9),
        ("?sslmode=disable", 9),
        ("?sslmode=prefer", 9),
        ("", 1),
        ("?sslmode=disable", 4),
    ] {
        let (port, received) = man_in_the_middle(chunk_size, b"N");
        let outcome = users(&format!(
            "postgres://latchkey:{SECRET}@127.1:{port}/latchkey{mode}"
        ));
        assert!(outcome.refused(2).ends_with(REFUSAL), "{outcome:?}");
        eventually("the connection ended", async || {
            !received.lock().unwrap().is_empty()
        })
        .await;
        for rest in received.lock().unwrap().iter() {
            assert!(
                !String::from_utf8_lossy(rest).contains(SECRET),
                "{mode}: {rest:?}"
            );
            assert!(rest.is_empty(), "{mode}: {rest:?}");
        }
    }
}

/// With `prefer`, a handshake that fails is followed by a connection without TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_text_request_after_a_broken_handshake_gets_no_password() {
    for answer in [&b"Sxxxxxxxx"[..], b"S"] {
        let (port, received) = man_in_the_middle(9, answer);
        let outcome = users(&format!(
            "postgres://latchkey:{SECRET}@127.1:{port}/latchkey?sslmode=prefer"
        ));
        assert!(outcome.refused(2).ends_with(REFUSAL), "{outcome:?}");
        assert!(
            received.lock().unwrap().iter().all(Vec::is_empty),
            "{answer:?}"
        );
    }
}

/// Control: the man in the middle does receive the password if the client sends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_text_request_of_this_machine_is_answered() {
    let (port, received) = man_in_the_middle(9, b"N");
    let url = format!("postgres://latchkey:{SECRET}@127.0.0.1:{port}/latchkey");
    let mut child = Place::new()
        .with("DATABASE_URL", &url)
        .command("users list")
        .spawn()
        .unwrap();
    // The client waits for the server's response to the password; its end closes the connection.
    let ended = tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap();
    assert!(!ended.unwrap().success());
    eventually("the connection ended", async || {
        !received.lock().unwrap().is_empty()
    })
    .await;
    assert!(
        received
            .lock()
            .unwrap()
            .iter()
            .any(|rest| String::from_utf8_lossy(rest).contains(SECRET))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scram_with_another_machine_works_with_and_without_tls() {
    let postgres = server_with(RULES).await;
    migrate(&format!(
        "postgres://latchkey:{SECRET}@127.0.0.1:{}/latchkey",
        postgres.port
    ));
    for (host, mode) in [
        ("127.1", ""),
        ("127.1", "?sslmode=disable"),
        ("db.example", "?hostaddr=127.0.0.1"),
    ] {
        let url = format!(
            "postgres://latchkey:{SECRET}@{host}:{}/latchkey{mode}",
            postgres.port
        );
        assert_eq!(users(&url).done(), "there are no users\n", "{host}{mode}");
    }
}

/// Inside TLS, no other party can read the password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_text_request_inside_tls_is_answered() {
    let postgres = server_with(
        &RULES
            .replace("host all all", "hostssl all all")
            .replace("scram-sha-256", "password"),
    )
    .await;
    let key = rcgen::generate_simple_self_signed(vec!["db.example".to_owned()]).unwrap();
    postgres.put("server.crt", &key.cert.pem());
    postgres.put("server.key", &key.signing_key.serialize_pem());
    postgres.set("ssl", "on").await;
    let place = Place::new();
    let root = place
        .write("root.pem", &key.cert.pem())
        .display()
        .to_string();
    let at = format!(
        "postgres://latchkey:{SECRET}@db.example:{}/latchkey?hostaddr=127.0.0.1",
        postgres.port
    );
    migrate(&format!("{at}&sslrootcert={root}"));
    for mode in ["prefer", "require"] {
        assert_eq!(
            users(&format!("{at}&sslmode={mode}&sslrootcert={root}")).done(),
            "there are no users\n",
            "{mode}"
        );
    }
    // The same server with encryption disabled.
    postgres.set("ssl", "off").await;
    postgres.put("pg_hba.conf", &RULES.replace("scram-sha-256", "password"));
    postgres.execute("SELECT pg_reload_conf()").await;
    eventually("the password is refused", async || {
        users(&format!("{at}&sslmode=prefer&sslrootcert={root}"))
            .err
            .trim_end()
            .ends_with(REFUSAL)
    })
    .await;
}

/// The driver accepts no notice before the request, but Latchkey's own reader of the messages does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clear_text_request_after_a_notice_gets_no_password_either() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&received);
    let address = listen(move |mut stream| {
        let _ = startup(&mut stream);
        let _ = stream.write_all(&[NOTICE, CLEAR_TEXT].concat());
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        recorder.lock().unwrap().push(rest);
    });
    let outcome = users(&format!(
        "postgres://latchkey:{SECRET}@127.1:{}/latchkey?sslmode=disable",
        address.port()
    ));
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    eventually("the connection ended", async || {
        !received.lock().unwrap().is_empty()
    })
    .await;
    assert!(received.lock().unwrap().iter().all(Vec::is_empty));
}

#[test]
fn unencrypted_remote_connection_is_reported() {
    let place = Place::new()
        .with(
            "DATABASE_URL",
            &format!("postgres://latchkey:{SECRET}@127.1:1/latchkey"),
        )
        .with("REDIS_URL", &format!("redis://latchkey:{SECRET}@127.1:1"))
        .with("LATCHKEY_STARTUP_TIMEOUT", "0");
    let postgres = "postgres://latchkey:***@127.1:1/latchkey is on another machine and the connection may be unencrypted: \
                    set sslmode=verify-full in DATABASE_URL";
    let redis = "the password crosses the network to redis://latchkey:***@127.1:1 unencrypted: use rediss:// in place of \
                 redis://";
    let report = place.run("doctor");
    let started = place.run("serve --bind 127.0.0.1:0");
    for text in [postgres, redis] {
        assert!(
            report
                .out
                .lines()
                .any(|line| line.starts_with("warn") && line.ends_with(text)),
            "{report:?}"
        );
        assert!(started.err.contains(text), "{started:?}");
    }
    assert!(!format!("{report:?}{started:?}").contains(SECRET));
    let safe = Place::new().with(
        "DATABASE_URL",
        "postgres://latchkey@127.1:1/latchkey?sslmode=verify-full",
    );
    assert!(!safe.run("doctor").out.contains("unencrypted"));
}
