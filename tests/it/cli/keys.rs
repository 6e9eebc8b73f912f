//! `latchkey keys`.

use crate::support::Place;

#[test]
fn to_look_at_keys_makes_none() {
    let place = Place::new();
    let none = "there are no keys yet: `latchkey serve` makes them\n";
    assert_eq!(place.run("keys list").done(), none);
    assert_eq!(place.run("keys list --json").json(), serde_json::json!([]));
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[tokio::test]
async fn a_new_key_is_published_first_and_signs_later() {
    let place = Place::new();
    assert!(place.serve("").stop("TERM").0.success());
    let made = place.run("keys generate").done().to_owned();
    let path = made.trim().strip_prefix("made ").unwrap();
    assert_eq!(place.mode(path), 0o600);

    let states = |words: &str| -> Vec<(String, String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let listed = place.run(words).json();
        let keys = listed.as_array().unwrap().iter();
        keys.map(|key| (text(&key["use"]), text(&key["algorithm"]), text(&key["state"]))).collect()
    };
    let key = |r#use: &str, algorithm: &str, state: &str| (r#use.to_owned(), algorithm.to_owned(), state.to_owned());
    let (old, new) = (key("access", "ES256", "signing"), key("access", "ES256", "published"));
    assert_eq!(states("keys list --json"), [old, new, key("refresh", "HS256", "signing")]);
    let retired = key("access", "ES256", "verifying");
    assert_eq!(states("keys list --json --key-publish-lead 0s")[0], retired, "the lead is over");
    // Another algorithm in the settings is no reason to make a key while looking.
    assert_eq!(states("keys list --json --algorithm EdDSA").len(), 3);
    let table = place.run("keys list").done().to_owned();
    assert!(table.starts_with("KID ") && table.contains("published"), "{table}");

    let server = place.serve("");
    let keys = server.get("/.well-known/jwks.json").await.json();
    let kids: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids.len(), 2);
    assert!(kids.iter().any(|kid| path.contains(kid)), "{kids:?} {path}");
}

#[test]
fn each_algorithm_has_a_key_of_its_own() {
    let place = Place::new();
    for algorithm in ["ES256", "ES384", "EdDSA", "RS256", "PS384", "HS512"] {
        let made = place.run(&format!("keys generate --algorithm {algorithm}")).done().to_owned();
        assert!(made.contains(&format!("-access-{algorithm}-")), "{made}");
    }
    assert_eq!(place.run("keys list --json").json().as_array().unwrap().len(), 6);
}

/// A key file that is not right stops everything that would use it, before anything else is made.
#[test]
fn a_key_that_cannot_be_used_is_named_with_what_to_do() {
    let place = Place::new();
    let made = place.run("keys generate").done().to_owned();
    let path = made.trim().strip_prefix("made ").unwrap();
    let refused = |expected: &str| {
        for words in ["serve --bind 127.0.0.1:0", "keys list"] {
            assert_eq!(place.run(words).refused(2), format!("LATCHKEY_KEYS_DIR: {expected}"), "{words}");
        }
        assert!(!place.path("data").exists(), "a database was made");
        let doctor = place.run("doctor");
        assert_eq!(doctor.code, Some(1));
        assert!(doctor.out.contains(&format!("FAIL  keys           {expected}\n")), "{doctor:?}");
    };
    place.chmod(path, 0o640);
    refused(&format!("{path}: the mode is 0640, so others can read the key: run chmod 600 {path}"));
    place.chmod(path, 0o600);
    let good = std::fs::read_to_string(place.path(path)).unwrap();
    place.write(path, "nonsense");
    refused(&format!("{path}: is not a PEM file with one \"PRIVATE KEY\" block"));
    place.write(path, &good.replace("PRIVATE KEY", "EC PRIVATE KEY"));
    refused(&format!("{path}: is not a PEM file with one \"PRIVATE KEY\" block"));

    let other = path.replace("-access-ES256-", "-access-RS256-");
    std::fs::rename(place.path(path), place.path(&other)).unwrap();
    place.write(&other, &good);
    refused(&format!("{other}: does not hold a private key for RS256 (PKCS#8)"));
    std::fs::remove_file(place.path(&other)).unwrap();

    place.write("keys/mine.pem", &good);
    place.chmod("keys/mine.pem", 0o600);
    let line = place.run("keys list").refused(2).to_owned();
    assert!(
        line.starts_with("LATCHKEY_KEYS_DIR: keys/mine.pem: the name is not TIME-access-ALGORITHM-KID.pem"),
        "{line}"
    );
    std::fs::remove_file(place.path("keys/mine.pem")).unwrap();

    // Not readable at all: a directory stands in for it, for a test that may run as root.
    std::fs::create_dir(place.path(path)).unwrap();
    place.chmod(path, 0o700);
    refused(&format!("{path}: Is a directory (os error 21)"));
}
