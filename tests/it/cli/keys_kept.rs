//! Storage of keys in files and in the database, encryption, and errors about unusable keys.

use serde_json::json;

use super::keys::{kid, list};
use latchkey_testkit::Place;

/// An unusable key file stops every command that needs the keys, before a database is created.
#[test]
fn unusable_key_is_named_with_the_remedy() {
    let place = Place::new();
    place.run("keys rotate").done();
    assert!(!place.path("data").exists(), "a database was created");
    let path = &place
        .files()
        .into_iter()
        .find(|name| name.contains("-access-ES256-"))
        .unwrap();
    let refused = |expected: &str| {
        for words in ["serve --bind 127.0.0.1:0", "keys export --public"] {
            assert_eq!(
                place.run(words).refused(2),
                format!("LATCHKEY_KEYS_DIR: {expected}"),
                "{words}"
            );
        }
        // The list shows the other keys.
        let list = place.run("keys list");
        assert_eq!(
            (list.code, list.err),
            (
                Some(2),
                format!("latchkey: LATCHKEY_KEYS_DIR: {expected}\n")
            )
        );
        assert!(!place.path("data").exists(), "a database was created");
        let doctor = place.run("doctor");
        assert_eq!(doctor.code, Some(1));
        assert!(
            doctor.out.contains(&format!(
                "FAIL  keys           LATCHKEY_KEYS_DIR: {expected}\n"
            )),
            "{doctor:?}"
        );
    };
    place.chmod(path, 0o640);
    refused(&format!(
        "{path}: the mode is 0640, so others can read the key: run chmod 600 {path}"
    ));
    place.chmod(path, 0o600);
    let good = std::fs::read_to_string(place.path(path)).unwrap();
    place.write(path, "nonsense");
    refused(&format!(
        "{path}: is not a PEM file with one \"PRIVATE KEY\" block"
    ));
    place.write(path, &good.replace("PRIVATE KEY", "EC PRIVATE KEY"));
    refused(&format!(
        "{path}: is not a PEM file with one \"PRIVATE KEY\" block"
    ));

    let other = path.replace("-access-ES256-", "-access-RS256-");
    std::fs::rename(place.path(path), place.path(&other)).unwrap();
    place.write(&other, &good);
    refused(&format!(
        "{other}: does not hold a private key for RS256 (PKCS#8)"
    ));
    std::fs::remove_file(place.path(&other)).unwrap();

    place.write("keys/mine.pem", &good);
    place.chmod("keys/mine.pem", 0o600);
    let line = place.run("keys list").err.trim().to_owned();
    let expected =
        "latchkey: LATCHKEY_KEYS_DIR: keys/mine.pem: the name is not TIME-access-ALGORITHM-KID.pem";
    assert!(
        line.starts_with(expected) && line.ends_with("or run latchkey keys import"),
        "{line}"
    );
    std::fs::remove_file(place.path("keys/mine.pem")).unwrap();

    // A directory stands for an unreadable file, because root can read every file.
    std::fs::create_dir(place.path(path)).unwrap();
    place.chmod(path, 0o700);
    refused(&format!("{path}: is not a file: remove it"));
    std::fs::remove_dir(place.path(path)).unwrap();

    place.chmod("keys", 0o777);
    refused("keys: every user can create keys in it: run chmod o-w on it");
}

#[test]
fn encrypted_keys_require_their_passphrase() {
    let place = Place::new();
    place.run("keys rotate").done();
    let access = kid(&place, &json!({"use": "access"}));
    place.write("one", "the first passphrase\n");
    let printed = place
        .run("keys rewrap --new-passphrase-file one")
        .done()
        .to_owned();
    assert_eq!(
        printed,
        "encrypted 1 key: now put the new passphrase into the file LATCHKEY_KEYS_PASSPHRASE_FILE\n"
    );
    let serve = "serve --bind 127.0.0.1:0";
    let line = place.run(serve).refused(2).to_owned();
    assert!(
        line.starts_with("LATCHKEY_KEYS_DIR: keys/")
            && line.contains(": is encrypted: set LATCHKEY_KEYS_"),
        "{line}"
    );

    let place = place.with("LATCHKEY_KEYS_PASSPHRASE_FILE", "wrong");
    let refused = |expected: &str| {
        for words in [serve, "keys rotate"] {
            let line = place.run(words).refused(2).to_owned();
            assert!(line.contains(expected), "{words}: {line}");
            assert!(
                !line.contains("no passphrase of"),
                "the passphrase is shown"
            );
        }
        let list = place.run("keys list");
        assert!(
            list.code == Some(2) && list.out.contains(" signing ") && list.err.contains(expected),
            "{list:?}"
        );
        let doctor = place.run("doctor").out;
        assert!(
            doctor
                .lines()
                .any(|line| line.starts_with("FAIL  keys ") && line.contains(expected)),
            "{doctor}"
        );
    };
    refused(
        "LATCHKEY_KEYS_PASSPHRASE_FILE: wrong cannot be read (No such file or directory (os error 2))",
    );
    place.write("wrong", "short\n");
    refused(
        "LATCHKEY_KEYS_PASSPHRASE_FILE: wrong holds a passphrase of 5 bytes: expected at least 16",
    );
    place.write("wrong", "no passphrase of these keys\n");
    refused("cannot be decrypted: the passphrase is wrong, or the key is damaged");

    let place = place.with("LATCHKEY_KEYS_PASSPHRASE_FILE", "one");
    assert!(place.serve("").stop("TERM").0.success());
    let keys = list(&place);
    assert_eq!(
        (keys.len(), kid(&place, &json!({"use": "access"}))),
        (2, access)
    );
    assert!(
        keys.iter().all(|key| key["encrypted"] == json!(true)),
        "{keys:?}"
    );
    place.run("keys rotate").done();
    let printed = place.run("keys rewrap --plain").done().to_owned();
    assert_eq!(
        printed,
        "decrypted 3 keys: now unset LATCHKEY_KEYS_PASSPHRASE_FILE\n"
    );
    assert!(
        list(&place)
            .iter()
            .all(|key| key["encrypted"] == json!(false))
    );
    for words in [
        "keys rewrap",
        "keys rewrap --plain --new-passphrase-file one",
    ] {
        assert_eq!(place.run(words).code, Some(2), "{words}");
    }
    assert!(
        place
            .run("keys rewrap --new-passphrase-file nowhere")
            .refused(2)
            .starts_with("nowhere cannot be read")
    );
}

#[tokio::test]
async fn keys_in_the_database_require_a_passphrase() {
    let place = Place::new().with("LATCHKEY_KEYS", "database");
    let missing = "LATCHKEY_KEYS_PASSPHRASE_FILE is missing, but LATCHKEY_KEYS=database requires encrypted private keys";
    for words in ["serve --bind 127.0.0.1:0", "keys rotate"] {
        let line = place.run(words).refused(2).to_owned();
        assert!(line.starts_with(missing), "{words}: {line}");
    }
    assert!(
        place
            .run("doctor")
            .out
            .contains("FAIL  keys           not checked: their passphrase is missing\n")
    );
    let place = place.with("LATCHKEY_KEYS_PASSPHRASE_FILE", "passphrase");
    place.write("passphrase", "the first passphrase\n");
    assert!(
        place
            .run("doctor")
            .done()
            .contains("none yet in the database: the server creates them")
    );

    let mut server = place.serve("");
    server.read_until("To use Postgres and Redis");
    let access = kid(&place, &json!({"use": "access"}));
    let keys = server.get("/.well-known/jwks.json").await.json();
    assert_eq!(keys["keys"][0]["kid"], json!(access));
    assert!(server.stop("TERM").0.success());
    assert!(
        place.files().iter().all(|name| !name.starts_with("keys/")),
        "{:?}",
        place.files()
    );
    assert!(
        place
            .run("doctor")
            .out
            .contains("ok    keys           2 in the database\n"),
        "{:?}",
        place.run("doctor")
    );

    place.run("keys rotate").done();
    place.run(&format!("keys revoke {access}")).done();
    let revoked = list(&place)
        .into_iter()
        .find(|key| key["kid"] == json!(access))
        .unwrap();
    assert_eq!(
        (&revoked["state"], &revoked["encrypted"]),
        (&json!("revoked"), &json!(null))
    );
    assert!(
        place
            .run("keys rewrap --plain")
            .refused(2)
            .contains("keys in the database must be encrypted")
    );
    place.write("new", "the second passphrase\n");
    place.run("keys rewrap --new-passphrase-file new").done();
    let line = place.run("serve --bind 127.0.0.1:0").refused(2).to_owned();
    assert!(
        line.starts_with("LATCHKEY_KEYS: the key ") && line.contains("the passphrase is wrong"),
        "{line}"
    );
    let place = place.with("LATCHKEY_KEYS_PASSPHRASE_FILE", "new");
    assert_eq!(list(&place).len(), 3);
    assert!(place.serve("").stop("TERM").0.success());
}
