//! Foreign text on the operator's terminal cannot move the cursor, hide text or reorder it.

use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection, sql_types::Text};
use latchkey_domain::visible::is_hidden;

use latchkey_testkit::{PASSWORD, Place, servers::eventually, sid};

/// Text that clears the screen, sets the title, reverses the order, and has invisible characters.
const HOSTILE: &str =
    "a\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}b\u{200b}c\u{9b}d\u{2066}e\u{feff}f\u{e0041}\rg";

#[track_caller]
fn is_visible(what: &str, text: &str) {
    let hidden = text.chars().find(|c| *c != '\n' && is_hidden(*c));
    assert_eq!(hidden, None, "{what}: {text:?}");
}

#[test]
fn argument_with_control_characters_is_escaped() {
    let place = Place::new().migrated();
    for (words, code) in [
        ("", 2),
        ("users show", 2),
        ("users create", 2),
        ("why", 1),
        ("keys revoke", 1),
        ("serve --bind", 2),
        ("keys import", 1),
    ] {
        let outcome = place.run_with_arguments(words, &[HOSTILE], PASSWORD);
        assert_eq!(outcome.code, Some(code), "{words}: {outcome:?}");
        is_visible(words, &format!("{}{}", outcome.out, outcome.err));
    }
    let flag = place.run_with_arguments("serve", &[&format!("--{HOSTILE}")], "");
    is_visible("an unknown flag", &flag.err);
    let help = Place::new()
        .with("LATCHKEY_ISSUER", HOSTILE)
        .run("serve --help");
    is_visible("a value from the environment", help.done());
}

/// An older version or another program may have written such rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_with_control_characters_is_escaped() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve("");
    let session = sid(&server.pair("ada", PASSWORD).await.access);
    let mut sqlite =
        SqliteConnection::establish(place.path("data/latchkey.db").to_str().unwrap()).unwrap();
    // Events can be added but not changed.
    let event = "INSERT INTO audit_events (at, event, actor, user_agent, session_id, details, times) \
                 SELECT at, event, ?1, ?1, session_id, details, times FROM audit_events WHERE event = 'sign_in' LIMIT 1";
    for statement in [
        "UPDATE sessions SET user_agent = ?",
        "UPDATE users SET email = ?",
        event,
    ] {
        diesel::sql_query(statement)
            .bind::<Text, _>(HOSTILE)
            .execute(&mut sqlite)
            .unwrap();
    }
    for words in [
        "sessions list --user ada",
        "sessions list --user ada --json",
        "audit",
        "audit --json",
        &format!("why {session}"),
        "users list",
        "users list --json",
        "users show ada",
    ] {
        let outcome = place.run(words);
        is_visible(words, outcome.done());
        assert!(outcome.out.contains("202e"), "{words}: {}", outcome.out);
    }
    let sessions = place.run("sessions list --user ada --json").json();
    assert_eq!(
        sessions[0]["user_agent"], HOSTILE,
        "JSON holds the original text"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_name_with_hidden_characters_is_escaped() {
    for format in ["pretty", "json"] {
        let place = Place::new();
        let server = place.serve(&format!("--log-format {format}"));
        place.write("keys/a\u{202e}b\u{200b}\u{1b}[2J.pem", "nonsense");
        eventually("the file name is logged", async || {
            server.log().contains(".pem: the name is not")
        })
        .await;
        is_visible(format, &server.log());
        let list = place.run("keys list");
        assert_eq!(list.code, Some(2));
        is_visible("keys list", &list.err);
        assert!(list.err.contains("\\u{202e}"), "{list:?}");
    }
}

#[test]
fn username_with_a_hidden_character_is_refused() {
    let place = Place::new().migrated();
    for (name, words) in [
        ("ad\u{200b}a", "an invisible character (U+200B)"),
        ("\u{202e}ada", "an invisible character (U+202E)"),
        ("ada lovelace", "a space (U+0020)"),
        ("ada\u{2603}", "(U+2603)"),
    ] {
        let outcome =
            place.run_with_arguments("users create", &[name, "--password-stdin"], PASSWORD);
        let line = outcome.refused(2);
        assert!(
            line.contains("a username may not contain") && line.contains(words),
            "{line}"
        );
        is_visible(name, line);
    }
    place
        .run_with_arguments(
            "users create",
            &["Ada.L+x@Example-1_y", "--password-stdin"],
            PASSWORD,
        )
        .done();
    assert_eq!(
        place.run("users show ada.l+x@example-1_y --json").json()["username"],
        "Ada.L+x@Example-1_y"
    );
    let taken = place.run_with_arguments(
        "users create",
        &["ADA.L+X@EXAMPLE-1_Y", "--password-stdin"],
        PASSWORD,
    );
    assert_eq!(taken.refused(1), "a user with that username already exists");
}
