//! The state of one connection, and the time at which that state is over.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// Bytes a second that a client must take of a response, after the first seconds.
const MIN_WRITE_RATE: u64 = 8 * 1024;
/// Time that a handler has in any case. Whatever it waits for has limits of its own.
const HANDLER_ALLOWANCE: Duration = Duration::from_secs(90);
/// Time by which the web server's own timers come first: they answer before they close.
const SLACK: Duration = Duration::from_secs(2);

/// Time limits of the states of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, from its first byte; of a new connection, from its beginning.
    pub head: Duration,
    /// For the body of a request to come. A response that the client does not take has as long, and a second more for
    /// each 8 KiB that it has taken since.
    pub body: Duration,
    /// For a connection between two requests.
    pub keep_alive: Duration,
}

/// The state that a connection is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// A handler works.
    Handling,
    /// Nothing to do since the last response.
    Idle,
    /// No request has come yet.
    New,
    /// Something has come that is no whole request yet, or what was left of the last request's body.
    Reading,
    /// The client does not take the response as fast as it could be sent.
    Writing,
}

/// One connection of a client.
#[derive(Debug)]
pub(in crate::http) struct Connection {
    opened: Instant,
    noted: Noted,
    close: Mutex<Option<oneshot::Sender<()>>>,
}

/// Notes of the socket and of the handlers. Times are milliseconds since the connection was opened; 0 means never.
#[derive(Debug, Default)]
struct Noted {
    active: AtomicU64,
    handling: AtomicU64,
    reading: AtomicU64,
    blocked: AtomicU64,
    /// Bytes that were written since then.
    written: AtomicU64,
    body_read: AtomicBool,
    served: AtomicBool,
    closing: AtomicBool,
}

/// A request that is being handled. Dropping it ends that.
pub(in crate::http) struct Handling<'a>(&'a Connection);

impl Connection {
    /// A connection that was opened just now. `close` is answered when it has to be closed.
    pub(super) fn new(close: oneshot::Sender<()>) -> Self {
        Self { opened: Instant::now(), noted: Noted::default(), close: Mutex::new(Some(close)) }
    }

    /// Notes that a handler works, until the guard is dropped.
    pub(in crate::http) fn handle(&self) -> Handling<'_> {
        self.noted.reading.store(0, Relaxed);
        self.noted.body_read.store(false, Relaxed);
        self.noted.handling.store(self.now(), Relaxed);
        self.noted.served.store(true, Relaxed);
        Handling(self)
    }

    /// Notes that a handler has read the body of its request to the end.
    pub(in crate::http) fn note_body_read(&self) {
        self.noted.body_read.store(true, Relaxed);
    }

    /// Whether a handler has read the body of the last request to the end.
    pub(in crate::http) fn is_body_read(&self) -> bool {
        self.noted.body_read.load(Relaxed)
    }

    /// Closes the connection, wherever it is.
    pub(super) fn close(&self) {
        self.noted.closing.store(true, Relaxed);
        if let Some(close) = self.close.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = close.send(());
        }
    }

    pub(super) fn note_read(&self) {
        let now = self.now();
        self.noted.active.store(now, Relaxed);
        if self.noted.handling.load(Relaxed) == 0 && self.noted.reading.load(Relaxed) == 0 {
            self.noted.reading.store(now, Relaxed);
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

    /// The moment at which the present state has lasted too long.
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

    /// The order in which connections make room for others: those that never sent a request first, then those that have
    /// been idle for longest. `None` while a request is read, handled or answered, and when it is being closed already.
    pub(super) fn rank(&self) -> Option<(bool, Instant)> {
        if self.noted.closing.load(Relaxed) {
            return None;
        }
        let active = self.opened + Duration::from_millis(self.noted.active.load(Relaxed));
        match self.state() {
            State::New => Some((false, self.opened)),
            State::Reading if !self.noted.served.load(Relaxed) => Some((false, self.opened)),
            State::Idle => Some((true, active)),
            State::Handling | State::Reading | State::Writing => None,
        }
    }

    /// Never 0, so that 0 can mean never.
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        let Self(connection) = self;
        connection.noted.handling.store(0, Relaxed);
        connection.noted.active.store(connection.now(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { head: Duration::from_secs(5), body: Duration::from_secs(10), keep_alive: Duration::from_secs(75) };

    fn connection() -> Connection {
        Connection::new(oneshot::channel().0)
    }

    fn left(connection: &Connection) -> u64 {
        connection.deadline(&LIMITS).duration_since(connection.opened).as_secs()
    }

    #[test]
    fn every_state_has_a_time_limit() {
        let connection = connection();
        assert_eq!((connection.state(), left(&connection)), (State::New, 7));
        connection.note_read();
        assert_eq!((connection.state(), left(&connection)), (State::Reading, 7));
        let handling = connection.handle();
        connection.note_read();
        assert_eq!((connection.state(), left(&connection)), (State::Handling, 100));
        drop(handling);
        assert_eq!((connection.state(), left(&connection)), (State::Idle, 77));
        connection.note_blocked();
        assert_eq!((connection.state(), left(&connection)), (State::Writing, 10));
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
    fn taken_bytes_prolong_a_response_by_the_least_rate() {
        let connection = connection();
        connection.note_written(1_000_000);
        connection.note_blocked();
        assert_eq!(left(&connection), 10, "bytes that were taken at once do not count");
        connection.note_written(16 * 1024);
        connection.note_blocked();
        assert_eq!(left(&connection), 12);
        connection.note_flushed();
        assert_ne!(connection.state(), State::Writing);
    }

    #[test]
    fn connections_without_a_request_make_room_first_and_busy_ones_never() {
        let (fresh, idle) = (connection(), connection());
        drop(idle.handle());
        assert!(fresh.rank() < idle.rank() && fresh.rank().is_some());
        let handling = idle.handle();
        assert_eq!(idle.rank(), None);
        drop(handling);
        idle.note_read();
        assert_eq!(idle.rank(), None);
    }
}
