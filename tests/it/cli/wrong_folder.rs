//! Commands without a database, or with another one than the server's.

use latchkey_testkit::{PASSWORD, Place, servers};

const ED25519: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/ed25519_test_key.pem");

const COMMANDS: [&str; 14] = [
    "users create ada --password-stdin",
    "users list",
    "users show ada",
    "users activate ada",
    "users deactivate ada",
    "users delete ada",
    "users set-password ada --password-stdin",
    "sessions list --user ada",
    "sessions revoke --all",
    "sessions revoke --user ada",
    "audit",
    "why 00000000-0000-4000-8000-000000000000",
    "flush-expired",
    "migrate status",
];

#[test]
fn commands_without_a_database_name_its_path_and_create_nothing() {
    for url in [
        "",
        "sqlite://data/latchkey.db?mode=rwc",
        "sqlite://data/latchkey.db",
    ] {
        let place = if url.is_empty() {
            Place::new()
        } else {
            Place::new().with("DATABASE_URL", url)
        };
        for words in COMMANDS {
            let outcome = place.run_with_input(words, PASSWORD);
            let line = outcome.refused(2);
            assert!(line.contains("data/latchkey.db"), "{words}: {line}");
            assert!(
                place.files().is_empty() && !place.path("data").exists(),
                "{words}: {:?}",
                place.files()
            );
        }
    }
    let place = Place::new();
    let line = place.run("sessions revoke --all").refused(2).to_owned();
    let path = place
        .path("data/latchkey.db")
        .canonicalize()
        .unwrap_or(place.path("data/latchkey.db"));
    assert!(
        line.starts_with(&format!(
            "LATCHKEY_DATA_DIR is set to {}, which does not exist",
            path.display()
        )),
        "{line}"
    );
    assert!(
        line.contains("run the command in the working directory of the server"),
        "{line}"
    );
}

#[tokio::test]
async fn commands_on_a_database_without_tables_create_none() {
    let postgres = Place::new().with("DATABASE_URL", &servers::fresh_database().await);
    let sqlite = Place::new().with("DATABASE_URL", "sqlite://empty.db");
    sqlite.write("empty.db", "");
    for place in [postgres, sqlite] {
        for words in COMMANDS.iter().filter(|words| **words != "migrate status") {
            let outcome = place.run_with_input(words, PASSWORD);
            let line = outcome.refused(2);
            assert!(
                line.contains("has no tables of Latchkey"),
                "{words}: {line}"
            );
        }
        let status = place.run("migrate status");
        assert!(
            status.out.lines().all(|line| line.starts_with("pending  ")),
            "{status:?}"
        );
        let outcome = place.run("users list");
        assert!(
            outcome.refused(2).contains("has no tables of Latchkey"),
            "migrate status created tables"
        );
    }
}

#[test]
fn commands_that_change_the_database_name_it() {
    let place = Place::new().migrated();
    let named = format!(
        "database: sqlite://{}\n",
        place.path("data/latchkey.db").display()
    );
    for words in [
        "users create ada --password-stdin",
        "users deactivate ada",
        "users activate ada",
        "users set-password ada --password-stdin",
        "sessions revoke --user ada",
        "sessions revoke --all",
        "users delete ada",
        "flush-expired",
        "migrate run",
    ] {
        let outcome = place.run_with_input(words, PASSWORD);
        outcome.done();
        assert_eq!(outcome.changed, named, "{words}");
    }
    assert_eq!(place.run("users list").changed, "");
}

#[test]
fn changes_of_keys_create_no_database() {
    let place = Place::new();
    place.write("ed.pem", ED25519);
    for words in [
        "keys rotate",
        "keys import ed.pem",
        "keys rotate --use refresh --now",
    ] {
        let outcome = place.run(words);
        outcome.done();
        let keys = format!(
            "keys: {}\nnot in the audit trail: ",
            place.path("keys").display()
        );
        assert!(outcome.changed.starts_with(&keys), "{outcome:?}");
        assert!(!place.path("data").exists(), "{words}");
    }
    let place = Place::new();
    for words in ["keys prune", "keys rewrap --plain"] {
        let outcome = place.run(words);
        assert!(
            outcome.refused(1).starts_with("there are no keys in /"),
            "{words}: {outcome:?}"
        );
        assert!(place.files().is_empty());
    }
    place.write("passphrase", "the passphrase of a test");
    for words in [
        "rotate",
        "prune",
        "list",
        "revoke KID",
        "rewrap --new-passphrase-file passphrase",
    ] {
        let outcome = place.run(&format!(
            "keys {words} --keys database --keys-passphrase-file passphrase"
        ));
        assert!(
            outcome.refused(2).contains("data/latchkey.db"),
            "{words}: {outcome:?}"
        );
        assert!(!place.path("data").exists(), "{words}");
    }
}

#[test]
fn revocation_prints_the_limit_of_offline_verifiers() {
    let place = Place::new().migrated();
    place.user("ada", PASSWORD);
    for words in [
        "sessions revoke --user ada",
        "sessions revoke --all",
        "users deactivate ada",
        "users set-password ada --password-stdin",
        "users delete ada",
    ] {
        let outcome = place.run_with_input(words, PASSWORD);
        let until = outcome.done().lines().nth(1).unwrap();
        assert!(
            until.starts_with("offline verifiers may accept earlier access tokens until 2"),
            "{until}"
        );
        assert!(
            until.ends_with(" UTC (LATCHKEY_ACCESS_TOKEN_LIFETIME is 5m here)"),
            "{until}"
        );
    }
}

#[test]
fn import_reports_the_successor_or_the_fault_of_a_secret() {
    let place = Place::new();
    place.write("ed.pem", ED25519);
    let printed = place.run("keys import ed.pem").done().to_owned();
    assert!(
        printed
            .contains("\nthis key has no automatic successor: latchkey keys rotate creates one\n"),
        "{printed}"
    );
    let listed = place.run("keys list --json").json();
    assert_eq!(listed[0]["waits_for"], "until an operator rotates it");
    let kid = listed[0]["kid"].as_str().unwrap();
    let revoked = place.run(&format!("keys revoke {kid}")).done().to_owned();
    for words in [
        "so they may accept them until 2",
        "until these expire, by 2",
        "LATCHKEY_ACCESS_TOKEN_LIFETIME is 5m",
    ] {
        assert!(revoked.contains(words), "{words}: {revoked}");
    }
    let rotated = Place::new();
    rotated.write("ed.pem", ED25519);
    let printed = rotated.run("keys import ed.pem --rotate").done().to_owned();
    assert!(
        printed.contains("\na new random key signs from 2"),
        "{printed}"
    );
    let repeated = "ab".repeat(20);
    for (secret, rule) in [
        (repeated.as_str(), "has fewer than 8 distinct bytes"),
        (
            "a-string-secret-at-least-256-bits-long",
            "is a published example",
        ),
        (
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "consists of words, names or a pattern",
        ),
        (ED25519, "is a key or a certificate"),
        ("short", "of 5 bytes: HS256 needs at least 32"),
    ] {
        place.write("secret", secret);
        let outcome = place.run("keys import secret --as HS256");
        assert!(outcome.refused(1).contains(rule), "{outcome:?}");
    }
}
