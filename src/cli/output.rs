//! Output to standard output and standard error. No other module prints. Characters that move the
//! cursor, or hide or reorder other text, are escaped.

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, Write as _},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use chrono::SecondsFormat;
use serde_json::{Value, json};

use latchkey_domain::{
    ports::{Clock as _, clock::SystemClock},
    visible,
};

/// Maximum time for which a stalled reader delays the process.
const PRINT_TIMEOUT: Duration = Duration::from_secs(3);

/// True if standard error is a log in JSON. Each of its lines is then an event.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Sets the format of output before the log starts and after it ends: that of the log, from
/// `--log-format` in the arguments or `LATCHKEY_LOG_FORMAT`.
pub(super) fn choose_form(arguments: &[OsString]) {
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy());
    let set = std::env::var_os("LATCHKEY_LOG_FORMAT");
    let mut format = set
        .and_then(|format| format.into_string().ok())
        .unwrap_or_default();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some(("--log-format", value)) => value.clone_into(&mut format),
            None if word == "--log-format" => {
                format = words.next().unwrap_or_default().into_owned();
            }
            _ => {}
        }
    }
    let is_json = format == "json";
    if is_json && !IS_JSON.swap(is_json, Ordering::Relaxed) {
        // The log replaces this hook when it starts.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map(ToString::to_string)
                .unwrap_or_default();
            print(
                io::stderr(),
                &[&event(
                    "ERROR",
                    json!({ "message": "a panic", "place": place }),
                )],
            );
        }));
    }
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// True if standard error is a log in JSON.
pub(super) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Returns an event in the format of the log.
fn event(level: &str, fields: Value) -> String {
    let now = SystemClock
        .now()
        .to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut event = json!({ "timestamp": now, "level": level });
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    visible::json(&event.to_string()).into_owned()
}

/// Prints an event to standard output.
pub(super) fn event_line(fields: Value) {
    print(io::stdout(), &[&event("INFO", fields)]);
}

/// Prints on a separate thread, and returns after at most [`PRINT_TIMEOUT`], because a write to a
/// full pipe without a reader blocks forever.
pub(super) fn with_retries(print: impl FnOnce() + Send + 'static) {
    let (done, printed) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            print();
            let _ = done.send(());
        });
    if thread.is_ok() {
        let _ = printed.recv_timeout(PRINT_TIMEOUT);
    }
}

/// Prints a line to standard output.
pub(super) fn line(text: &str) {
    print(io::stdout(), &[&visible::line(text)]);
}

/// Prints a text of several lines to standard output, such as a key in PEM.
pub(super) fn lines(text: &str) {
    print(io::stdout(), &[&visible::lines(text)]);
}

/// Prints a generated file to standard output, such as a completion script.
pub(super) fn bytes(bytes: &[u8]) {
    let _ = io::stdout().write_all(bytes);
}

/// Prints an error to standard error, with the name of the program in front.
pub(super) fn error(text: &str) {
    say("ERROR", text);
}

/// Prints a warning to standard error, as [`error`].
pub(super) fn warning(text: &str) {
    say("WARN", text);
}

/// Prints other information to standard error, as [`error`].
pub(super) fn notice(text: &str) {
    say("INFO", text);
}

fn say(level: &str, text: &str) {
    let line = if is_json() {
        event(level, json!({ "message": text }))
    } else {
        format!("latchkey: {}", visible::line(text))
    };
    with_retries(move || print(io::stderr(), &[&line]));
}

/// Prints the progress of a long command to standard error. Standard output is for the result.
pub(super) fn progress(text: &str) {
    let line = if is_json() {
        event("INFO", json!({ "message": text }))
    } else {
        visible::line(text).into_owned()
    };
    print(io::stderr(), &[&line]);
}

/// Prints help, the version or an argument error of clap. It is escaped, because an error repeats
/// arguments, and help shows values from the environment.
pub(super) fn usage(error: &clap::Error) {
    let text = error.render().to_string();
    let text = text.trim_end_matches('\n');
    if error.use_stderr() && is_json() {
        return say("ERROR", text.strip_prefix("error: ").unwrap_or(text));
    }
    let text = visible::lines(text);
    if error.use_stderr() {
        print(io::stderr(), &[&text]);
    } else {
        print(io::stdout(), &[&text]);
    }
}

/// Prints indented JSON to standard output.
pub(super) fn json(value: &Value) {
    print(io::stdout(), &[&visible::json(&format!("{value:#}"))]);
}

/// Prints JSON in one line to standard output.
pub(super) fn json_line(value: &Value) {
    print(io::stdout(), &[&visible::json(&value.to_string())]);
}

/// Prints columns under their headings, or the sentence `none` if there are no rows.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>], none: &str) {
    if rows.is_empty() {
        return line(none);
    }
    let headings: Vec<Cow<'_, str>> = headings
        .iter()
        .map(|heading| Cow::Borrowed(*heading))
        .collect();
    let rows = rows
        .iter()
        .map(|row| row.iter().map(|cell| visible::line(cell)).collect());
    let rows: Vec<Vec<Cow<'_, str>>> = std::iter::once(headings.clone()).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line(cells.join("  ").trim_end());
    }
}

/// Prints a line. A closed pipe (`latchkey config | head -1`) is not an error.
fn print(mut stream: impl io::Write, parts: &[&str]) {
    let _ = writeln!(stream, "{}", parts.concat());
}
