//! State of a connection, and its deadline.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// Minimum rate, in bytes per second, at which a client must read a response after
/// [`Limits::body`].
const MIN_WRITE_RATE: u64 = 8 * 1024;
/// Timeout of a handler, in addition to [`Limits::body`]. Each operation in a handler has a shorter
/// timeout.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(90);
/// Margin for the web server's own timers, which send a response before they close the connection.
const SLACK: Duration = Duration::from_secs(2);

/// Timeouts of the states of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, from its first byte, or from the start of a new connection.
    pub head: Duration,
    /// For receiving the body of a request. A response that waits for the client has the same
    /// limit, plus one second for each 8 KiB that the client reads.
    pub body: Duration,
    /// For an idle connection between two requests.
    pub keep_alive: Duration,
}

/// State of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// A handler is running.
    Handling,
    /// Idle since the last response.
    Idle,
    /// No byte of a request was received yet.
    New,
    /// Part of a request, or the rest of the last request's body, was received.
    Reading,
    /// The response waits for the client: the send buffer is full.
    Writing,
}

/// One connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    opened: Instant,
    noted: Activity,
    close: Mutex<Option<oneshot::Sender<()>>>,
    /// Task that reads again once the connection is no longer busy.
    reader: Mutex<Option<Waker>>,
}

/// Records of the socket and of the handlers. Times are milliseconds since the connection was
/// opened, and 0 means never.
#[derive(Debug, Default)]
struct Activity {
    active: AtomicU64,
    handling: AtomicU64,
    reading: AtomicU64,
    blocked: AtomicU64,
    /// Bytes written since `blocked`.
    written: AtomicU64,
    body_wanted: AtomicBool,
    body_read: AtomicBool,
    served: AtomicBool,
    closing: AtomicBool,
    /// True if a request has begun since the last call of [`Connection::take_began`].
    began: AtomicBool,
    /// True if a task waits in `reader`.
    awaited: AtomicBool,
}

/// Guard of a running handler.
pub(crate) struct Handling<'a>(&'a Connection);

impl Connection {
    /// Creates a connection. [`Self::close`] sends a message to `close`.
    pub(super) fn new(close: oneshot::Sender<()>) -> Self {
        Self {
            opened: Instant::now(),
            noted: Activity::default(),
            close: Mutex::new(Some(close)),
            reader: Mutex::default(),
        }
    }

    /// Records a running handler until the guard is dropped.
    pub(crate) fn handle(&self) -> Handling<'_> {
        // Reading and handling usually follow each other at once, so one reading of the clock is
        // enough.
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

    /// Records that a handler waits for the body of its request.
    pub(crate) fn note_body_wanted(&self) {
        self.noted.body_wanted.store(true, Relaxed);
        self.wake();
    }

    /// Records that a handler has read the body of its request to the end.
    pub(crate) fn note_body_read(&self) {
        self.noted.body_wanted.store(false, Relaxed);
        self.noted.body_read.store(true, Relaxed);
    }

    /// Returns true if a handler has read the body of the last request to the end.
    pub(crate) fn is_body_read(&self) -> bool {
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

    /// Returns true if nothing may be read: a handler runs and needs no body, or a response waits
    /// for the client.
    pub(super) fn is_busy(&self) -> bool {
        match self.state() {
            State::Handling => !self.wants_body(),
            State::Writing => true,
            State::Idle | State::New | State::Reading => false,
        }
    }

    /// Returns true if a handler waits for the body of its request.
    pub(super) fn wants_body(&self) -> bool {
        self.noted.body_wanted.load(Relaxed)
    }

    /// Returns true if a request has begun since the last call.
    pub(super) fn take_began(&self) -> bool {
        self.noted.began.swap(false, Relaxed)
    }

    /// Registers a task that is woken once the connection is no longer busy.
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

    /// Returns the deadline of the current state.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        let since = |time: &AtomicU64| self.opened + Duration::from_millis(time.load(Relaxed));
        match self.state() {
            State::Writing => {
                let taken = Duration::from_secs(self.noted.written.load(Relaxed) / MIN_WRITE_RATE);
                since(&self.noted.blocked) + limits.body + taken
            }
            State::Handling => since(&self.noted.handling) + limits.body + HANDLER_TIMEOUT,
            State::Reading => since(&self.noted.reading) + limits.head + SLACK,
            State::Idle => since(&self.noted.active) + limits.keep_alive + SLACK,
            State::New => self.opened + limits.head + SLACK,
        }
    }

    /// Returns the rank for eviction, lowest first: connections without a request, with an
    /// incomplete head, with an incomplete body, with an unread response. Within each class, the
    /// connection that has waited for longest comes first. Returns `None` while a handler runs, and
    /// if the connection is already closing.
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

    /// Milliseconds since the connection was opened. At least 1, because 0 means never.
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
    fn each_state_has_a_deadline() {
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
    fn more_bytes_do_not_extend_the_deadline_of_a_head() {
        let connection = connection();
        connection.note_read();
        let first = connection.deadline(&LIMITS);
        connection.note_read();
        assert_eq!(connection.deadline(&LIMITS), first);
    }

    #[test]
    fn bytes_read_by_the_client_extend_the_deadline() {
        let connection = connection();
        connection.note_written(1_000_000);
        connection.note_blocked();
        assert_eq!(
            left(&connection),
            10,
            "bytes written without blocking do not count"
        );
        connection.note_written(16 * 1024);
        connection.note_blocked();
        assert_eq!(left(&connection), 12);
        connection.note_flushed();
        assert_ne!(connection.state(), State::Writing);
    }

    #[test]
    fn connection_with_a_running_handler_is_not_evicted() {
        let connection = connection();
        let class = |connection: &Connection| connection.rank().map(|(class, _)| class);
        assert_eq!(class(&connection), Some(0), "new");
        connection.note_read();
        assert_eq!(class(&connection), Some(1), "incomplete head");
        let handling = connection.handle();
        assert_eq!(class(&connection), None, "handler runs");
        connection.note_body_wanted();
        assert_eq!(class(&connection), Some(2), "incomplete body");
        connection.note_body_read();
        assert_eq!(class(&connection), None, "handler runs again");
        drop(handling);
        assert_eq!(class(&connection), Some(0), "idle");
        connection.note_blocked();
        assert_eq!(class(&connection), Some(3), "unread response");
        connection.close();
        assert_eq!(class(&connection), None, "closing");
    }
}
