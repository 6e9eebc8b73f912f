//! Error responses of nginx itself, and headers that nginx adds to each response.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};

use super::{NAME, Nginx, PASSWORD, Reply, address};
use latchkey_testkit::{
    Place, listen,
    servers::{eventually, own::free_port},
};

fn down() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

impl Reply {
    fn header(&self, name: &str) -> Vec<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value.trim())
            .collect()
    }

    #[track_caller]
    fn is_error(&self, status: u16, detail: &str) {
        let body: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(
            (self.status, body),
            (status, json!({ "detail": detail })),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            ["application/json"],
            "{self:?}"
        );
        assert_eq!(
            self.header("strict-transport-security").len(),
            1,
            "{self:?}"
        );
        let [id] = self.header("x-request-id")[..] else {
            panic!("{self:?}")
        };
        assert_eq!(id.len(), 32, "{self:?}");
        let retry_after: &[&str] = if matches!(status, 429 | 502..=504) {
            &["1"]
        } else {
            &[]
        };
        assert_eq!(self.header("retry-after"), retry_after, "{self:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_of_nginx_itself_is_json() {
    let nginx = Nginx::before(&[down()]).await;
    nginx
        .post(
            "/api/token/refresh/",
            &json!({ "refresh": "x".repeat(20_000) }),
        )
        .is_error(413, "Request body is too large.");
    let unavailable = "Service temporarily unavailable. Try again shortly.";
    nginx.obtain().is_error(502, unavailable);
    nginx
        .curl("/.well-known/jwks.json", &[])
        .is_error(502, unavailable);
    for path in ["/metrics", "/metrics/x", "/health/ready"] {
        nginx.curl(path, &[]).is_error(404, "Not found.");
    }
    nginx
        .curl(&format!("/{}", "x".repeat(10_000)), &[])
        .is_error(414, "Request URI is too long.");
    nginx
        .curl(
            "/api/token/",
            &["--header", &format!("X: {}", "x".repeat(10_000))],
        )
        .is_error(400, "Bad request.");
    nginx
        .curl("/api/token/", &["--request", "TRACE"])
        .is_error(405, "Bad request.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instance_that_does_not_answer_in_time_is_a_json_504() {
    let silent = listen(|mut stream: TcpStream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let nginx = Nginx::changed(
        &[silent],
        &[("proxy_read_timeout 30s;", "proxy_read_timeout 200ms;")],
    )
    .await;
    let reply = nginx.post("/api/token/refresh/", &json!({ "refresh": "x" }));
    reply.is_error(504, "Service temporarily unavailable. Try again shortly.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_flood_of_sign_ins_is_throttled() {
    let server = Place::new().serve(&format!("--issuer https://{NAME}"));
    // The budget does not refill while the test runs, even on a slow machine.
    let nginx = Nginx::changed(&[address(&server.url)], &[("rate=10r/s", "rate=1r/m")]).await;
    let mut replies = (0..200).map(|_| nginx.post("/api/token/", &json!({})));
    let refused = replies
        .find(|reply| reply.status != 400)
        .expect("each of 200 sign-ins passes");
    refused.is_error(429, "Request was throttled.");
    for _ in 0..60 {
        assert_eq!(nginx.post("/api/token/refresh/", &json!({})).status, 400);
    }
}

/// The id in the response equals the id in the log of the service. The client's id is ignored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_id_of_nginx_is_in_response_and_log() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve(&format!("--issuer https://{NAME}"));
    let nginx = Nginx::before(&[address(&server.url)]).await;
    let body = json!({ "username": "ada", "password": "wrong" }).to_string();
    let headers = [
        "--header",
        "Content-Type: application/json",
        "--header",
        "X-Request-ID: mine",
        "--data",
        &body,
    ];
    let reply = nginx.curl("/api/token/", &headers);
    assert_eq!(reply.status, 401, "{reply:?}");
    let [id] = reply.header("x-request-id")[..] else {
        panic!("{reply:?}")
    };
    assert_eq!(id.len(), 32, "{reply:?}");
    eventually("the id is in the log", async || server.log().contains(id)).await;
}

/// Errors of the service keep their body and `Retry-After`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_of_the_service_passes_unchanged() {
    let server = Place::new().serve(&format!("--issuer https://{NAME}"));
    let nginx = Nginx::before(&[address(&server.url)]).await;
    let reply = nginx.post("/api/token/refresh/", &json!({ "refresh": "junk" }));
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (
            401,
            r#"{"detail":"Token is invalid","code":"token_not_valid"}"#
        )
    );
    assert_eq!(
        nginx.curl("/elsewhere", &[]).body,
        r#"{"detail":"Not found."}"#
    );

    let busy = listen(|mut stream: TcpStream| {
        let lines = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let head =
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 15\r\n\r\n";
        let body = r#"{"detail":"no"}"#;
        let _ = write!(stream, "{head}{body}");
    });
    let nginx = Nginx::before(&[busy]).await;
    let reply = nginx.curl("/.well-known/jwks.json", &[]);
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (503, r#"{"detail":"no"}"#),
        "{reply:?}"
    );
    assert_eq!(reply.header("retry-after"), ["7"], "{reply:?}");
}
