//! docs/reliability.md, which holds what whole runs came to.

use std::{fs, path::Path};

/// Puts a table between its two markers in the document. The first names the script that writes it.
pub fn publish(marker: &str, script: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
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
