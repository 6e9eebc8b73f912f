//! `.env` file of another user, or with names that are not settings.

use std::{
    io::Read as _,
    os::unix::fs::{chown, symlink},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};

use latchkey_testkit::{Place, listen, servers::eventually};

/// Starts a fake Redis over TLS, with a certificate of another authority. Returns its URL, the
/// certificate, and the bytes that it receives.
fn impostor() -> (String, String, Arc<Mutex<Vec<u8>>>) {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.signing_key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![pair.cert.der().clone()], key)
    .unwrap();
    let (config, received) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
    let sink = Arc::clone(&received);
    let address = listen(move |stream| {
        let mut stream =
            StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            sink.lock().unwrap().extend(&buffer[..length]);
        }
    });
    (
        format!(
            "rediss://latchkey:hunter2hunter2@localhost:{}",
            address.port()
        ),
        pair.cert.pem(),
        received,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotenv_with_a_foreign_authority_does_not_leak_the_password() {
    let leaked = |received: &Arc<Mutex<Vec<u8>>>| {
        String::from_utf8_lossy(&received.lock().unwrap()).contains("hunter2")
    };
    let (url, certificate, received) = impostor();
    let place = Place::new().with("REDIS_URL", &url);
    place.write("ca.pem", &certificate);
    place.write(".env", "SSL_CERT_FILE=ca.pem\nLATCHKEY_REDIS_TIMEOUT=5s\n");
    let outcome = place.run("doctor");
    let warning = "latchkey: ignored in .env, because they are not settings: SSL_CERT_FILE\n\
                   latchkey: settings from .env: LATCHKEY_REDIS_TIMEOUT\n";
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (Some(1), warning),
        "{outcome:?}"
    );
    assert!(!leaked(&received), "{outcome:?}");
    // A variable in the environment comes from the operator, and is used. So the test would detect
    // a leak.
    let certificate = place.path("ca.pem").display().to_string();
    let place = place.with("SSL_CERT_FILE", &certificate);
    let mut doctor = place
        .command("doctor")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the password is received", async || leaked(&received)).await;
    doctor.wait().unwrap();
}

#[test]
fn dotenv_with_another_operator_does_not_change_the_audit_trail() {
    let place = Place::new().with("USER", "ada").migrated();
    place.write(".env", "SUDO_USER=mallory\n");
    let outcome = place.run_with_input(
        "users create bob --password-stdin",
        "correct horse battery staple",
    );
    outcome.done_with("ignored in .env, because they are not settings: SUDO_USER");
    let trail = place.run("audit");
    assert!(
        trail.out.contains("ada") && !trail.out.contains("mallory"),
        "{trail:?}"
    );
}

#[test]
fn dotenv_that_others_can_write_is_refused_by_every_command() {
    let place = Place::new();
    place.write(".env", "LATCHKEY_WORKERS=1\n");
    for mode in [0o666, 0o620, 0o602, 0o664] {
        place.chmod(".env", mode);
        for command in ["serve", "users list", "config", "doctor", "keys list"] {
            let expected = format!(
                ".env has the mode {mode:04o}, so other users can write to it: run chmod go-w on it: expected a file \
                 that only you or root can write"
            );
            assert_eq!(place.run(command).refused(2), expected);
        }
    }
    for mode in [0o644, 0o600, 0o400] {
        place.chmod(".env", mode);
        place
            .run("config")
            .done_with("settings from .env: LATCHKEY_WORKERS");
    }
}

#[test]
fn dotenv_that_is_a_link_is_judged_by_its_target() {
    let place = Place::new();
    place.write("settings", "LATCHKEY_WORKERS=1\n");
    symlink("settings", place.path(".env")).unwrap();
    place
        .run("config")
        .done_with("settings from .env: LATCHKEY_WORKERS");
    place.chmod("settings", 0o666);
    assert!(
        place
            .run("config")
            .refused(2)
            .starts_with(".env has the mode 0666")
    );
    std::fs::remove_file(place.path("settings")).unwrap();
    place.run("config").done();
}

#[test]
fn dotenv_of_another_user_is_refused() {
    let place = Place::new();
    place.write(".env", "LATCHKEY_WORKERS=1\n");
    // Only root can change the owner of a file.
    if chown(place.path(".env"), Some(12345), None).is_ok() && place.user_id() != 12345 {
        let expected = ".env belongs to the user 12345, and not to root or the user who runs Latchkey: expected a \
                        file that only you or root can write";
        assert_eq!(place.run("config").refused(2), expected);
    }
}

#[test]
fn dotenv_is_reported_on_standard_error_and_json_stays_json() {
    let place = Place::new().migrated();
    place.write(".env", "LATCHKEY_DATABASE_POOL_SIZE=2\n");
    let outcome = place.run("users list --json");
    let out = outcome.done_with("settings from .env: LATCHKEY_DATABASE_POOL_SIZE");
    assert_eq!(out, "[]\n");
    // A variable in the environment takes precedence.
    assert_eq!(
        place
            .with("LATCHKEY_DATABASE_POOL_SIZE", "3")
            .run("users list --json")
            .done(),
        "[]\n"
    );
}

#[test]
fn dotenv_of_a_server_is_reported_in_its_log() {
    let place = Place::new();
    place.write(
        ".env",
        "LATCHKEY_HASH_QUEUE=9\nHTTP_PROXY=http://mallory.example\n",
    );
    let server = place.serve("");
    let log = server.log();
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "{log}"
    );
    assert!(
        log.contains(r#""names":"LATCHKEY_HASH_QUEUE""#) && log.contains(r#""names":"HTTP_PROXY""#),
        "{log}"
    );
    assert!(!log.contains("mallory"), "{log}");
}

#[test]
fn endless_dotenv_is_refused() {
    let place = Place::new();
    place.write(".env", &"#".repeat(64 * 1024 + 1));
    let line = place.run("config").refused(2).to_owned();
    assert_eq!(
        line,
        ".env holds more than 65536 bytes: expected a small file of NAME=value lines, or none"
    );
    for make in [
        "ln -sf /dev/zero .env",
        "rm .env; mkfifo .env",
        "rm .env; mkdir .env",
    ] {
        assert!(
            Command::new("sh")
                .args(["-c", make])
                .current_dir(place.path(""))
                .status()
                .unwrap()
                .success()
        );
        let line = place.run("config").refused(2).to_owned();
        assert_eq!(
            line, ".env is not a regular file: expected a small file of NAME=value lines, or none",
            "{make}"
        );
    }
}
