//! A TCP proxy that can delay or drop responses, redirect connections, and cut them.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Treatment of all bytes that pass a proxy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Forwards everything.
    #[default]
    Pass,
    /// Accepts connections and bytes, and forwards nothing in either direction, as in a network
    /// partition.
    Swallow,
    /// Forwards requests, and closes the connection in place of every 20th response.
    CutAnswers,
    /// Forwards requests, and drops every 20th response and all later bytes of its
    /// connection.
    SwallowAnswers,
}

/// Number of responses of which one is lost (see [`Mode`]).
const LOSS_INTERVAL: usize = 20;

/// Serves each connection on a new thread, which ends with its connection. Returns the address.
pub fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Proxy to a local port. Each connection has two threads, one per direction.
pub struct Proxy {
    /// Address that the proxy listens on.
    pub address: SocketAddr,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    port: u16,
    /// Both streams of each open connection, by its number.
    open: BTreeMap<usize, [TcpStream; 2]>,
    accepted: usize,
    refuses: bool,
    /// Connections below this number stay open, but lose all bytes.
    swallowed: usize,
    loses_answers: bool,
    holds_answers: bool,
    /// Responses on connections below this number are held.
    holds_before: usize,
    waiting: usize,
    lost: usize,
    /// Number of pieces of which one ends its connection instead of being forwarded.
    cuts_one_in: Option<u64>,
    pieces: u64,
    mode: Mode,
    responses: usize,
}

impl State {
    /// True if this response is to be lost.
    fn loses_next(&mut self) -> bool {
        self.responses += 1;
        self.responses.is_multiple_of(LOSS_INTERVAL)
    }
}

/// A connection through the proxy.
struct Connection {
    number: usize,
    is_silent: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Through,
    Lost,
    Cut,
    /// Lost, with all later bytes of its connection: TCP has no gaps.
    Silenced,
}

impl Proxy {
    /// Starts a proxy to this port.
    pub fn to(port: u16) -> Self {
        let way = Arc::new(Way {
            state: Mutex::new(State {
                port,
                ..State::default()
            }),
            ..Way::default()
        });
        let for_threads = Arc::clone(&way);
        let address = listen(move |near| for_threads.carry(near));
        Self { address, way }
    }

    /// Sets the treatment of all connections.
    pub fn set(&self, mode: Mode) {
        self.change(|state| state.mode = mode);
    }

    /// Drops all bytes of the present connections. Later connections work.
    pub fn swallow(&self) {
        self.change(|state| state.swallowed = state.accepted);
    }

    /// Drops responses, and forwards requests.
    pub fn lose_answers(&self) {
        self.change(|state| state.loses_answers = true);
    }

    /// Holds responses until [`Self::go_on`].
    pub fn hold_answers(&self) {
        self.change(|state| state.holds_answers = true);
    }

    /// Holds responses of the present connections. Later connections work.
    pub fn hold_answers_so_far(&self) {
        self.change(|state| state.holds_before = state.accepted);
    }

    /// True if a response is held.
    pub fn holds(&self) -> bool {
        self.way.state().waiting > 0
    }

    /// True if bytes were dropped.
    pub fn has_lost(&self) -> bool {
        self.way.state().lost > 0
    }

    /// Ends a connection at about one in `pieces` pieces, in either direction, by a deterministic
    /// sequence.
    pub fn cut_one_in(&self, pieces: u64) {
        self.change(|state| state.cuts_one_in = Some(pieces));
    }

    /// Ends all connections and refuses new ones.
    pub fn refuse(&self) {
        self.change(|state| state.refuses = true);
        self.cut();
    }

    /// Forwards everything again, including held responses.
    pub fn go_on(&self) {
        self.change(|state| {
            (
                state.loses_answers,
                state.holds_answers,
                state.refuses,
                state.cuts_one_in,
            ) = (false, false, false, None);
            state.holds_before = 0;
        });
    }

    /// Redirects later connections to another port, and ends the present ones.
    pub fn lead_to(&self, port: u16) {
        self.change(|state| state.port = port);
        self.cut();
    }

    /// Redirects later connections to another port, and keeps the present ones, as a load balancer
    /// does.
    pub fn move_to(&self, port: u16) {
        self.change(|state| state.port = port);
    }

    /// Ends one connection, by its number in order of acceptance.
    pub fn cut_one(&self, number: usize) {
        for stream in self.way.state().open.remove(&number).iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all present connections.
    pub fn cut(&self) {
        for stream in std::mem::take(&mut self.way.state().open)
            .values()
            .flatten()
        {
            // The connection may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.way.state());
        self.way.changed.notify_all();
    }
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn carry(self: &Arc<Self>, near: TcpStream) {
        let (port, number) = {
            let mut state = self.state();
            if state.refuses {
                return;
            }
            state.accepted += 1;
            (state.port, state.accepted - 1)
        };
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            return;
        };
        // Like both ends, without Nagle's algorithm: otherwise each small response waits for an
        // acknowledgement.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let streams = [near.try_clone().unwrap(), far.try_clone().unwrap()];
        self.state().open.insert(number, streams);
        let (answers_from, answers_to, way) = (
            far.try_clone().unwrap(),
            near.try_clone().unwrap(),
            Arc::clone(self),
        );
        let connection = Arc::new(Connection {
            number,
            is_silent: AtomicBool::new(false),
        });
        let for_answers = Arc::clone(&connection);
        std::thread::spawn(move || way.pump(answers_from, answers_to, &for_answers, true));
        self.pump(near, far, &connection, false);
        self.state().open.remove(&number);
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, connection: &Connection, answers: bool) {
        let mut buffer = [0; 16384];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let piece = self.fate(connection.number, answers);
            if piece == Piece::Silenced {
                connection.is_silent.store(true, Ordering::SeqCst);
            }
            if connection.is_silent.load(Ordering::SeqCst) {
                continue;
            }
            match piece {
                Piece::Through if to.write_all(&buffer[..length]).is_err() => break,
                Piece::Cut => break,
                Piece::Through | Piece::Lost | Piece::Silenced => {}
            }
        }
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Decides whether a piece is forwarded, dropped, or cuts its connection.
    fn fate(&self, number: usize, answers: bool) -> Piece {
        let mut state = self.state();
        while answers
            && (state.holds_answers || number < state.holds_before)
            && !state.loses_answers
        {
            state.waiting += 1;
            state = self.changed.wait(state).unwrap();
            state.waiting -= 1;
        }
        let mode = state.mode;
        match mode {
            Mode::Swallow => return Piece::Silenced,
            Mode::CutAnswers if answers && state.loses_next() => return Piece::Cut,
            Mode::SwallowAnswers if answers && state.loses_next() => return Piece::Silenced,
            _ => {}
        }
        state.pieces += 1;
        if number < state.swallowed || (answers && state.loses_answers) {
            state.lost += 1;
            return Piece::Lost;
        }
        let dice = state.pieces.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        if state
            .cuts_one_in
            .is_some_and(|pieces| dice.is_multiple_of(pieces))
        {
            Piece::Cut
        } else {
            Piece::Through
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.go_on();
        self.refuse();
    }
}
