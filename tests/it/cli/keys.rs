//! Commands of `latchkey keys`. Import and export are in `keys_import_export`, the storage of keys
//! in `keys_kept`, and their use by a running server in `keys_live`.

use serde_json::{Value, json};

use latchkey_testkit::Place;

const HYPHEN: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/ed25519_hyphen_test_key.pem");

pub fn list(place: &Place) -> Vec<Value> {
    place
        .run("keys list --json")
        .json()
        .as_array()
        .unwrap()
        .clone()
}

/// Returns the kid of the only key with these members.
pub fn kid(place: &Place, members: &Value) -> String {
    let fits = |key: &&Value| {
        members
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, value)| key[name] == *value)
    };
    let found: Vec<Value> = list(place).iter().filter(fits).cloned().collect();
    assert_eq!(found.len(), 1, "{members}: {found:?}");
    found[0]["kid"].as_str().unwrap().to_owned()
}

/// Returns the second word: `created KID …`.
pub(super) fn second(line: &str) -> String {
    line.split(' ')
        .nth(1)
        .unwrap()
        .trim_end_matches(':')
        .trim()
        .to_owned()
}

/// Returns the files of the key directory with this ending.
fn files(place: &Place, end: &str) -> Vec<String> {
    place
        .files()
        .into_iter()
        .filter(|name| name.starts_with("keys/") && name.ends_with(end))
        .collect()
}

#[test]
fn keys_list_creates_no_keys() {
    let place = Place::new();
    let none = "there are no keys yet: `latchkey serve` creates them\n";
    assert_eq!(place.run("keys list").done(), none);
    assert_eq!(place.run("keys list --json").json(), json!([]));
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn new_key_is_published_before_it_signs() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    let created = place.run("keys rotate").done().to_owned();
    assert!(
        created.starts_with("created ")
            && created.contains(" in keys (ES256, for access tokens): it signs from "),
        "{created}"
    );
    let path = files(&place, &format!("-access-ES256-{}.pem", second(&created)));
    assert_eq!(path.len(), 1, "{created}");
    assert_eq!(place.mode(&path[0]), 0o600);

    let keys = list(&place);
    let facts: Vec<_> = keys
        .iter()
        .map(|key| (&key["use"], &key["algorithm"], &key["state"]))
        .collect();
    let (access, refresh) = (json!("access"), json!("refresh"));
    let (es256, hs256, signing, published) = (
        json!("ES256"),
        json!("HS256"),
        json!("signing"),
        json!("published"),
    );
    assert_eq!(
        facts,
        [
            (&access, &es256, &signing),
            (&access, &es256, &published),
            (&refresh, &hs256, &signing)
        ]
    );
    assert_eq!(
        keys[1]["signs_from"], keys[0]["until"],
        "a key signs from the end of the one before"
    );
    assert_eq!(
        (&keys[1]["kid"], &keys[1]["encrypted"]),
        (&json!(second(&created)), &json!(false))
    );

    let table = place.run("keys list").done().to_owned();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("KID ") && lines.len() == 4, "{table}");
    assert!(
        lines[1].contains("signing") && lines[1].contains("until its successor takes over at "),
        "{table}"
    );
    assert!(
        lines[2].contains("signs from ") && lines[2].contains("when every verifier has fetched it")
    );
    assert!(
        lines[3].contains("its successor is created at ")
            && lines[3].contains("(in 2months 29days)"),
        "{table}"
    );
    let never = place
        .run("keys list --key-rotation-interval 0")
        .done()
        .to_owned();
    assert!(never.contains("until an operator rotates it"), "{never}");
    // The list does not create a key for another algorithm in the settings.
    assert_eq!(
        place
            .run("keys list --json --algorithm EdDSA")
            .json()
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn rotate_creates_a_key_for_each_algorithm() {
    let place = Place::new();
    for algorithm in ["ES256", "ES384", "EdDSA", "RS256", "PS384", "HS512"] {
        let created = place
            .run(&format!("keys rotate --algorithm {algorithm}"))
            .done()
            .to_owned();
        assert!(
            created.contains(&format!("({algorithm}, for access tokens)")),
            "{created}"
        );
    }
    let created = place
        .run("keys rotate --use refresh --algorithm EdDSA")
        .done()
        .to_owned();
    assert!(
        created.contains("(HS256, for refresh tokens): it signs at once"),
        "{created}"
    );
    let created = place.run("keys rotate --now").done().to_owned();
    assert!(
        created.contains(" on, after every instance has read it"),
        "{created}"
    );
    assert_eq!(list(&place).len(), 8);
}

#[test]
fn revoked_key_stays_in_the_list() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    place.run("keys rotate").done();
    let kid = kid(&place, &json!({"state": "published"}));
    let revoked = place.run(&format!("keys revoke {kid}")).done().to_owned();
    let first = format!("revoked {kid}: its tokens are refused\n");
    assert!(
        revoked.starts_with(&first),
        "the key did not sign, so there is no successor: {revoked}"
    );
    assert_eq!(
        (
            files(&place, &format!("{kid}.pem")).len(),
            files(&place, &format!("{kid}.revoked")).len()
        ),
        (0, 1)
    );
    let keys = list(&place);
    assert_eq!(
        (keys.len(), &keys[2]["kid"], &keys[2]["state"]),
        (3, &json!(kid), &json!("revoked"))
    );
    let table = place.run("keys list").done().to_owned();
    assert!(
        table
            .lines()
            .nth(3)
            .unwrap()
            .contains("its tokens are refused for ever"),
        "{table}"
    );

    let again = place.run(&format!("keys revoke {kid}"));
    assert_eq!(
        again.refused(1),
        format!("the key {kid} was revoked and cannot be used again")
    );
    let line = "there is no key nobody: list the keys with latchkey keys list";
    assert_eq!(place.run("keys revoke nobody").refused(1), line);
    assert!(place.run("audit").done().contains("key_revoked"));
}

#[test]
fn last_key_has_a_successor_before_its_revocation() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    let old = kid(&place, &json!({"use": "access"}));
    let printed = place.run(&format!("keys revoke {old}")).done().to_owned();
    let lines: Vec<_> = printed.lines().collect();
    let new = kid(&place, &json!({"use": "access", "state": "signing"}));
    assert!(
        lines[0].starts_with(&format!("created {new}, which signs from now on")),
        "{printed}"
    );
    assert_eq!(
        lines[1..3],
        [
            "waiting until every instance has read it",
            &format!("revoked {old}: its tokens are refused")
        ]
    );
}

#[test]
fn broken_key_does_not_prevent_a_revocation() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    let (access, refresh) = (
        kid(&place, &json!({"use": "access"})),
        kid(&place, &json!({"use": "refresh"})),
    );
    let path = files(&place, &format!("{refresh}.pem")).remove(0);
    place.chmod(&path, 0o644);
    let printed = place.run(&format!("keys revoke {refresh}"));
    assert_eq!(
        (
            printed.code,
            files(&place, &format!("{refresh}.revoked")).len()
        ),
        (Some(0), 1),
        "{printed:?}"
    );
    assert!(
        printed
            .out
            .contains(&format!("revoked {refresh}: its tokens are refused\n")),
        "{printed:?}"
    );

    // Without the passphrase, no successor can be created, but the key is revoked.
    place.write("new", "the passphrase of a test");
    place.run("keys rewrap --new-passphrase-file new").done();
    let printed = place.run(&format!(
        "keys revoke {access} --keys-passphrase-file nowhere"
    ));
    assert_eq!(printed.code, Some(0));
    assert!(
        printed
            .out
            .starts_with(&format!("revoked {access}: its tokens are refused\n")),
        "{}",
        printed.out
    );
    assert!(
        printed.err.starts_with(
            "latchkey: no successor was created: LATCHKEY_KEYS_PASSPHRASE_FILE: nowhere"
        ),
        "{}",
        printed.err
    );
}

#[test]
fn a_kid_may_begin_with_a_hyphen() {
    let place = Place::new();
    place.write("hyphen.pem", HYPHEN);
    let kid = second(place.run("keys import hyphen.pem").done());
    assert!(kid.starts_with('-'), "{kid}");
    let exported = place
        .run(&format!("keys export --public --kid {kid}"))
        .json();
    assert_eq!(exported["kid"], json!(kid));
    place.run("keys rotate").done();
    place.run(&format!("keys revoke {kid}")).done();
    assert_eq!(files(&place, &format!("{kid}.revoked")).len(), 1);
}

#[test]
fn prune_removes_keys_without_valid_tokens() {
    let place = Place::new();
    let nothing =
        "nothing to remove: the lifetime of access tokens is 5m, that of refresh tokens 1day\n";
    let [old, new] = [(), ()].map(|()| second(place.run("keys rotate").done()));
    assert_eq!(place.run("keys prune").done(), nothing);
    // The file name holds the start of the key.
    for (kid, time) in [(&old, "20200101T000000Z"), (&new, "20210101T000000Z")] {
        let path = files(&place, &format!("{kid}.pem")).remove(0);
        let name = format!("keys/{time}{}", &path["keys/".len() + time.len()..]);
        std::fs::rename(place.path(&path), place.path(&name)).unwrap();
    }
    assert_eq!(list(&place)[0]["state"], "prunable");
    assert!(
        place
            .run("keys list")
            .done()
            .contains("its tokens have expired: latchkey keys prune removes it")
    );
    assert_eq!(
        place.run("keys prune").done(),
        format!(
            "removed {old}\n{}",
            nothing.replace("nothing to remove", "all tokens of these keys have expired")
        )
    );
    assert_eq!(place.run("keys prune").done(), nothing);
    assert_eq!(kid(&place, &json!({})), new);
}
