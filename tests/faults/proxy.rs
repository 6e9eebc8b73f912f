//! A way to a server that can be broken, and servers that are none.

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

/// What a proxy does with what passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Hands everything on.
    Pass,
    /// Takes connections and bytes, and hands nothing on, either way: a dead network without a word.
    Swallow,
    /// Hands on what is asked, and hangs up in place of every so-manieth answer.
    CutAnswers,
    /// Hands on what is asked, and from some so-manieth answer on the connection says nothing more.
    SwallowAnswers,
}

/// Every so-manieth answer.
const EVERY: usize = 20;

/// A proxy. It and its connections end when it is dropped.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    mode: AtomicU8,
    answers: AtomicUsize,
}

impl State {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    /// Whether this answer is one of those that are lost.
    fn hits(&self) -> bool {
        self.answers.fetch_add(1, Ordering::SeqCst) % EVERY == EVERY - 1
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
    let dumb = AtomicBool::new(false);
    // When one way ends, so does the other: a connection that was cut is cut for both.
    tokio::select! {
        () = questions(near_in, far_out, &state, &dumb) => {}
        () = answers(far_in, near_out, &state, &dumb) => {}
    }
}

async fn questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    dumb: &AtomicBool,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.is(Mode::Swallow) {
            dumb.store(true, Ordering::SeqCst);
        }
        if !dumb.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    dumb: &AtomicBool,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.is(Mode::CutAnswers) && state.hits() {
            return;
        }
        if state.is(Mode::Swallow) || (state.is(Mode::SwallowAnswers) && state.hits()) {
            dumb.store(true, Ordering::SeqCst);
        }
        if !dumb.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Listens on a port and gives the same bytes for whatever comes; none means that it never says a word.
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
