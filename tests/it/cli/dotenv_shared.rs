//! `.env` file and environment that Latchkey shares with Compose and other programs.

use std::{collections::BTreeSet, fs};

use clap::{Args as _, Command};
use latchkey::config::{Config, environment};
use regex::Regex;

use latchkey_testkit::{Place, servers::eventually};

const NOTICE: &str = "settings from .env: LATCHKEY_AUDIENCE";

fn settings() -> Command {
    Config::augment_args(Command::new("serve"))
}

/// Returns the line of `config` about the audience, and its standard error.
fn audience(dotenv: impl AsRef<[u8]>) -> (String, String) {
    let place = Place::new();
    place.write_bytes(".env", dotenv.as_ref());
    let outcome = place.run("config");
    let line = outcome
        .out
        .lines()
        .find(|line| line.contains("LATCHKEY_AUDIENCE"))
        .unwrap_or_default();
    (line.to_owned(), outcome.err)
}

#[test]
fn variables_of_compose_and_of_the_guides_are_known() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let mut names = BTreeSet::new();
    let compose = fs::read_to_string(format!("{root}docker-compose.yml")).unwrap();
    let used = Regex::new(r"(?:[^$]|^)\$\{(\w+)").unwrap();
    names.extend(
        used.captures_iter(&compose)
            .map(|found| found[1].to_owned()),
    );
    assert!(
        names.contains("LATCHKEY_PORT") && names.len() >= 3,
        "{names:?}"
    );
    let named = Regex::new(r"\bLATCHKEY_[A-Z0-9_]*[A-Z0-9]\b").unwrap();
    let guides = fs::read_dir(format!("{root}docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let pages = guides.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for page in pages.chain(
        ["README.md", ".env.example", "docker-compose.yml"]
            .map(|name| (root.to_owned() + name).into()),
    ) {
        let text = fs::read_to_string(page).unwrap();
        names.extend(
            named
                .find_iter(&text)
                .map(|found| found.as_str().to_owned()),
        );
    }
    let mut known = environment::names(&settings());
    // It is a setting of commands, but not of the server.
    known.push("LATCHKEY_OPERATOR".to_owned());
    for name in names {
        let of_latchkey = known.contains(&name) || environment::of_compose(&name).is_some();
        assert!(
            of_latchkey,
            "{name} is in docker-compose.yml or in a guide, but not a setting"
        );
    }
}

#[tokio::test]
async fn port_of_compose_is_neither_a_setting_nor_an_error() {
    for port in ["8001", "8000-8002"] {
        let line = format!("LATCHKEY_PORT={port}\n");
        let place = Place::new();
        place.write(".env", &line);
        for command in ["config", "keys list"] {
            place.run(command).done();
        }
        let log = place.serve("").log();
        assert!(
            log.contains("only docker-compose.yml uses it") && log.contains("LATCHKEY_BIND"),
            "{log}"
        );
        Place::new()
            .with("LATCHKEY_PORT", port)
            .run("config")
            .done();
    }
}

#[test]
fn line_of_another_program_does_not_stop_the_start() {
    for line in [
        &b"FROM=My App <a@b.c>"[..],
        b"X=it's",
        b"P=C:\\temp",
        b"export X=1",
        b"no equals sign",
        b"KEY: yaml",
        b"X='never closed",
        b"X=\"a\" b",
        b"X=${MISSING:?must be set}",
        b"X=\xff\xfe",
        b"\xff\xfe\x00",
        b"KEY=\"-----BEGIN KEY-----\nMIIE=\n-----END KEY-----\"",
        b"=",
        b"1X=2",
        b"X=a\0b",
    ] {
        for end in ["\n", "\r\n"] {
            let text = [
                line,
                end.as_bytes(),
                b"LATCHKEY_AUDIENCE=mine",
                end.as_bytes(),
            ]
            .concat();
            let (found, err) = audience(&text);
            assert_eq!(
                found,
                "LATCHKEY_AUDIENCE=mine  # .env",
                "{}: {err}",
                line.escape_ascii()
            );
            assert!(err.contains(NOTICE) && !err.contains("MIIE"), "{err}");
        }
    }
}

#[test]
fn file_of_windows_is_read() {
    for text in [
        "\u{feff}LATCHKEY_AUDIENCE=mine\r\n",
        "\u{feff}export LATCHKEY_AUDIENCE=\"mine\"\r\n",
    ] {
        assert_eq!(audience(text).0, "LATCHKEY_AUDIENCE=mine  # .env");
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(audience(units).0, "LATCHKEY_AUDIENCE=mine  # .env");
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(audience(units).0, "LATCHKEY_AUDIENCE=mine  # .env");
    }
}

#[test]
fn value_is_read_literally_or_refused_with_its_line() {
    for (raw, value) in [
        ("mine  ", "mine"),
        ("  mine", "mine"),
        ("mine # a comment", "mine"),
        ("mine#1", r#""mine#1""#),
        ("my own", r#""my own""#),
        (r"'pa$word'", r#""pa\$word""#),
        (r#""pa\$word""#, r#""pa\$word""#),
        (r#"'a "b" \c'"#, r#""a \"b\" \\c""#),
        (r#""it's""#, r#""it's""#),
        ("'mine' # a comment", "mine"),
    ] {
        assert_eq!(
            audience(format!("LATCHKEY_AUDIENCE={raw}\n")).0,
            format!("LATCHKEY_AUDIENCE={value}  # .env"),
            "{raw}"
        );
    }
    for raw in [
        "hunter$2",
        "${OTHER}",
        "\"hunter$2\"",
        "it's",
        "a\"hunter2\"",
        r"C:\temp",
        "'a'b",
        "'a",
        "\"hunter2\\t\"",
        "a\0b",
    ] {
        let (_, err) = audience(format!("# a comment\nLATCHKEY_AUDIENCE={raw}\n"));
        assert!(
            err.starts_with("latchkey: .env cannot be read at line 2: LATCHKEY_AUDIENCE "),
            "{raw}: {err}"
        );
        assert!(
            err.contains(": expected ") && !err.contains("hunter"),
            "{raw}: {err}"
        );
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let (_, err) = audience(b"LATCHKEY_AUDIENCE=a\xff\n");
    assert!(
        err.contains("line 1: LATCHKEY_AUDIENCE holds bytes that are not UTF-8"),
        "{err}"
    );
}

#[test]
fn database_url_with_a_dollar_sign_is_never_another_url() {
    let place = Place::new();
    place.write(".env", "DATABASE_URL=postgres://u:pa$word@127.0.0.1:1/x\n");
    let expected = ".env cannot be read at line 1: DATABASE_URL has a $ outside single quotes, which some programs \
                    replace: expected the value in single quotes, or \\$ in double quotes";
    assert_eq!(place.run("keys list").refused(2), expected);
    place.write(
        ".env",
        "DATABASE_URL='postgres://u:pa$word@127.0.0.1:1/x'\n",
    );
    let outcome = place.run("config");
    assert!(
        outcome
            .out
            .contains("postgres://u:***@127.0.0.1:1/x  # .env"),
        "{outcome:?}"
    );
}

#[test]
fn name_that_is_set_twice_has_the_last_value_with_a_warning() {
    let (line, err) = audience("LATCHKEY_AUDIENCE=a\n\nLATCHKEY_AUDIENCE=b\n");
    assert_eq!(line, "LATCHKEY_AUDIENCE=b  # .env");
    assert!(
        err.contains(".env sets LATCHKEY_AUDIENCE on line 1 and on line 3: the last one counts"),
        "{err}"
    );
    assert_eq!(
        audience("LATCHKEY_AUDIENCE=a\nLATCHKEY_AUDIENCE=a\n").1,
        format!("latchkey: {NOTICE}\n")
    );
}

#[test]
fn setting_inside_a_quoted_value_is_ignored_with_a_warning() {
    let (line, err) = audience("X=\"first\nLATCHKEY_AUDIENCE=inside\n\"\n");
    assert_eq!(line, "# LATCHKEY_AUDIENCE is not set");
    assert!(
        err.contains("line 2 of .env sets LATCHKEY_AUDIENCE inside the quoted value"),
        "{err}"
    );
}

#[test]
fn empty_variable_counts_as_unset() {
    let names = environment::names(&settings());
    assert!(names.len() > 40, "{names:?}");
    let plain = Place::new().run("config").done().to_owned();
    let empty = names
        .iter()
        .fold(Place::new(), |place, name| place.with(name, ""));
    assert_eq!(empty.run("config").done(), plain);
    empty.run("keys list").done();
    let lines: Vec<_> = names
        .iter()
        .map(|name| format!("{name}=\nexport {name}=''\n{name}= # a comment\n"))
        .collect();
    let place = Place::new();
    place.write(".env", &lines.concat());
    assert_eq!(place.run("config").done(), plain);
    Place::new()
        .with("LATCHKEY_MISSPELT", "")
        .run("config")
        .done();
}

#[tokio::test]
async fn empty_variable_is_logged_at_debug_and_yields_to_dotenv() {
    let place = Place::new()
        .with("REDIS_URL", "")
        .with("LATCHKEY_AUDIENCE", "")
        .with("LATCHKEY_LOG", "debug");
    place.write(".env", "LATCHKEY_AUDIENCE=mine\n");
    let out = place.run("config").out;
    assert!(out.contains("LATCHKEY_AUDIENCE=mine  # .env"), "{out}");
    let server = place.serve("");
    eventually("it is logged", async || {
        server
            .log()
            .lines()
            .any(|line| line.contains("empty variables ignored") && line.contains("REDIS_URL"))
    })
    .await;
}

#[test]
fn empty_secret_file_is_an_error() {
    for name in ["DATABASE_URL", "REDIS_URL"] {
        let place = Place::new()
            .with(&format!("{name}_FILE"), "secret")
            .with(name, "");
        for text in ["", "\n", " \r\n\t", "\u{feff}\r\n"] {
            place.write("secret", text);
            let expected = format!(
                "{name}_FILE names secret, which is empty: expected a file with the secret in it"
            );
            assert_eq!(place.run("config").refused(2), expected);
        }
        Place::new()
            .with(&format!("{name}_FILE"), "")
            .run("config")
            .done();
    }
    let place = Place::new().with("LATCHKEY_KEYS_PASSPHRASE_FILE", "secret");
    place.write("secret", "\n");
    assert!(
        place
            .run("keys rotate")
            .refused(2)
            .contains("holds a passphrase of 0 bytes")
    );
}

#[test]
fn secret_in_a_file_of_windows_is_read() {
    let url = "redis://127.0.0.1:1/3";
    let place = Place::new().with("REDIS_URL_FILE", "secret");
    let utf16: Vec<u8> = format!("\u{feff}{url}\r\n")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for bytes in [
        format!("\u{feff}{url}\r\n").into_bytes(),
        format!("{url} \n\n").into_bytes(),
        utf16,
    ] {
        place.write_bytes("secret", &bytes);
        assert!(
            place
                .run("config")
                .done()
                .contains(&format!("# REDIS_URL is not set: {url} is used"))
        );
    }
}
