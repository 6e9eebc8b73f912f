//! Limits of the log: clients cannot fill it, and a stalled reader does not delay requests.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use reqwest::Client;
use serde_json::{Value, json};

use latchkey_testkit::{PASSWORD, Place, address, servers::eventually};

const JUNK: u64 = 3000;

/// Server with a pipe for its log.
struct Piped {
    child: Child,
    client: Client,
    url: String,
}

impl Piped {
    /// Starts a server, and reads the first line of its standard output.
    fn start(place: &Place, flags: &str) -> Self {
        let mut command = place.command(&format!(
            "serve --bind 127.0.0.1:0 --metrics-bind main --log-format json {flags}"
        ));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = address(line.trim()).unwrap();
        let client = Client::builder()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self { child, client, url }
    }

    async fn junk(&self, number: u64) {
        let sent = futures_util::stream::iter(0..number)
            .map(|_| self.verify_junk())
            .buffer_unordered(32);
        sent.for_each(async |status| assert_eq!(status, 401)).await;
    }

    async fn verify_junk(&self) -> u16 {
        let request = self
            .client
            .post(format!("{}/api/token/verify/", self.url))
            .json(&json!({ "token": "junk" }));
        request.send().await.expect("no response").status().as_u16()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .expect("no response");
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Returns the value of a counter.
    async fn counter(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.1;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value
            .unwrap_or_else(|| panic!("no {name} in {text}"))
            .trim()
            .parse()
            .unwrap()
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Stops the server, and returns its log.
    fn log(mut self) -> Vec<Value> {
        self.signal("TERM");
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(self.child.wait().unwrap().success());
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
            .collect()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_requests_are_logged_once_a_second_and_all_counted() {
    let place = Place::new();
    let server = Piped::start(&place, "");
    let (began, mut sent) = (Instant::now(), 0);
    // The requests last long enough for a second line, with the number of suppressed ones.
    while sent < JUNK || began.elapsed() < Duration::from_millis(1500) {
        server.junk(500).await;
        sent += 500;
    }
    assert_eq!(
        server
            .counter(r#"latchkey_http_refusals_total{route="/api/token/verify",cause="malformed"}"#)
            .await,
        sent
    );
    let not_written = server.counter("latchkey_log_lines_suppressed_total").await;
    let seconds = began.elapsed().as_secs();
    let lines: Vec<_> = server
        .log()
        .into_iter()
        .filter(|line| line["cause"] == "malformed")
        .collect();
    assert!(
        (2..=seconds + 2).contains(&(lines.len() as u64)),
        "{} lines in {seconds} seconds",
        lines.len()
    );
    assert_eq!(not_written + lines.len() as u64, sent);
    let suppressed: u64 = lines
        .iter()
        .map(|line| line["suppressed"].as_u64().unwrap())
        .sum();
    assert!(suppressed > 0 && suppressed <= not_written, "{lines:?}");
    assert!(
        lines.iter().all(|line| line["level"] == "INFO"),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_http_are_not_logged_as_errors() {
    let place = Place::new();
    let server = Piped::start(&place, "");
    let address: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(bytes).unwrap();
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    let log = server.log();
    assert!(log.iter().all(|line| line["level"] == "INFO"), "{log:#?}");
    assert!(log.len() < 20, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_log_reader_does_not_delay_requests() {
    for level in ["info", "debug"] {
        let place = Place::new();
        place.user("ada", PASSWORD);
        let server = Piped::start(&place, &format!("--log {level}"));
        server.junk(JUNK).await;
        // At debug, each request is a line: many times the capacity of a pipe.
        let answers = futures_util::stream::iter(0..12_000)
            .map(|_| server.get("/health/live"))
            .buffer_unordered(32);
        answers
            .for_each(async |(status, _)| assert_eq!(status, 200, "{level}"))
            .await;
        let credentials = json!({ "username": "ada", "password": PASSWORD });
        let sign_in = server
            .client
            .post(format!("{}/api/token/", server.url))
            .json(&credentials)
            .send()
            .await
            .unwrap();
        assert_eq!(sign_in.status().as_u16(), 200, "{level}");
        let dropped = server.counter("latchkey_log_lines_dropped_total").await;
        assert_eq!(
            dropped > 0,
            level == "debug",
            "{level}: {dropped} lines were dropped"
        );

        // Without a reader, the server also stops within a few seconds.
        server.signal("TERM");
        let mut server = server;
        eventually("the server stops", async || {
            server.child.try_wait().unwrap().is_some()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_lines_are_in_the_log_after_a_stop() {
    let place = Place::new();
    let log = Piped::start(&place, "").log();
    assert_eq!(log.last().unwrap()["message"], "stopped", "{log:#?}");
}

/// The pipe is full before the server starts, for example because of another writer.
#[test]
fn stalled_reader_of_the_output_does_not_prevent_the_start() {
    let place = Place::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let full = writer.try_clone().unwrap();
    std::thread::spawn(move || writer.write_all(&vec![b'x'; 1 << 20]));
    let port = latchkey_testkit::servers::own::free_port();
    let mut command = place.command(&format!("serve --bind 127.0.0.1:{port}"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut text = String::new();
    while !text.starts_with("HTTP/1.1 200") {
        assert!(
            Instant::now() < deadline,
            "the server does not respond: {text}"
        );
        text.clear();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream
                .set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            let _ = stream
                .write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let _ = stream.read_to_string(&mut text);
        }
        std::thread::yield_now();
    }
    let _ = child.kill();
    let _ = child.wait();
    drop(reader);
}
