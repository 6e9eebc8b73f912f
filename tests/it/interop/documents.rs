//! The code in the guides equals the code that the tests run.

use std::{fs, path::Path};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the code blocks of a document in this language, in order.
pub fn blocks(document: &str, language: &str) -> Vec<String> {
    let document = file(document);
    let fence = format!("\n```{language}\n");
    document
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// Replaces the only occurrence of `from` with `to`.
pub fn with(text: &str, from: &str, to: &str) -> String {
    assert_eq!(
        text.matches(from).count(),
        1,
        "{from:?} does not occur exactly once: {text}"
    );
    text.replace(from, to)
}

#[test]
fn programs_of_the_offline_guide_equal_the_tested_ones() {
    for (language, program) in [
        ("python", "tests/interop/verify.py"),
        ("js", "tests/interop/verify.mjs"),
        ("rust", "crates/latchkey-verifier/examples/verify.rs"),
    ] {
        assert_eq!(
            blocks("docs/guides/verify-offline.md", language),
            [file(program)],
            "{program}"
        );
    }
}
