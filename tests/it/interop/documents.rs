//! What the guides show is what the tests run.

use std::{fs, path::Path};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of code in this language that a document shows, in their order.
pub fn blocks(document: &str, language: &str) -> Vec<String> {
    let document = file(document);
    let fence = format!("\n```{language}\n");
    document
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// The text with the one place where it says `from` saying `to`.
pub fn with(text: &str, from: &str, to: &str) -> String {
    assert_eq!(
        text.matches(from).count(),
        1,
        "{from:?} is not there once: {text}"
    );
    text.replace(from, to)
}

#[test]
fn the_programs_of_the_offline_guide_are_those_that_the_tests_run() {
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
