//! A proxy that can drop bytes or cut connections, and a fake server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// Treatment of the bytes that pass a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Forwards everything.
    Pass,
    /// Accepts connections and bytes, and forwards nothing in either direction, as in a network
    /// partition.
    Swallow,
    /// Forwards requests, and closes the connection in place of every [`LOSS_INTERVAL`]th response.
    CutAnswers,
    /// Forwards requests, and drops every [`LOSS_INTERVAL`]th response and all later ones of its
    /// connection.
    SwallowAnswers,
}

/// One in so many responses is lost.
const LOSS_INTERVAL: usize = 20;

/// A proxy. On drop it accepts no more connections.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    mode: AtomicU8,
    responses: AtomicUsize,
}

impl State {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    /// True if this response is to be lost.
    fn loses_next(&self) -> bool {
        self.responses.fetch_add(1, Ordering::SeqCst) % LOSS_INTERVAL == LOSS_INTERVAL - 1
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let near = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, port, Arc::clone(&shared)));
            }
        });
        Self {
            port: near,
            state,
            listening,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.state.mode.store(mode as u8, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn carry(near: TcpStream, port: u16, state: Arc<State>) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // A connection that lost a byte never carries another one: TCP has no gaps.
    let silent = AtomicBool::new(false);
    // Both directions end together, as with a connection that is cut.
    tokio::select! {
        () = forward_requests(near_in, far_out, &state, &silent) => {}
        () = forward_responses(far_in, near_out, &state, &silent) => {}
    }
}

async fn forward_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    silent: &AtomicBool,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.is(Mode::Swallow) {
            silent.store(true, Ordering::SeqCst);
        }
        if !silent.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn forward_responses(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    silent: &AtomicBool,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.is(Mode::CutAnswers) && state.loses_next() {
            return;
        }
        if state.is(Mode::Swallow) || (state.is(Mode::SwallowAnswers) && state.loses_next()) {
            silent.store(true, Ordering::SeqCst);
        }
        if !silent.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// A fake server that answers everything with the same bytes, or with nothing if there are none.
pub struct Impostor(JoinHandle<()>);

impl Impostor {
    pub fn on(port: u16, answer: &'static [u8]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1024).unwrap();
        Self(tokio::spawn(async move {
            // Connections end with the impostor.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(repeat(stream, answer));
            }
        }))
    }

    pub async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn repeat(mut stream: TcpStream, answer: &[u8]) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}
