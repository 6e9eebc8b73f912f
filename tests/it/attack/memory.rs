//! Copies of a password in process memory after a sign-in.
//!
//! Only the received bytes remain, in a buffer of the web server, until the connection receives
//! more data or closes.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::FileExt as _,
};

use regex::bytes::Regex;

use latchkey_testkit::{Place, Server};

const RIGHT: &str = "Tr0mbone+walnut%4711";
/// Last header of each request. It precedes each received body, but no copy of the body.
const MARKER: &str = "X-Mark: 5f1d7a30c4";
/// Maximum distance between the header and the password.
const MAX_DISTANCE: usize = 512;

/// Returns all writable memory regions of the process.
fn memory(server: &Server) -> Vec<Vec<u8>> {
    let pid = server.pid();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem"))
        .expect("reading the memory of another process requires root");
    let mut pieces = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        if !mode.starts_with("rw") || line.ends_with("[vvar]") {
            continue;
        }
        let (begin, end) = range.split_once('-').unwrap();
        let [begin, end] = [begin, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut piece = vec![0; usize::try_from(end - begin).unwrap()];
        // Guard pages are not readable, and a thread may have ended meanwhile.
        if memory.read_exact_at(&mut piece, begin).is_ok() {
            pieces.push(piece);
        }
    }
    pieces
}

/// Counts the copies in received requests. Returns the surrounding bytes of all other copies.
fn copies(memory: &[Vec<u8>], secrets: &str) -> (usize, Vec<String>) {
    let (secrets, marker) = (Regex::new(secrets).unwrap(), Regex::new(MARKER).unwrap());
    let (mut received, mut others) = (0, Vec::new());
    for piece in memory {
        for at in secrets.find_iter(piece).map(|found| found.start()) {
            if marker.is_match(&piece[at.saturating_sub(MAX_DISTANCE)..at]) {
                received += 1;
            } else {
                let around = &piece[at.saturating_sub(48)..(at + 64).min(piece.len())];
                others.push(String::from_utf8_lossy(around).into_owned());
            }
        }
    }
    (received, others)
}

/// Sends a request in these chunks on a connection that stays open. Returns the connection and the
/// status line.
fn send(server: &Server, content_type: &str, body: &[&str]) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let framing = if let [whole] = body {
        format!("Content-Length: {}", whole.len())
    } else {
        "Transfer-Encoding: chunked".to_owned()
    };
    // Each chunk reaches the handler as a separate piece.
    let chunk = |piece: &&str| format!("{:x}\r\n{piece}\r\n", piece.len());
    let body = match body {
        [whole] => (*whole).to_owned(),
        pieces => pieces.iter().map(chunk).collect::<Vec<_>>().concat() + "0\r\n\r\n",
    };
    let head = format!(
        "POST /api/token/ HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n{framing}\r\n{MARKER}"
    );
    let request = format!("{head}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 512];
    let length = stream.read(&mut answer).unwrap();
    let line = String::from_utf8_lossy(&answer[..length])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    (stream, line)
}

fn part(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

#[test]
fn password_remains_only_in_received_bytes() {
    let place = Place::new();
    let server = place.serve("--header-timeout 10m --log trace");
    place.user("ada", RIGHT);
    let encoded = RIGHT.replace('%', "%25").replace('+', "%2B");
    let (json, form, multipart) = (
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
    );
    let wrong = |number: u32| format!("wr0ng-Kazoo-Persimmon-{number:04}");
    let requests: Vec<(&str, &str, Vec<String>)> = vec![
        (
            "200",
            json,
            vec![format!(r#"{{"username":"ada","password":"{RIGHT}"}}"#)],
        ),
        (
            "200",
            json,
            vec![format!(
                r#"{{"username":"ada","password":"\u0054{}"}}"#,
                &RIGHT[1..]
            )],
        ),
        (
            "200",
            json,
            vec![
                format!(r#"{{"username":"ada","#),
                format!(r#""password":"{RIGHT}"}}"#),
            ],
        ),
        (
            "200",
            form,
            vec![format!("username=ada&password={encoded}")],
        ),
        (
            "200",
            multipart,
            vec![part("username", "ada") + &part("password", RIGHT) + "--b--\r\n"],
        ),
        (
            "401",
            json,
            vec![format!(r#"{{"username":"ada","password":"{}"}}"#, wrong(1))],
        ),
        (
            "401",
            json,
            vec![format!(
                r#"{{"username":"ada","password":"\n{}"}}"#,
                wrong(2)
            )],
        ),
        (
            "401",
            form,
            vec![format!("username=ada&password=+%41{}", wrong(3))],
        ),
        (
            "401",
            multipart,
            vec![part("username", "nobody") + &part("password", &wrong(4)) + "--b--\r\n"],
        ),
        (
            "400",
            json,
            vec![format!(r#"{{"username":"ada","password":"{}""#, wrong(5))],
        ),
        (
            "400",
            json,
            vec![format!(
                r#"{{"username":"ada","password":"{}\ud800"}}"#,
                wrong(6)
            )],
        ),
        (
            "400",
            json,
            vec![format!(r#"{{"password":"\t{}"}}"#, wrong(7))],
        ),
        ("400", multipart, vec![part("password", &wrong(8))]),
        ("400", form, vec![format!("password={}", wrong(9))]),
        ("415", "text/plain", vec![format!("password={}", wrong(10))]),
        ("400", json, vec![format!(r#"["{}"]"#, wrong(11))]),
    ];
    // Connections stay open, so that their buffers keep the received bytes.
    let mut open = Vec::new();
    for (status, content_type, body) in &requests {
        let body: Vec<&str> = body.iter().map(String::as_str).collect();
        let (stream, line) = send(&server, content_type, &body);
        assert!(
            line.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {body:?}"
        );
        open.push(stream);
    }
    // A search in a body leaves vector registers on the thread's stack until its next body.
    for _ in 0..16 {
        let (stream, line) = send(
            &server,
            json,
            &[r#"{"username":"ada","password":"no secret of this test""#],
        );
        assert!(line.starts_with("HTTP/1.1 400"), "{line}");
        open.push(stream);
    }
    let memory = memory(&server);
    let (received, others) = copies(
        &memory,
        &format!("{}|wr0ng-Kazoo-Persimmon", regex::escape(RIGHT)),
    );
    assert!(
        received >= 10,
        "only {received} of the requests were found in memory"
    );
    assert!(
        others.is_empty(),
        "{} more copies: {others:#?}",
        others.len()
    );
}
