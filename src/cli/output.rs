//! What is printed: the one module that may.

use std::io::{self, Write as _};

use serde_json::Value;

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
    let _ = writeln!(io::stderr(), "latchkey: {text}");
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
