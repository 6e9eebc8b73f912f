//! A way to a server that a test can hold up, lose answers on, lead elsewhere, and cut.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

/// Hands each connection to `serve` on a thread of its own. The thread ends with its connection.
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

/// Leads to a port of this machine: two threads for each connection, one for each direction.
pub struct Proxy {
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
    open: Vec<TcpStream>,
    accepted: usize,
    refuses: bool,
    /// Connections before this one stay open, and nothing comes through them any more.
    swallowed: usize,
    loses_answers: bool,
    holds_answers: bool,
    /// Of the connections before this one, too.
    holds_before: usize,
    waiting: usize,
    lost: usize,
    /// Of so many pieces that come through, one ends its connection instead.
    cuts_one_in: Option<u64>,
    pieces: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Through,
    Lost,
    Cut,
}

impl Proxy {
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

    /// Swallows all connections that there are; later ones go through.
    pub fn swallow(&self) {
        self.change(|state| state.swallowed = state.accepted);
    }

    /// What the client says arrives, and what the server answers does not.
    pub fn lose_answers(&self) {
        self.change(|state| state.loses_answers = true);
    }

    /// What the server answers arrives when it is released.
    pub fn hold_answers(&self) {
        self.change(|state| state.holds_answers = true);
    }

    /// The same, of the connections that there are. Later ones go through.
    pub fn hold_answers_so_far(&self) {
        self.change(|state| state.holds_before = state.accepted);
    }

    /// Whether an answer waits to be released.
    pub fn holds(&self) -> bool {
        self.way.state().waiting > 0
    }

    /// Whether something that was said did not arrive.
    pub fn has_lost(&self) -> bool {
        self.way.state().lost > 0
    }

    /// Ends a connection at every `pieces`th piece or so, in either direction, by a dice that always falls alike.
    pub fn cut_one_in(&self, pieces: u64) {
        self.change(|state| state.cuts_one_in = Some(pieces));
    }

    /// Takes no connection, and ends those that there are.
    pub fn refuse(&self) {
        self.change(|state| state.refuses = true);
        self.cut();
    }

    /// Everything goes through again: also what was held.
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

    /// Later connections lead to another server, and those that there are end.
    pub fn lead_to(&self, port: u16) {
        self.change(|state| state.port = port);
        self.cut();
    }

    /// Later connections lead to another server, and those that there are stay, as behind a load balancer.
    pub fn move_to(&self, port: u16) {
        self.change(|state| state.port = port);
    }

    /// Ends one connection, by the number of those that were made before it.
    pub fn cut_one(&self, number: usize) {
        // Both ends of each.
        for stream in &self.way.state().open[2 * number..2 * number + 2] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections that there are.
    pub fn cut(&self) {
        for stream in self.way.state().open.drain(..) {
            // It may have ended by itself.
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
        // As both ends would do it: otherwise each small answer waits for the acknowledgement of the one before.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        self.state()
            .open
            .extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
        let (answers_from, answers_to, way) = (
            far.try_clone().unwrap(),
            near.try_clone().unwrap(),
            Arc::clone(self),
        );
        std::thread::spawn(move || way.pump(answers_from, answers_to, number, true));
        self.pump(near, far, number, false);
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, number: usize, answers: bool) {
        let mut buffer = [0; 16384];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            match self.fate(number, answers) {
                Piece::Through if to.write_all(&buffer[..length]).is_err() => break,
                Piece::Cut => break,
                Piece::Through | Piece::Lost => {}
            }
        }
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What becomes of a piece that has just arrived.
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
        self.cut();
    }
}
