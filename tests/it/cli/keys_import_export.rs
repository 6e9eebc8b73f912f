//! Tests of `keys import` and `keys export`.

use serde_json::json;

use super::keys::{kid, list, second};
use latchkey_testkit::Place;

const ED25519: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/ed25519_test_key.pem");
const P256_PUBLIC: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/p256_public_test_key.pem");
const P256_SCRYPT: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/p256_scrypt_test_key.pem");
const RSA: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/rsa2048_pkcs1_test_key.pem");
const RSA_WEAK: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/rsa1024_pkcs1_test_key.pem");

#[test]
fn import_accepts_only_valid_keys() {
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
    let printed = place
        .run("keys import rsa.pem --as PS256")
        .done()
        .to_owned();
    assert!(
        printed.starts_with("imported ")
            && printed.contains("(PS256, for access tokens): it signs from "),
        "{printed}"
    );
    assert!(
        printed.contains("\nset LATCHKEY_ALGORITHM=PS256 for the servers"),
        "{printed}"
    );
    assert!(
        printed.contains("\nrsa.pem is no longer needed: remove it"),
        "{printed}"
    );
    let kid = second(&printed);
    assert_eq!(
        place.run("keys import rsa.pem").refused(1),
        format!("the key {kid} already exists")
    );
    assert!(
        place
            .run("keys import ed.pem --now")
            .done()
            .contains("after every instance has read it")
    );

    place.write("encrypted.pem", P256_SCRYPT);
    let line = place.run("keys import encrypted.pem").refused(1).to_owned();
    assert!(
        line.starts_with("the key file encrypted.pem is encrypted: "),
        "{line}"
    );
    place.write("wrong", "no passphrase of this key");
    let line = place
        .run("keys import encrypted.pem --passphrase-file wrong")
        .refused(1)
        .to_owned();
    assert!(line.starts_with("the key file encrypted.pem "), "{line}");
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
            .ends_with("already exists")
    );
    place.write("short", "0123456789abcdef\n");
    for (words, reason) in [
        ("weak.pem", "holds an RSA key of fewer than 2048 bits"),
        (
            "public.pem",
            "holds a public key and no private key: pass the file with the private key",
        ),
        (
            "ed.pem --as ES256",
            "does not hold a private key for ES256 (PKCS#8)",
        ),
        (
            "short --as HS256",
            "holds a secret of 16 bytes: HS256 needs at least 32",
        ),
        (
            "nowhere.pem",
            "cannot be read (No such file or directory (os error 2))",
        ),
    ] {
        let line = place
            .run(&format!("keys import {words}"))
            .refused(1)
            .to_owned();
        assert!(
            line.starts_with(&format!(
                "the key file {} {reason}",
                words.split(' ').next().unwrap()
            )),
            "{line}"
        );
    }
    assert_eq!(list(&place).len(), 5);
}

#[test]
fn export_prints_only_public_keys() {
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
