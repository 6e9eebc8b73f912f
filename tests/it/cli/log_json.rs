//! `LATCHKEY_LOG_FORMAT=json`: every line on standard error is JSON.

use std::{fs, net::TcpListener};

use serde_json::Value;

use latchkey_testkit::{PASSWORD, Place, servers::eventually};

/// Parses a text with one event for each line.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    let event = |line: &str| {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line} in {text}"));
        assert!(
            event["timestamp"].is_string()
                && event["level"].is_string()
                && event["message"].is_string(),
            "{line}"
        );
        event
    };
    text.lines().map(event).collect()
}

/// Runs a command that fails, and returns its last event.
#[track_caller]
fn failure(place: &Place, words: &str, code: i32) -> Value {
    let outcome = place.run(words);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (Some(code), ""),
        "{words}: {outcome:?}"
    );
    let last = events(&outcome.err)
        .pop()
        .unwrap_or_else(|| panic!("{words} prints no error"));
    assert_eq!(last["level"], "ERROR", "{last}");
    last
}

fn json() -> Place {
    Place::new().with("LATCHKEY_LOG_FORMAT", "json")
}

#[tokio::test]
async fn start_with_a_first_user_prints_json_on_both_streams() {
    for (place, flags) in [
        (json(), ""),
        (Place::new(), "--log-format json"),
        (Place::new(), "--log-format=json"),
    ] {
        let server = place.serve(flags);
        let url = server.url.clone();
        let printed = server.stop("TERM").1.join("\n");
        let printed = events(&printed);
        assert_eq!(printed[0]["url"], url.as_str());
        assert_eq!(
            (&printed[1]["username"], printed.len()),
            (&"admin".into(), 2),
            "{printed:?}"
        );
        let password = fs::read_to_string(printed[1]["file"].as_str().unwrap()).unwrap();
        let server = place.serve(flags);
        server.pair("admin", password.trim()).await;
        eventually("the start is logged", async || {
            server.log().contains("started")
        })
        .await;
        let log = events(&server.log());
        assert!(!format!("{log:?}").contains(password.trim()));
    }
}

#[test]
fn failing_start_prints_json() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("serve --bind {}", taken.local_addr().unwrap());
    for (name, value, words, part) in [
        (
            "LATCHKEY_BIND",
            "nonsense",
            "serve",
            "LATCHKEY_BIND (--bind) is",
        ),
        (
            "LATCHKEY_BIND",
            "0.0.0.0:1",
            "serve",
            "LATCHKEY_ISSUER is missing",
        ),
        (
            "LATCHKEY_BNID",
            "1",
            "serve",
            "LATCHKEY_BNID is not a setting",
        ),
        (
            "LATCHKEY_LOG",
            "nonsense=nonsense=",
            "serve",
            "LATCHKEY_LOG is",
        ),
        ("DATABASE_URL", "nonsense", "serve", "DATABASE_URL is not"),
        (
            "DATABASE_URL_FILE",
            "missing",
            "serve",
            "DATABASE_URL_FILE names",
        ),
        (
            "LATCHKEY_KEYS_PASSPHRASE_FILE",
            "missing",
            "serve --bind 127.0.0.1:0",
            "LATCHKEY_KEYS_PASSPHRASE_FILE",
        ),
        ("LATCHKEY_LOG", "info", &taken, "which is not available"),
        (
            "LATCHKEY_LOG",
            "info",
            "serve --nonsense",
            "unexpected argument '--nonsense'",
        ),
        (
            "LATCHKEY_LOG",
            "info",
            "nonsense",
            "unrecognized subcommand 'nonsense'",
        ),
        (
            "LATCHKEY_LOG",
            "info",
            "serve --bind",
            "LATCHKEY_BIND (--bind) is",
        ),
        (
            "LATCHKEY_LOG",
            "info",
            "serve postgres://u:hunter2@h",
            "an unexpected argument holds a URL",
        ),
        ("LATCHKEY_LOG", "info", "", "Usage: latchkey"),
    ] {
        let last = failure(&json().with(name, value), words, 2);
        assert!(
            last["message"].as_str().unwrap().contains(part),
            "{words}: {last}"
        );
    }
    let url = "postgres://ada@127.0.0.1:1/latchkey";
    let place = json()
        .with("DATABASE_URL", url)
        .with("LATCHKEY_STARTUP_TIMEOUT", "0s");
    failure(&place, "serve --bind 127.0.0.1:0", 1);
    let place = json();
    place.write("keys/x.pem", "nonsense");
    failure(&place, "serve --bind 127.0.0.1:0", 2);
}

#[test]
fn log_format_of_a_dotenv_file_applies_to_all_later_lines() {
    let place = Place::new();
    place.write(
        ".env",
        "LATCHKEY_AUDIENCE=pa$word\nLATCHKEY_LOG_FORMAT=json\n",
    );
    assert!(
        failure(&place, "serve", 2)["message"]
            .as_str()
            .unwrap()
            .starts_with(".env cannot be read at line 1")
    );
    place.write(
        ".env",
        "LATCHKEY_LOG_FORMAT=json\nOTHER=1\nLATCHKEY_LOG_FORMAT=json\n",
    );
    let outcome = place.run("config");
    let found = events(&outcome.err);
    let levels: Vec<_> = found
        .iter()
        .map(|event| event["level"].as_str().unwrap())
        .collect();
    assert_eq!(
        (outcome.code, levels),
        (Some(0), vec!["WARN", "INFO"]),
        "{found:?}"
    );
    place.chmod(".env", 0o666);
    let place = place.with("LATCHKEY_LOG_FORMAT", "json");
    assert!(
        failure(&place, "serve", 2)["message"]
            .as_str()
            .unwrap()
            .starts_with(".env has the mode 0666")
    );
}

#[test]
fn commands_of_operators_keep_their_output_and_log_json() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let place = place.with("LATCHKEY_LOG_FORMAT", "json");
    failure(&place, "users show nobody", 1);
    failure(&place, "keys revoke nothing", 1);
    let outcome = place.run("users list --json");
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
    assert!(place.run("--version").out.starts_with("latchkey "));
    let plain = Place::new()
        .with("LATCHKEY_LOG_FORMAT", "pretty")
        .run("serve --nonsense");
    assert!(
        plain.err.starts_with("error: unexpected argument"),
        "{plain:?}"
    );
}
