//! `latchkey reference`: the pages in `docs/reference` match the program.

use std::fs;

use latchkey_testkit::Place;

#[test]
fn reference_pages_match_the_program() {
    for (page, file) in [
        ("settings", "settings.md"),
        ("commands", "cli.md"),
        ("man", "latchkey.1"),
    ] {
        let expected = Place::new()
            .run(&format!("reference {page}"))
            .done()
            .to_owned();
        let stored = fs::read_to_string(format!(
            "{}/docs/reference/{file}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap();
        assert!(
            expected == stored,
            "docs/reference/{file} is stale: latchkey reference {page} > docs/reference/{file}"
        );
    }
}
