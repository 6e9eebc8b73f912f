use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Vec<Entry> {
    entries(text.as_bytes(), |name| name.starts_with("OWN"))
}

fn setting(number: usize, name: &str, value: Result<Value, Problem>) -> Entry {
    Entry::Setting {
        number,
        name: name.to_owned(),
        value,
    }
}

fn plain(text: &str) -> Value {
    Value::Plain(text.to_owned())
}

fn quoted(text: &str) -> Value {
    Value::Quoted(text.to_owned())
}

#[test]
fn value_that_programs_read_alike_is_accepted() {
    for (raw, value) in [
        ("1", plain("1")),
        ("  1  ", plain("1")),
        ("1 # a comment", plain("1")),
        ("a#b", plain("a#b")),
        ("# a comment", plain("")),
        ("", plain("")),
        ("two words", plain("two words")),
        ("'a $b \\ \"'", quoted("'a $b \\ \"'")),
        ("\"a \\$b\" # a comment", quoted("\"a \\$b\"")),
        ("'first\nsecond'", quoted("'first\nsecond'")),
    ] {
        assert_eq!(
            read(&format!("OWN={raw}\n")),
            [setting(1, "OWN", Ok(value))],
            "{raw}"
        );
    }
}

#[test]
fn value_that_programs_read_differently_is_a_problem() {
    for (raw, problem) in [
        ("pa$word", Problem::Dollar),
        ("${OTHER}", Problem::Dollar),
        ("\"pa$word\"", Problem::Dollar),
        ("\"a\\\\$b\"", Problem::Dollar),
        ("it's", Problem::Special),
        ("a\"b\"c", Problem::Special),
        ("C:\\temp", Problem::Special),
        ("`id`", Problem::Special),
        ("'a'b", Problem::AfterQuote),
        ("'a' 'b'", Problem::AfterQuote),
        ("'a", Problem::Unclosed),
        ("'a\nOTHER='b'", Problem::Unclosed),
        ("a\0b", Problem::Nul),
    ] {
        assert_eq!(
            read(&format!("OWN={raw}\n"))[0],
            setting(1, "OWN", Err(problem)),
            "{raw:?}"
        );
    }
    assert_eq!(read("\nOWN\n"), [setting(2, "OWN", Err(Problem::NoEquals))]);
    assert_eq!(
        read("OWN: 1\n"),
        [setting(1, "OWN", Err(Problem::NoEquals))]
    );
    assert_eq!(read("export OWN\n"), []);
    let entry = entries(b"OWN=\xff\n", |name| name == "OWN");
    assert_eq!(entry, [setting(1, "OWN", Err(Problem::NotText))]);
}

#[test]
fn foreign_lines_are_skipped_with_their_quoted_values() {
    let foreign = |name: &str| Entry::Foreign(name.to_owned());
    let one = || setting(2, "OWN", Ok(plain("1")));
    for line in [
        "FROM=My App <a@b.c>",
        "X=it's",
        "P=C:\\temp",
        "X='unclosed",
        "X=\"a\" b",
        "X=$Y",
        "export X=1",
    ] {
        let name = if line.starts_with("FROM") {
            "FROM"
        } else {
            &line[line.find('=').unwrap() - 1..][..1]
        };
        assert_eq!(
            read(&format!("{line}\nOWN=1\n")),
            [foreign(name), one()],
            "{line}"
        );
    }
    for line in [
        "no equals sign",
        "Zm9v==",
        "MIIE=",
        "-----BEGIN KEY-----",
        "= 1",
        "a b=1",
        "# OWN=2",
    ] {
        assert_eq!(read(&format!("{line}\nOWN=1\n")), [one()], "{line}");
    }
    let text = "KEY=\"-----BEGIN KEY-----\nOWN=2\n-----END KEY-----\"\nOWN=1\n";
    assert_eq!(
        read(text),
        [
            foreign("KEY"),
            Entry::Hidden(2, "OWN".to_owned()),
            setting(4, "OWN", Ok(plain("1")))
        ]
    );
    let text = "X='never closed\nOWN=1\nY='a'\n";
    assert_eq!(
        read(text),
        [
            foreign("X"),
            setting(2, "OWN", Ok(plain("1"))),
            foreign("Y")
        ]
    );
}

#[test]
fn line_ends_of_all_systems_are_accepted() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["X=1", "export OWN=1", "OWN2='a", "b'", ""].join(end);
        let expected = [
            Entry::Foreign("X".to_owned()),
            setting(2, "OWN", Ok(plain("1"))),
            setting(3, "OWN2", Ok(quoted("'a\nb'"))),
        ];
        assert_eq!(read(&text), expected, "{end:?}");
    }
}

proptest! {
    #[test]
    fn setting_after_any_lines_without_quotes_is_found(lines in "[^'\"]{0,80}") {
        let entries = read(&format!("{lines}\nOWN=last\n"));
        let last = matches!(entries.last(), Some(Entry::Setting { value, .. }) if *value == Ok(plain("last")));
        prop_assert!(last);
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = entries(&bytes, |name| name.len() < 3);
    }
}
