//! Revocation of a key under adverse conditions.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use super::keys::kid;
use latchkey_testkit::{PASSWORD, Place, Server, servers::eventually};

const USER: &str = "ada";

/// Number of descriptors that the server may open after its start.
const SPARE_DESCRIPTORS: usize = 6;

/// Connection that stays open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(server: &Server) -> Self {
        Self(BufReader::new(
            TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap(),
        ))
    }

    /// Sends a request, and returns the status and the body of the response.
    fn send(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let head = "Host: auth.test\r\nContent-Type: application/json";
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap();
            }
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).unwrap();
        (status, String::from_utf8(text).unwrap())
    }
}

fn open(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .unwrap()
        .count()
}

/// Lowers the limit of the running server to its open descriptors and a few more. A server refuses
/// to start with so few.
fn limit(server: &Server) -> usize {
    let limit = open(server) + SPARE_DESCRIPTORS;
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    prlimit(
        pid,
        Resource::Nofile,
        Rlimit {
            current: Some(limit as u64),
            maximum: Some(limit as u64),
        },
    )
    .unwrap();
    limit
}

/// Opens idle connections until the server has no descriptor left. Connections in the accept queue
/// use each descriptor that becomes free.
async fn exhaust(server: &Server, limit: usize, idle: &mut Vec<TcpStream>) {
    eventually("all descriptors are used up", async || {
        if open(server) < limit {
            let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
            // If the server accepts no more, the connections in its queue suffice.
            idle.extend(TcpStream::connect_timeout(
                &address,
                Duration::from_millis(200),
            ));
        }
        open(server) >= limit
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_without_free_descriptors_reads_key_changes() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    let server = place.serve("--header-timeout 10m");
    place.user(USER, PASSWORD);
    let old = kid(&place, &json!({"use": "access"}));
    let pair = server.pair(USER, PASSWORD).await;
    let mut connection = Connection::to(&server);
    let token = json!({ "token": pair.access }).to_string();
    assert_eq!(connection.send("POST", "/api/token/verify/", &token).0, 200);

    let (limit, mut idle) = (limit(&server), Vec::new());
    exhaust(&server, limit, &mut idle).await;
    place.run("keys rotate").done();
    let new = kid(&place, &json!({"state": "published"}));
    eventually("the new key is read", async || {
        exhaust(&server, limit, &mut idle).await;
        connection
            .send("GET", "/.well-known/jwks.json", "")
            .1
            .contains(&new)
    })
    .await;
    place.run(&format!("keys revoke {old}")).done();
    eventually("the tokens of the key are refused", async || {
        exhaust(&server, limit, &mut idle).await;
        connection.send("POST", "/api/token/verify/", &token).0 == 401
    })
    .await;
    assert!(open(&server) >= limit, "no descriptor is available");
    assert!(
        connection
            .send("GET", "/health/ready", "")
            .1
            .contains(r#""keys":"ok""#)
    );
    assert!(
        !connection
            .send("GET", "/.well-known/jwks.json", "")
            .1
            .contains(&old)
    );
}

/// Stopped process that holds the lock of the key ring.
struct Stopped(Child);

impl Stopped {
    fn holds(lock: &std::path::Path) -> Self {
        let mut command = Command::new("flock");
        command
            .arg(lock)
            .args(["sh", "-c", "echo holds; read done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "holds\n");
        let stopped = Self(child);
        stopped.signal("STOP");
        stopped
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &self.0.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Its shell reads the end of the pipe, and exits.
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_lock_holder_does_not_prevent_a_revocation() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    let server = place.serve("");
    place.user(USER, PASSWORD);
    let pair = server.pair(USER, PASSWORD).await;
    let old = kid(&place, &json!({"use": "access"}));
    place.run("keys rotate").done();
    let stopped = Stopped::holds(&place.path("keys/.lock"));

    for words in ["keys rotate", "keys rewrap --plain"] {
        let outcome = place.run(words);
        let line = outcome.refused(1);
        assert!(
            line.contains("another process has held the lock for 3s") && line.contains("fuser"),
            "{line}"
        );
    }
    let outcome = place.run(&format!("keys revoke {old}"));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome
            .out
            .contains(&format!("revoked {old}: its tokens are refused\n")),
        "{outcome:?}"
    );
    assert!(
        outcome
            .err
            .contains("The key was revoked without the lock of the key ring, which suffices"),
        "{outcome:?}"
    );
    eventually("the server refuses the tokens of the key", async || {
        server.verify(&pair.access).await.status == 401
    })
    .await;
    assert!(
        place
            .files()
            .iter()
            .any(|name| name.ends_with(&format!("{old}.revoked")))
    );
    assert!(
        !place
            .files()
            .iter()
            .any(|name| name.ends_with(&format!("{old}.pem")))
    );
    let again = place.run(&format!("keys revoke {old}"));
    assert!(
        again
            .refused(1)
            .contains("was revoked and cannot be used again")
    );

    drop(stopped);
    place.run("keys rotate").done();
    assert_eq!(
        place
            .run("keys list --json")
            .json()
            .as_array()
            .unwrap()
            .iter()
            .filter(|key| key["kid"] == old.as_str())
            .count(),
        1
    );
}

#[tokio::test]
async fn revocation_reports_the_limits_of_its_checks() {
    let place = Place::new();
    drop(place.serve(""));
    let old = kid(&place, &json!({"use": "access"}));
    let outcome = place.run(&format!("keys revoke {old}"));
    for words in [
        "within about a second",
        "/health/ready",
        "latchkey_key_ring_read_age_seconds",
        "fetch the key set, within 5m",
    ] {
        assert!(outcome.done().contains(words), "{words}: {}", outcome.out);
    }
}
