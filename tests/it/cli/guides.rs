//! Commands in the guides exist, with all their options.

use std::{collections::BTreeSet, fs};

use regex::Regex;

use latchkey_testkit::Place;

/// Returns every `latchkey …` in code of README.md, SECURITY.md and docs/, with the name of the
/// file.
fn shown() -> BTreeSet<(String, String)> {
    let root = env!("CARGO_MANIFEST_DIR");
    let pages = ["docs", "docs/guides", "docs/concepts", "docs/reference"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(format!("{root}/{folder}")).unwrap())
        .map(|entry| entry.unwrap().path());
    let files =
        pages.chain(["README.md", "SECURITY.md"].map(|name| format!("{root}/{name}").into()));
    let inline = Regex::new(r"`(?:[A-Z_]+=\S+ )*latchkey ([^`]+)`").unwrap();
    let line =
        Regex::new(r"(?m)^(?:[A-Z_]+=\S+ )*(?:latchkey|docker compose exec (?:-T )?latchkey /latchkey) ([^#\n]+)")
            .unwrap();
    let mut shown = BTreeSet::new();
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&file).unwrap();
        let commands = inline.captures_iter(&text).chain(line.captures_iter(&text));
        shown.extend(commands.map(|found| {
            let words: Vec<_> = found[1].split_whitespace().collect();
            (
                words.join(" "),
                file.file_name().unwrap().to_string_lossy().into_owned(),
            )
        }));
    }
    shown
}

#[test]
fn command_in_a_guide_exists_with_its_options() {
    let (place, shown) = (Place::new(), shown());
    assert!(shown.len() > 40, "{shown:#?}");
    let word = Regex::new(r"^[a-z][a-z-]*$").unwrap();
    for (command, file) in shown {
        let words: Vec<&str> = command
            .split(' ')
            .take_while(|it| word.is_match(it))
            .collect();
        let help = place.run(&format!("{} --help", words.join(" ")));
        assert_eq!(
            help.code,
            Some(0),
            "{file}: latchkey {command}: {}",
            help.err
        );
        for option in command.split(' ').filter(|it| it.starts_with("--")) {
            let name = option.split('=').next().unwrap();
            assert!(
                help.out.contains(name),
                "{file}: latchkey {command}: {name} is not an option"
            );
        }
    }
}
