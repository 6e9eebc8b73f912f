//! The state of a connection, and the deadline of that state.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// The minimum rate, in bytes a second, at which a client must read a response after the first seconds.
const MIN_WRITE_RATE: u64 = 8 * 1024;
/// The base time limit of a handler. Everything that it waits for has a shorter limit.
const HANDLER_ALLOWANCE: Duration = Duration::from_secs(90);
/// The margin for the web server's own timers, which send a response before they close.
const SLACK: Duration = Duration::from_secs(2);

/// Time limits of the states of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, from its first byte, or from the start of a new connection.
    pub head: Duration,
    /// For receiving the body of a request. A response that the client does not read has the same limit, plus a second
    /// for each 8 KiB that it reads.
    pub body: Duration,
    /// For an idle connection between two requests.
    pub keep_alive: Duration,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// A handler is running.
    Handling,
    /// Idle since the last response.
    Idle,
    /// No request has come yet.
    New,
    /// Part of a request was received, or the rest of the last request's body.
    Reading,
    /// The client reads the response more slowly than it can be sent.
    Writing,
}

/// One connection of a client.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    opened: Instant,
    noted: Activity,
    close: Mutex<Option<oneshot::Sender<()>>>,
    /// The task that wants to read once the connection is free.
    reader: Mutex<Option<Waker>>,
}

/// Records of the socket and of the handlers. Times are milliseconds since the connection was opened; 0 means never.
#[derive(Debug, Default)]
struct Activity {
    active: AtomicU64,
    handling: AtomicU64,
    reading: AtomicU64,
    blocked: AtomicU64,
    /// Bytes written since then.
    written: AtomicU64,
    body_wanted: AtomicBool,
    body_read: AtomicBool,
    served: AtomicBool,
    closing: AtomicBool,
    /// A request has begun since the socket asked last.
    began: AtomicBool,
    /// A task waits in `reader`.
    awaited: AtomicBool,
}

/// A request that is being handled, until this guard is dropped.
pub(in crate::http) struct Handling<'a>(&'a Connection);

impl Connection {
    /// Creates a new connection. A message is sent to `close` when it has to be closed.
    pub(super) fn new(close: oneshot::Sender<()>) -> Self {
        Self {
            opened: Instant::now(),
            noted: Activity::default(),
            close: Mutex::new(Some(close)),
            reader: Mutex::default(),
        }
    }

    /// Records that a handler is running, until the guard is dropped.
    pub(in crate::http) fn handle(&self) -> Handling<'_> {
        // A request is read and handled in one go, as a rule: one look at the clock is enough.
        let began = match self.noted.reading.swap(0, Relaxed) {
            0 => self.now(),
            read => read,
        };
        self.noted.handling.store(began, Relaxed);
        self.noted.body_wanted.store(false, Relaxed);
        self.noted.body_read.store(false, Relaxed);
        self.noted.served.store(true, Relaxed);
        self.noted.began.store(true, Relaxed);
        Handling(self)
    }

    /// Notes that a handler waits for the body of its request.
    pub(in crate::http) fn note_body_wanted(&self) {
        self.noted.body_wanted.store(true, Relaxed);
        self.wake();
    }

    /// Records that a handler has read the body of its request to the end.
    pub(in crate::http) fn note_body_read(&self) {
        self.noted.body_wanted.store(false, Relaxed);
        self.noted.body_read.store(true, Relaxed);
    }

    /// Returns true if a handler has read the body of the last request to the end.
    pub(in crate::http) fn is_body_read(&self) -> bool {
        self.noted.body_read.load(Relaxed)
    }

    /// Closes the connection in any state.
    pub(super) fn close(&self) {
        self.noted.closing.store(true, Relaxed);
        if let Some(close) = self
            .close
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            let _ = close.send(());
        }
    }

    /// Whether a handler works that wants no body, or a response waits: nothing more is read then.
    pub(super) fn is_busy(&self) -> bool {
        match self.state() {
            State::Handling => !self.wants_body(),
            State::Writing => true,
            State::Idle | State::New | State::Reading => false,
        }
    }

    /// Whether a handler waits for the body of its request.
    pub(super) fn wants_body(&self) -> bool {
        self.noted.body_wanted.load(Relaxed)
    }

    /// Whether a request has begun since this was asked last.
    pub(super) fn take_began(&self) -> bool {
        self.noted.began.swap(false, Relaxed)
    }

    /// Wakes the task once the connection is no longer busy.
    pub(super) fn wake_when_free(&self, reader: &Waker) {
        let mut known = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(reader)) {
            *known = Some(reader.clone());
        }
        self.noted.awaited.store(true, Relaxed);
    }

    fn wake(&self) {
        if self.noted.awaited.swap(false, Relaxed)
            && let Some(reader) = self
                .reader
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        {
            reader.wake();
        }
    }

    pub(super) fn note_read(&self) {
        if self.noted.handling.load(Relaxed) == 0 && self.noted.reading.load(Relaxed) == 0 {
            self.noted.reading.store(self.now(), Relaxed);
        }
    }

    pub(super) fn note_blocked(&self) {
        if self.noted.blocked.load(Relaxed) == 0 {
            self.noted.written.store(0, Relaxed);
            self.noted.blocked.store(self.now(), Relaxed);
        }
    }

    pub(super) fn note_written(&self, bytes: usize) {
        if self.noted.blocked.load(Relaxed) != 0 {
            self.noted.written.fetch_add(bytes as u64, Relaxed);
        }
    }

    pub(super) fn note_flushed(&self) {
        if self.noted.blocked.load(Relaxed) != 0 {
            self.noted.blocked.store(0, Relaxed);
            self.noted.active.store(self.now(), Relaxed);
            self.wake();
        }
    }

    pub(super) fn state(&self) -> State {
        let is_set = |time: &AtomicU64| time.load(Relaxed) != 0;
        match () {
            () if is_set(&self.noted.blocked) => State::Writing,
            () if is_set(&self.noted.handling) => State::Handling,
            () if is_set(&self.noted.reading) => State::Reading,
            () if self.noted.served.load(Relaxed) => State::Idle,
            () => State::New,
        }
    }

    /// Returns the deadline of the present state.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        let since = |time: &AtomicU64| self.opened + Duration::from_millis(time.load(Relaxed));
        match self.state() {
            State::Writing => {
                let taken = Duration::from_secs(self.noted.written.load(Relaxed) / MIN_WRITE_RATE);
                since(&self.noted.blocked) + limits.body + taken
            }
            State::Handling => since(&self.noted.handling) + limits.body + HANDLER_ALLOWANCE,
            State::Reading => since(&self.noted.reading) + limits.head + SLACK,
            State::Idle => since(&self.noted.active) + limits.keep_alive + SLACK,
            State::New => self.opened + limits.head + SLACK,
        }
    }

    /// Returns the order in which connections make room for others: first those without a request, then those whose
    /// client is slow to send a head, a body, or to take a response; of each, the one that has waited for longest.
    /// `None` while a handler works, and when the connection is closing already.
    pub(super) fn rank(&self) -> Option<(u8, Instant)> {
        if self.noted.closing.load(Relaxed) {
            return None;
        }
        let since = |time: &AtomicU64| self.opened + Duration::from_millis(time.load(Relaxed));
        match self.state() {
            State::New | State::Idle => Some((0, since(&self.noted.active))),
            State::Reading => Some((1, since(&self.noted.reading))),
            State::Handling if self.noted.body_wanted.load(Relaxed) => {
                Some((2, since(&self.noted.handling)))
            }
            State::Writing => Some((3, since(&self.noted.blocked))),
            State::Handling => None,
        }
    }

    /// At least 1, because 0 means never.
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        let Self(connection) = self;
        connection.noted.handling.store(0, Relaxed);
        connection.noted.active.store(connection.now(), Relaxed);
        connection.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(5),
        body: Duration::from_secs(10),
        keep_alive: Duration::from_secs(75),
    };

    fn connection() -> Connection {
        Connection::new(oneshot::channel().0)
    }

    fn left(connection: &Connection) -> u64 {
        connection
            .deadline(&LIMITS)
            .duration_since(connection.opened)
            .as_secs()
    }

    #[test]
    fn every_state_has_a_time_limit() {
        let connection = connection();
        assert_eq!((connection.state(), left(&connection)), (State::New, 7));
        connection.note_read();
        assert_eq!((connection.state(), left(&connection)), (State::Reading, 7));
        let handling = connection.handle();
        connection.note_read();
        assert_eq!(
            (connection.state(), left(&connection)),
            (State::Handling, 100)
        );
        drop(handling);
        assert_eq!((connection.state(), left(&connection)), (State::Idle, 77));
        connection.note_blocked();
        assert_eq!(
            (connection.state(), left(&connection)),
            (State::Writing, 10)
        );
    }

    #[test]
    fn more_bytes_do_not_prolong_a_head() {
        let connection = connection();
        connection.note_read();
        let first = connection.deadline(&LIMITS);
        connection.note_read();
        assert_eq!(connection.deadline(&LIMITS), first);
    }

    #[test]
    fn read_bytes_prolong_a_response_by_the_minimum_rate() {
        let connection = connection();
        connection.note_written(1_000_000);
        connection.note_blocked();
        assert_eq!(
            left(&connection),
            10,
            "bytes that were written without blocking do not count"
        );
        connection.note_written(16 * 1024);
        connection.note_blocked();
        assert_eq!(left(&connection), 12);
        connection.note_flushed();
        assert_ne!(connection.state(), State::Writing);
    }

    #[test]
    fn a_connection_makes_room_unless_a_handler_works() {
        let connection = connection();
        let class = |connection: &Connection| connection.rank().map(|(class, _)| class);
        assert_eq!(class(&connection), Some(0), "new");
        connection.note_read();
        assert_eq!(class(&connection), Some(1), "a head comes");
        let handling = connection.handle();
        assert_eq!(class(&connection), None, "a handler works");
        connection.note_body_wanted();
        assert_eq!(class(&connection), Some(2), "a body comes");
        connection.note_body_read();
        assert_eq!(class(&connection), None, "a handler works again");
        drop(handling);
        assert_eq!(class(&connection), Some(0), "idle");
        connection.note_blocked();
        assert_eq!(class(&connection), Some(3), "a response is not taken");
        connection.close();
        assert_eq!(class(&connection), None, "closing");
    }
}
