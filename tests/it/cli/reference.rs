//! `latchkey reference`: the pages in `docs` are what the program says of itself.

use std::fs;

use crate::support::Place;

#[test]
fn the_pages_are_what_the_program_says() {
    for (page, file) in [
        ("settings", "settings.md"),
        ("commands", "cli.md"),
        ("man", "latchkey.1"),
    ] {
        let said = Place::new()
            .run(&format!("reference {page}"))
            .done()
            .to_owned();
        let kept = fs::read_to_string(format!(
            "{}/docs/reference/{file}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap();
        assert!(
            said == kept,
            "docs/reference/{file} is stale: latchkey reference {page} > docs/reference/{file}"
        );
    }
}
