//! What is printed: the one module that may.

use std::{
    io::{self, Write as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

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

/// A line on standard output. Whoever reads it may have heard enough (`latchkey config | head -1`): that is no error.
///
/// What came from outside must not move the cursor.
pub(super) fn line(text: &str) {
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    let _ = writeln!(io::stdout(), "{text}");
}

/// A whole file on standard output.
pub(super) fn bytes(bytes: &[u8]) {
    let _ = io::stdout().write_all(bytes);
}

/// A line on standard error, with the program's name in front.
pub(super) fn error(text: &str) {
    let text = format!("latchkey: {text}\n");
    patiently(move || {
        let _ = io::stderr().write_all(text.as_bytes());
    });
}

/// JSON for scripts, indented for people who look at it.
pub(super) fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// Columns under their headings, or a sentence when there are no rows.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>], none: &str) {
    if rows.is_empty() {
        return line(none);
    }
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end());
    }
}
