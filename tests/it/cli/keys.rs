//! `latchkey keys`: what each command says and does. How keys are kept is told in `keys_kept`, what a running server makes of
//! it in `keys_live`.

use serde_json::{Value, json};

use crate::support::Place;

const ED25519: &str = include_str!("../../../src/crypto/fixtures/ed25519_test_key.pem");
const HYPHEN: &str = include_str!("../../../src/crypto/fixtures/ed25519_hyphen_test_key.pem");
const P256_PUBLIC: &str = include_str!("../../../src/crypto/fixtures/p256_public_test_key.pem");
const P256_SCRYPT: &str = include_str!("../../../src/crypto/fixtures/p256_scrypt_test_key.pem");
const RSA: &str = include_str!("../../../src/crypto/fixtures/rsa2048_pkcs1_test_key.pem");
const RSA_WEAK: &str = include_str!("../../../src/crypto/fixtures/rsa1024_pkcs1_test_key.pem");

pub fn list(place: &Place) -> Vec<Value> {
    place
        .run("keys list --json")
        .json()
        .as_array()
        .unwrap()
        .clone()
}

/// The kid of the only key with these members.
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

/// The second word: `made KID …`.
fn second(line: &str) -> String {
    line.split(' ')
        .nth(1)
        .unwrap()
        .trim_end_matches(':')
        .trim()
        .to_owned()
}

/// The files of keys, and of revoked ones.
fn files(place: &Place, end: &str) -> Vec<String> {
    place
        .files()
        .into_iter()
        .filter(|name| name.starts_with("keys/") && name.ends_with(end))
        .collect()
}

#[test]
fn to_look_at_keys_makes_none() {
    let place = Place::new();
    let none = "there are no keys yet: `latchkey serve` makes them\n";
    assert_eq!(place.run("keys list").done(), none);
    assert_eq!(place.run("keys list --json").json(), json!([]));
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn a_new_key_is_published_first_and_the_list_says_what_each_is_waiting_for() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    let made = place.run("keys rotate").done().to_owned();
    assert!(
        made.starts_with("made ")
            && made.contains(" in keys (ES256, for access tokens): it signs from "),
        "{made}"
    );
    let path = files(&place, &format!("-access-ES256-{}.pem", second(&made)));
    assert_eq!(path.len(), 1, "{made}");
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
        "the one begins when the other ends"
    );
    assert_eq!(
        (&keys[1]["kid"], &keys[1]["encrypted"]),
        (&json!(second(&made)), &json!(false))
    );

    let table = place.run("keys list").done().to_owned();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("KID ") && lines.len() == 4, "{table}");
    assert!(
        lines[1].contains("signing") && lines[1].contains("until its successor does, from "),
        "{table}"
    );
    assert!(
        lines[2].contains("signs from ")
            && lines[2].contains("when every verifier that caches the key set")
    );
    assert!(
        lines[3].contains("its successor is made ") && lines[3].contains("(in 2months 29days)"),
        "{table}"
    );
    let never = place
        .run("keys list --key-rotation-interval 0")
        .done()
        .to_owned();
    assert!(never.contains("until you make its successor"), "{never}");
    // Another algorithm in the settings is no reason to make a key while looking.
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
fn each_algorithm_has_a_key_of_its_own_and_refresh_tokens_a_secret() {
    let place = Place::new();
    for algorithm in ["ES256", "ES384", "EdDSA", "RS256", "PS384", "HS512"] {
        let made = place
            .run(&format!("keys rotate --algorithm {algorithm}"))
            .done()
            .to_owned();
        assert!(
            made.contains(&format!("({algorithm}, for access tokens)")),
            "{made}"
        );
    }
    let made = place
        .run("keys rotate --use refresh --algorithm EdDSA")
        .done()
        .to_owned();
    assert!(
        made.contains("(HS256, for refresh tokens): it signs at once"),
        "{made}"
    );
    let made = place.run("keys rotate --now").done().to_owned();
    assert!(
        made.contains(" on, as soon as every instance has seen it"),
        "{made}"
    );
    assert_eq!(list(&place).len(), 8);
}

#[test]
fn a_revoked_key_is_gone_for_good_and_the_list_remembers_it() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    place.run("keys rotate").done();
    let kid = kid(&place, &json!({"state": "published"}));
    let revoked = place.run(&format!("keys revoke {kid}")).done().to_owned();
    let first = format!("revoked {kid}: its tokens are refused\n");
    assert!(
        revoked.starts_with(&first),
        "it did not sign: nothing else changes: {revoked}"
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
        format!("the key {kid} was revoked, and is never used again")
    );
    let line = "there is no key nobody: latchkey keys list shows them";
    assert_eq!(place.run("keys revoke nobody").refused(1), line);
    assert!(place.run("audit").done().contains("key_revoked"));
}

#[test]
fn the_only_key_gets_a_successor_before_it_is_revoked() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    let old = kid(&place, &json!({"use": "access"}));
    let said = place.run(&format!("keys revoke {old}")).done().to_owned();
    let lines: Vec<_> = said.lines().collect();
    let new = kid(&place, &json!({"use": "access", "state": "signing"}));
    assert!(
        lines[0].starts_with(&format!("made {new}, which signs from now on")),
        "{said}"
    );
    assert_eq!(
        lines[1..3],
        [
            "waiting until every instance has seen it",
            &format!("revoked {old}: its tokens are refused")
        ]
    );
}

#[test]
fn another_key_that_is_broken_is_no_reason_not_to_revoke() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    let (access, refresh) = (
        kid(&place, &json!({"use": "access"})),
        kid(&place, &json!({"use": "refresh"})),
    );
    let path = files(&place, &format!("{refresh}.pem")).remove(0);
    place.chmod(&path, 0o644);
    let said = place.run(&format!("keys revoke {refresh}"));
    assert_eq!(
        (
            said.code,
            files(&place, &format!("{refresh}.revoked")).len()
        ),
        (Some(0), 1),
        "{said:?}"
    );
    assert!(
        said.out
            .contains(&format!("revoked {refresh}: its tokens are refused\n")),
        "{said:?}"
    );

    // Nor is a passphrase that nobody finds, though no successor can be made then.
    place.write("new", "the passphrase of a test");
    place.run("keys rewrap --new-passphrase-file new").done();
    let said = place.run(&format!(
        "keys revoke {access} --keys-passphrase-file nowhere"
    ));
    assert_eq!(said.code, Some(0));
    assert!(
        said.out
            .starts_with(&format!("revoked {access}: its tokens are refused\n")),
        "{}",
        said.out
    );
    assert!(
        said.err
            .starts_with("latchkey: no successor was made: LATCHKEY_KEYS_PASSPHRASE_FILE: nowhere"),
        "{}",
        said.err
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
fn keys_go_when_their_tokens_have_expired_and_are_named() {
    let place = Place::new();
    let nothing = "nothing to remove: access tokens live for 5m, refresh tokens for 1day\n";
    let [old, new] = [(), ()].map(|()| second(place.run("keys rotate").done()));
    assert_eq!(place.run("keys prune").done(), nothing);
    // A name says when its key began.
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
            nothing.replace("nothing to remove", "no token of these keys lives")
        )
    );
    assert_eq!(place.run("keys prune").done(), nothing);
    assert_eq!(kid(&place, &json!({})), new);
}

#[test]
fn a_foreign_key_is_taken_in_and_only_a_good_one() {
    let place = Place::new();
    place.run("keys rotate").done();
    for (name, text) in [
        ("rsa.pem", RSA),
        ("ed.pem", ED25519),
        ("weak.pem", RSA_WEAK),
        ("public.pem", P256_PUBLIC),
    ] {
        place.write(name, text);
    }
    let said = place
        .run("keys import rsa.pem --as PS256")
        .done()
        .to_owned();
    assert!(
        said.starts_with("imported ")
            && said.contains("(PS256, for access tokens): it signs from "),
        "{said}"
    );
    assert!(
        said.contains("\nset LATCHKEY_ALGORITHM=PS256 for the servers"),
        "{said}"
    );
    assert!(
        said.contains("\nrsa.pem is not needed any more: remove it"),
        "{said}"
    );
    let kid = second(&said);
    assert_eq!(
        place.run("keys import rsa.pem").refused(1),
        format!("the key {kid} is there already")
    );
    assert!(
        place
            .run("keys import ed.pem --now")
            .done()
            .contains("as soon as every instance has seen it")
    );

    place.write("encrypted.pem", P256_SCRYPT);
    let line = place.run("keys import encrypted.pem").refused(1).to_owned();
    assert!(line.starts_with("encrypted.pem: is encrypted: "), "{line}");
    place.write("wrong", "no passphrase of this key");
    let line = place
        .run("keys import encrypted.pem --passphrase-file wrong")
        .refused(1)
        .to_owned();
    assert!(line.starts_with("encrypted.pem: "), "{line}");
    place.write("right", "correct horse battery staple\n");
    place
        .run("keys import encrypted.pem --passphrase-file right")
        .done();

    place.write("secret", "V9f2Lq0xTz7mKp4RwY1sHb8NcJ6eGd3u\n");
    assert!(
        place
            .run("keys import secret --as HS256")
            .done()
            .contains("(HS256, for access tokens)")
    );
    assert!(
        place
            .run("keys import secret --use refresh")
            .refused(1)
            .ends_with("is there already")
    );
    place.write("short", "0123456789abcdef\n");
    for (words, reason) in [
        ("weak.pem", "holds an RSA key of fewer than 2048 bits"),
        (
            "public.pem",
            "holds a public key, and no private key: give the file with the private key",
        ),
        (
            "ed.pem --as ES256",
            "does not hold a private key for ES256 (PKCS#8)",
        ),
        (
            "short --as HS256",
            "holds a secret of 16 bytes: HS256 needs at least 32",
        ),
        ("nowhere.pem", "No such file or directory (os error 2)"),
    ] {
        let line = place
            .run(&format!("keys import {words}"))
            .refused(1)
            .to_owned();
        assert!(
            line.starts_with(&format!("{}: {reason}", words.split(' ').next().unwrap())),
            "{line}"
        );
    }
    assert_eq!(list(&place).len(), 5);
}

#[test]
fn public_parts_are_printed_and_nothing_else() {
    let place = Place::new();
    let line = place
        .run("keys export --public --format pem")
        .refused(1)
        .to_owned();
    assert!(line.starts_with("there is no public key"), "{line}");
    assert_eq!(
        place.run("keys export --public").json(),
        json!({"keys": []})
    );
    assert!(place.serve("").stop("TERM").0.success());
    let (access, refresh) = (
        kid(&place, &json!({"use": "access"})),
        kid(&place, &json!({"use": "refresh"})),
    );
    let set = place.run("keys export --public").json();
    assert_eq!(
        (
            set["keys"].as_array().unwrap().len(),
            &set["keys"][0]["kid"]
        ),
        (1, &json!(access))
    );
    assert_eq!(
        place
            .run(&format!("keys export --public --kid {access}"))
            .json(),
        set["keys"][0]
    );
    assert!(set["keys"][0].get("d").is_none(), "{set}");
    let pem = place
        .run("keys export --public --format pem")
        .done()
        .to_owned();
    assert!(
        pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && !pem.contains("PRIVATE"),
        "{pem}"
    );
    for format in ["jwk", "pem"] {
        let outcome = place.run(&format!(
            "keys export --public --kid {refresh} --format {format}"
        ));
        assert!(outcome.refused(1).starts_with("there is no public key"));
    }
    assert!(
        place
            .run("keys export --public --kid nobody")
            .refused(1)
            .starts_with("there is no key nobody")
    );
    assert_eq!(place.run("keys export").code, Some(2), "without --public");
}
