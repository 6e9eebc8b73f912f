//! Updates the result tables of docs/reliability.md.

use std::fs;

use latchkey_testkit::repository;

/// Replaces the text between the two markers of a table. The first marker names the script.
pub fn publish(marker: &str, script: &str, table: &str) {
    let path = repository().join("docs/reliability.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- {marker}: written by {script} -->\n"),
        format!("<!-- end of {marker} -->"),
    );
    let (before, rest) = text
        .split_once(&begin)
        .expect("docs/reliability.md has the marker");
    let (_, after) = rest
        .split_once(&end)
        .expect("docs/reliability.md has the second marker");
    fs::write(&path, format!("{before}{begin}\n{table}\n{end}{after}")).unwrap();
}
