//! Cost of requests before authentication, in processor time of the instance.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use crate::world::{Wiring, World};
use latchkey_testkit::{PASSWORD, Pair, servers::eventually};

/// Maximum cost of a bad request, as a multiple of a good one.
const MAX_COST_RATIO: f64 = 10.0;
const REQUESTS: u32 = 300;
const BODY_LIMIT: usize = 16 * 1024;

/// A request and its cost.
pub struct Cost {
    name: &'static str,
    microseconds: f64,
    answer: String,
}

/// Measures all requests, good ones first.
pub async fn measure() -> Vec<Cost> {
    let world = World::start("attack-cost", Wiring::default(), 1).await;
    let wire = world.wire();
    eventually("all instances are ready", async || wire.all_ready().await).await;
    let pair = wire
        .obtain(0, "user0", PASSWORD)
        .await
        .pair()
        .expect("a sign-in");
    let instance = &world.instances[0];
    let mut costs = Vec::new();
    for (name, request) in requests(&pair) {
        let mut answer = String::new();
        // The first round fills caches and is not counted.
        for round in [REQUESTS / 10, REQUESTS] {
            let before = processor_time(instance.id());
            for _ in 0..round {
                answer = ask(instance.port, &request);
            }
            let took = processor_time(instance.id()).saturating_sub(before);
            if round == REQUESTS {
                let microseconds = took.as_secs_f64() * 1e6 / f64::from(round);
                costs.push(Cost {
                    name,
                    microseconds,
                    answer: answer.clone(),
                });
            }
        }
    }
    costs
}

/// Returns requests that cost too much compared with the first one, which is good.
pub fn violations(costs: &[Cost]) -> Vec<String> {
    let good = costs.first().map_or(0.0, |good| good.microseconds);
    let expensive = costs
        .iter()
        .filter(|cost| cost.microseconds > good * MAX_COST_RATIO);
    expensive
        .map(|cost| {
            format!(
                "{}: {:.0} us, and {good:.0} us for a good request",
                cost.name, cost.microseconds
            )
        })
        .collect()
}

pub fn table(costs: &[Cost]) -> String {
    let mut text = String::from("| request | CPU us | response |\n|---|--:|---|\n");
    for Cost {
        name,
        microseconds,
        answer,
    } in costs
    {
        let _ = writeln!(text, "| {name} | {microseconds:.0} | {answer} |");
    }
    text
}

fn requests(pair: &Pair) -> Vec<(&'static str, Vec<u8>)> {
    let verify = |body: &str| post("/api/token/verify/", "application/json", body);
    let token = |token: &str| verify(&json!({ "token": token }).to_string());
    let [head, claims, _] = pair
        .access
        .split('.')
        .collect::<Vec<_>>()
        .try_into()
        .expect("three segments");
    let forged = format!("{head}.{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 64]));
    let members = (0..1700)
        .map(|number| format!("\"{number}\":1,"))
        .collect::<Vec<_>>()
        .concat();
    let escapes = "\\u0041".repeat(BODY_LIMIT / 6 - 10);
    let parts = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n".repeat(300);
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n").into_bytes()
    };
    let large_headers = (0..90)
        .map(|number| format!("h{number}: {}\r\n", "x".repeat(1000)))
        .collect::<Vec<_>>()
        .concat();
    let chunks = "1\r\n \r\n".repeat(BODY_LIMIT - 10);
    let chunked = format!(
        "POST /api/token/verify/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    vec![
        ("a good token at verify", token(&pair.access)),
        (
            "a good token at the protected view",
            get(
                "/api/auth/user/",
                &format!("Authorization: Bearer {}\r\n", pair.access),
            ),
        ),
        ("an unknown path", get("/nowhere", "")),
        (
            "a path of 60 KiB",
            get(&format!("/{}", "a".repeat(60_000)), ""),
        ),
        (
            "a path of 2 KiB below a route",
            get(&format!("/api/auth/sessions/{}/", "a".repeat(2000)), ""),
        ),
        (
            "a path of 2 KiB of escapes",
            get(&format!("/api/auth/sessions/{}/", "%61".repeat(660)), ""),
        ),
        (
            "90 headers of 1 KiB",
            get("/api/auth/user/", &large_headers),
        ),
        (
            "a bearer header of 60 KiB",
            get(
                "/api/auth/user/",
                &format!("Authorization: Bearer {}\r\n", "a".repeat(60_000)),
            ),
        ),
        (
            "a bearer header of 30,000 words",
            get(
                "/api/auth/user/",
                &format!("Authorization: Bearer {}\r\n", "a ".repeat(30_000)),
            ),
        ),
        (
            "an agent of 60 KiB",
            get(
                "/api/auth/user/",
                &format!(
                    "User-Agent: {}\r\nAuthorization: Bearer {forged}\r\n",
                    "\u{e9}".repeat(30_000)
                ),
            ),
        ),
        ("a forged token", token(&forged)),
        ("a token of 16 KiB", token(&"a".repeat(BODY_LIMIT - 100))),
        ("a token of 8,000 dots", token(&".".repeat(8000))),
        (
            "1,700 members of JSON",
            verify(&format!("{{{members}\"token\":\"a\"}}")),
        ),
        ("JSON 16,000 deep", verify(&"[".repeat(16_000))),
        (
            "16 KiB of escapes",
            verify(&format!("{{\"token\":\"{escapes}\"}}")),
        ),
        (
            "a form of 8,000 fields",
            post(
                "/api/token/verify/",
                "application/x-www-form-urlencoded",
                &"a&".repeat(8000),
            ),
        ),
        (
            "a multipart form of 300 parts",
            post(
                "/api/token/verify/",
                "multipart/form-data; boundary=b",
                &format!("{parts}--b--\r\n"),
            ),
        ),
        ("a body in chunks of one byte", chunked.into_bytes()),
        (
            "a body of an unsupported type",
            post(
                "/api/token/verify/",
                &"x".repeat(8000),
                &"a".repeat(BODY_LIMIT),
            ),
        ),
    ]
}

fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Returns the status line of the response, or the bytes received instead.
fn ask(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the instance listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time limit");
    // The server may refuse a request before it has read all of it.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .unwrap_or("closed")
        .to_owned()
}

/// Returns the processor time of all threads of a process.
fn processor_time(id: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
    let times = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    let nanoseconds = times
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}
