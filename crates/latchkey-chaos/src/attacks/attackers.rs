//! The attackers: threads with plain sockets, each from a separate address.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::Target;

/// Source addresses of attackers, each with its own range of ports.
const ADDRESSES: u64 = 200;
const IDLE_CONNECTIONS: usize = 2000;
const SLOW_CONNECTIONS: usize = 200;
/// Interval between two checks of held connections.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

pub(super) fn hang_up_revoked(target: &Target) {
    hang_up(target, &refresh(&target.dead));
}

pub(super) fn hang_up_live(target: &Target) {
    hang_up(target, &refresh(&target.live));
}

fn hang_up(target: &Target, request: &[u8]) {
    while !target.stopped() {
        if let Some(mut stream) = target.connect() {
            let _ = stream.write_all(request);
        }
    }
}

pub(super) fn idle(target: &Target) {
    hold(target, IDLE_CONNECTIONS, b"", b"");
}

pub(super) fn slow_readers(target: &Target) {
    hold(
        target,
        SLOW_CONNECTIONS,
        b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n",
        b"",
    );
}

pub(super) fn endless_bodies(target: &Target) {
    hold(
        target,
        SLOW_CONNECTIONS,
        b"GET /health/live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
    );
}

pub(super) fn junk(target: &Target) {
    let request = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8);
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut answer = [0; 16 * 1024];
    while !target.stopped() {
        if streams.len() < 4 {
            streams.extend(target.connect());
        }
        streams.retain_mut(|stream| {
            stream.write_all(&request).is_ok() && !matches!(stream.read(&mut answer), Ok(0))
        });
    }
}

/// Holds a number of connections. On each, it sends `first` and then `more` repeatedly.
fn hold(target: &Target, number: usize, first: &[u8], more: &[u8]) {
    let mut streams = Vec::new();
    while !target.stopped() {
        while streams.len() < number && !target.stopped() {
            let Some(mut stream) = target.connect() else {
                break;
            };
            let _ = stream.write_all(first);
            let _ = stream.set_nonblocking(true);
            streams.push(stream);
        }
        streams.retain_mut(|stream| is_open(stream) && stream.write_all(more).is_ok());
        thread::sleep(CHECK_INTERVAL);
    }
}

/// True if the connection is open, by peeking at received bytes.
fn is_open(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

fn refresh(token: &str) -> Vec<u8> {
    let body = json!({ "refresh": token }).to_string();
    let head = "POST /api/token/refresh/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Target {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn connect(&self) -> Option<TcpStream> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) % ADDRESSES;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        let address = Ipv4Addr::new(127, 0, 1, u8::try_from(number).ok()?);
        socket.bind(&SocketAddr::from((address, 0)).into()).ok()?;
        socket
            .connect_timeout(
                &SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into(),
                Duration::from_secs(1),
            )
            .ok()?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        Some(stream)
    }
}
