//! Everything that is printed, on both streams: the one module that may. Whatever a text holds, it does not move the cursor, hide or turn
//! what stands beside it.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::domain::visible;

/// How long a reader that stands still may hold up a server.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints on a thread of its own and goes on when that takes too long: a pipe that is full and not read would block for
/// ever.
pub(super) fn patiently(print: impl FnOnce() + Send + 'static) {
    let (done, printed) = mpsc::channel();
    let thread = thread::Builder::new().name("output".to_owned()).spawn(move || {
        print();
        let _ = done.send(());
    });
    if thread.is_ok() {
        let _ = printed.recv_timeout(PATIENCE);
    }
}

/// A line on standard output.
pub(super) fn line(text: &str) {
    print(io::stdout(), &[&visible::line(text)]);
}

/// A text of several lines on standard output, such as a key in PEM.
pub(super) fn lines(text: &str) {
    print(io::stdout(), &[&visible::lines(text)]);
}

/// A whole file of ours on standard output: a completion script, a reference.
pub(super) fn bytes(bytes: &[u8]) {
    let _ = io::stdout().write_all(bytes);
}

/// A line on standard error, with the program's name in front.
pub(super) fn error(text: &str) {
    let text = visible::line(text).into_owned();
    patiently(move || print(io::stderr(), &["latchkey: ", &text]));
}

/// The progress of a long command, on standard error: standard output is for the result.
pub(super) fn progress(text: &str) {
    print(io::stderr(), &[&visible::line(text)]);
}

/// Help, a version, or an error of the arguments, as clap writes it. An error repeats what it was given, and help shows values from the
/// environment.
pub(super) fn usage(error: &clap::Error) {
    let text = error.render().to_string();
    let text = visible::lines(text.trim_end_matches('\n'));
    if error.use_stderr() { print(io::stderr(), &[&text]) } else { print(io::stdout(), &[&text]) }
}

/// JSON for scripts, indented for people who look at it.
pub(super) fn json(value: &Value) {
    print(io::stdout(), &[&visible::json(&format!("{value:#}"))]);
}

/// A JSON text in one line.
pub(super) fn json_line(value: &Value) {
    print(io::stdout(), &[&visible::json(&value.to_string())]);
}

/// Columns under their headings, or a sentence when there are no rows.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>], none: &str) {
    if rows.is_empty() {
        return line(none);
    }
    let headings: Vec<Cow<'_, str>> = headings.iter().map(|heading| Cow::Borrowed(*heading)).collect();
    let rows = rows.iter().map(|row| row.iter().map(|cell| visible::line(cell)).collect());
    let rows: Vec<Vec<Cow<'_, str>>> = std::iter::once(headings.clone()).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end());
    }
}

/// The reader may have gone (`latchkey config | head -1`): that is no error.
fn print(mut stream: impl io::Write, parts: &[&str]) {
    let _ = writeln!(stream, "{}", parts.concat());
}
