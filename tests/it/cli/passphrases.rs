//! Passphrases of keys at rest: only strong ones are accepted, and each guess is costly.

use std::fs;

use serde_json::json;

use super::keys::kid;
use latchkey_testkit::Place;

const GOOD: &str = "3Vp6mVwG1rY0q7Jr4l7E2wXk";

const WEAK: &str = "correct horse battery staple";

/// Key that OpenSSL encrypted with [`WEAK`].
const OLD: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/p256_scrypt_test_key.pem");

/// DER of the scrypt parameters: INTEGER 2^17, INTEGER 8, INTEGER 1.
const NEW_COST: &[u8] = &[2, 3, 2, 0, 0, 2, 1, 8, 2, 1, 1];

fn has_cost(place: &Place, name: &str, cost: &[u8]) -> bool {
    pem(&fs::read_to_string(place.path(name)).unwrap())
        .windows(cost.len())
        .any(|part| part == cost)
}

fn place(passphrase: &str) -> Place {
    let place = Place::new().with("LATCHKEY_KEYS_PASSPHRASE_FILE", "passphrase");
    place.write("passphrase", passphrase);
    place
}

#[test]
fn guessable_passphrase_is_refused_with_the_remedy() {
    for weak in [
        "correct horse battery staple",
        "passwordpassword",
        "0123456789abcdef",
        "changeme changeme",
        "qwertyuiopasdfgh\n",
    ] {
        let outcome = place(weak).run("serve --bind 127.0.0.1:0");
        let line = outcome.refused(2);
        assert!(
            line.starts_with(
                "LATCHKEY_KEYS_PASSPHRASE_FILE: passphrase holds a passphrase that can be guessed"
            ),
            "{line}"
        );
        assert!(
            line.contains("openssl rand -base64 32") && line.contains("latchkey keys rewrap"),
            "{line}"
        );
        assert!(!line.contains(weak.trim()), "{line}");
    }
}

/// Older versions created such keys: a guessable passphrase, at N = 2^14.
#[test]
fn key_under_a_weak_passphrase_is_revoked_or_rewrapped() {
    let folder = Place::new();
    folder.write("foreign", OLD);
    folder.write("weak", WEAK);
    folder
        .run("keys import foreign --passphrase-file weak")
        .done();
    let created = kid(&folder, &json!({"use": "access"}));

    let place = place(WEAK);
    let name = format!("keys/20260131T120000Z-access-ES256-{created}.pem");
    place.write(&name, OLD);
    place.write("new", GOOD);
    place.write("also-weak", "passwordpassword1");
    assert!(
        place
            .run("serve --bind 127.0.0.1:0")
            .refused(2)
            .contains("can be guessed")
    );
    assert!(
        place
            .run("keys rotate")
            .refused(2)
            .contains("can be guessed")
    );
    assert!(
        place
            .run("keys rewrap --new-passphrase-file also-weak")
            .refused(2)
            .contains("can be guessed")
    );
    assert!(!has_cost(&place, &name, NEW_COST));
    assert!(
        place
            .run("keys rewrap --new-passphrase-file new")
            .done()
            .starts_with("encrypted 1 key")
    );
    assert!(
        has_cost(&place, &name, NEW_COST),
        "new files cost N = 2^17, r = 8, p = 1"
    );
    fs::rename(place.path("new"), place.path("passphrase")).unwrap();
    assert_eq!(
        place.run("keys list --json").json()[0]["kid"],
        created.as_str()
    );

    // A weak passphrase does not prevent a revocation either.
    place.write("passphrase", WEAK);
    place.write(&name, OLD);
    place.run(&format!("keys revoke {created}"));
    assert!(
        place.files().contains(&name.replace(".pem", ".revoked")),
        "{:?}",
        place.files()
    );
}

/// The key is PKCS#8 with scrypt at N = 2^22. It is refused before the derivation. Unit tests cover
/// more cases.
#[test]
fn planted_key_that_needs_gigabytes_is_refused() {
    let place = place(GOOD);
    drop(place.serve(""));
    let access = place
        .files()
        .into_iter()
        .find(|name| name.contains("-access-"))
        .unwrap();
    let mut planted = pem(&fs::read_to_string(place.path(&access)).unwrap());
    let at = planted
        .windows(NEW_COST.len())
        .position(|part| part == NEW_COST)
        .unwrap();
    // INTEGER 2^22 and INTEGER 8 need 4 GiB. They have the length of the original, so enclosing
    // lengths stay valid.
    planted[at..at + 5].copy_from_slice(&[2, 3, 0x40, 0, 0]);
    place.write(&access, &encode(&planted));
    let outcome = place.run("serve --bind 127.0.0.1:0");
    let line = outcome.refused(2);
    assert!(
        line.contains("takes more memory or time to decrypt than allowed"),
        "{line}"
    );
}

fn pem(text: &str) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    STANDARD.decode(body).unwrap()
}

fn encode(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body = STANDARD.encode(bytes);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----\n",
        lines.join("\n")
    )
}
