//! Prints to standard output and standard error; no other module does. Characters that would move the cursor, or hide
//! or reorder other text, are escaped.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::domain::visible;

/// The longest time that a stalled reader delays a server.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints on a separate thread, and returns after [`PATIENCE`] at the latest: writing to a full pipe that is not read
/// blocks forever.
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

/// A multi-line text on standard output, such as a key in PEM.
pub(super) fn lines(text: &str) {
    print(io::stdout(), &[&visible::lines(text)]);
}

/// A generated file on standard output: a completion script or a reference.
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

/// Prints help, the version or an argument error, as rendered by clap. An error repeats the arguments, and help shows
/// values from the environment.
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

/// Prints a line. A closed pipe (`latchkey config | head -1`) is not an error.
fn print(mut stream: impl io::Write, parts: &[&str]) {
    let _ = writeln!(stream, "{}", parts.concat());
}
