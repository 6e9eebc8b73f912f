//! Log on standard error: text for people, or JSON lines for machines.
//!
//! A line holds no token, password, key or body: their types cannot be printed, and handlers do not
//! log them. A thread writes the lines from a bounded queue, so a stalled reader of the log does
//! not delay requests. If the queue is full, the line is dropped and counted.

use std::{
    collections::HashMap,
    fmt::Debug,
    io::{self, IsTerminal as _, Write},
    panic::PanicHookInfo,
    sync::{LazyLock, OnceLock, PoisonError, RwLock},
    thread,
};

use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier, field::Field};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    field::MakeExt as _,
    filter::LevelFilter,
    fmt::{
        self, MakeWriter,
        format::{Writer, debug_fn},
        writer::MakeWriterExt as _,
    },
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::config::{ConfigError, LogConfig, log::LogFormat};
use latchkey_domain::visible;
use latchkey_service::sampled::{Sampled, count_suppressed};

/// Capacity of the queue of lines below warnings.
const LINE_CAPACITY: usize = 8192;

/// Capacity of the queue of warnings, errors and panics. It is separate, so that a flood of other
/// lines does not displace them.
const WARNING_CAPACITY: usize = 1024;

/// Maximum number of places of panics that are sampled separately.
const MAX_PANIC_PLACES: usize = 64;

static QUEUES: OnceLock<[ErrorCounter; 2]> = OnceLock::new();

/// Threads that write the log. Dropping it writes the queued lines, within about a second for each
/// thread.
#[must_use]
pub struct Log {
    _threads: [WorkerGuard; 2],
}

/// Starts the log of this process. A second call has no effect.
///
/// # Errors
/// If the filter is invalid.
pub fn start(config: &LogConfig) -> Result<Log, ConfigError> {
    let filter = filter(&config.filter).ok_or_else(|| {
        let wrong = format!("is {:?}, which is not a valid filter", config.filter);
        ConfigError::new(
            "LATCHKEY_LOG",
            &wrong,
            "a level such as info, or filters such as latchkey=debug",
        )
    })?;
    let json = match config.format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    let ((warnings, first), (lines, second)) = (queue(WARNING_CAPACITY), queue(LINE_CAPACITY));
    // An error means that the log runs already, as in tests.
    let _ = QUEUES.set([warnings.error_counter(), lines.error_counter()]);
    std::panic::set_hook(Box::new(log_panic));
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(Libraries::default())
        .with(format(json, warnings, lines))
        .try_init();
    Ok(Log {
        _threads: [first, second],
    })
}

/// Number of lines that were dropped because the reader of the log did not keep up.
#[must_use]
pub fn dropped_lines() -> u64 {
    QUEUES.get().map_or(0, |queues| {
        queues
            .iter()
            .map(|queue| queue.dropped_lines() as u64)
            .sum()
    })
}

fn queue(capacity: usize) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(capacity)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr())
}

fn format<S>(
    json: bool,
    warnings: NonBlocking,
    lines: NonBlocking,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let writer = warnings.with_max_level(Level::WARN).or_else(lines);
    let layer = fmt::layer().with_target(false);
    if json {
        return layer
            .json()
            .flatten_event(true)
            .with_writer(MakeVisibleJson(writer))
            .boxed();
    }
    let fields = debug_fn(field).delimited(" ");
    layer
        .fmt_fields(fields)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(writer)
        .boxed()
}

/// Logs place and thread of a panic, at most once a second for each place. The message may hold a
/// secret, so it is omitted. The consequence depends on the caller: a request is a 500, a
/// background task is started again, and a command fails.
fn log_panic(panic: &PanicHookInfo<'_>) {
    static SEEN: LazyLock<RwLock<HashMap<String, Sampled>>> = LazyLock::new(RwLock::default);
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut seen = SEEN.write().unwrap_or_else(PoisonError::into_inner);
    if seen.len() >= MAX_PANIC_PLACES && !seen.contains_key(&place) {
        seen.clear();
    }
    let due = seen.entry(place.clone()).or_default().due();
    drop(seen);
    if let Some(suppressed) = due {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(place, thread, suppressed, "panic");
    }
}

/// Writes one field of an event as text. Control characters in a value are escaped, so that only
/// the formatter sets colours.
fn field(out: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    let value = visible::line(&value);
    if field.name() == "message" {
        write!(out, "{value}")
    } else {
        write!(out, "{}={value}", field.name())
    }
}

/// Wraps each writer of `M` in a [`VisibleJson`].
struct MakeVisibleJson<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for MakeVisibleJson<M> {
    type Writer = VisibleJson<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        VisibleJson(self.0.make_writer())
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        VisibleJson(self.0.make_writer_for(metadata))
    }
}

/// Writer of JSON lines that escapes control and invisible characters. Each call of `write` passes
/// a whole line.
struct VisibleJson<W>(W);

impl<W: Write> Write for VisibleJson<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => self.0.write_all(visible::json(text).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Parses a filter. tracing reads a single word as the name of a module, so a misspelt level would
/// silence the log; it is refused here.
fn filter(text: &str) -> Option<EnvFilter> {
    let plain = |word: &&str| !word.contains(['=', '[']);
    let levels = text
        .split(',')
        .map(str::trim)
        .filter(plain)
        .all(|word| word.parse::<LevelFilter>().is_ok());
    // The web server logs its threads; actix_server=info shows these lines.
    EnvFilter::try_new(format!("actix_server=warn,{text}"))
        .ok()
        .filter(|_| levels)
}

/// Limits the lines of libraries to one a second for each place in the code. Clients can cause
/// most of them.
#[derive(Default)]
struct Libraries(RwLock<HashMap<Identifier, Sampled>>);

impl Libraries {
    fn is_due(&self, place: Identifier) -> bool {
        if let Some(lines) = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&place)
        {
            return lines.due().is_some();
        }
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(place)
            .or_default()
            .due()
            .is_some()
    }
}

impl<S: Subscriber> Layer<S> for Libraries {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if metadata.target().starts_with("latchkey") || *metadata.level() > Level::INFO {
            return true;
        }
        // The HTTP library logs bytes that are not HTTP as an error. Clients cause it, so it is
        // logged only at debug.
        if metadata.target().starts_with("actix_http")
            && LevelFilter::current() < LevelFilter::DEBUG
        {
            count_suppressed();
            return false;
        }
        self.is_due(metadata.callsite())
    }
}

#[cfg(test)]
mod tests;
