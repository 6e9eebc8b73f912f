//! Private keys as JSON Web Keys.

use serde_json::{Value, json};

use super::keys_foreign::{Workshop, imported, refused};

/// Examples of RFC 7517 (appendix A.2), RFC 7515 (appendix A.3) and RFC 8037 (appendix A.1).
#[test]
fn json_web_key_is_read_alone_and_in_a_set() {
    let ec = json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI" });
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let workshop = Workshop::new();
    let with = |key: &Value, changes: &[(&str, Value)]| {
        let mut key = key.clone();
        for (name, value) in changes {
            key[*name] = value.clone();
        }
        key
    };
    let public = |key: &Value| {
        let mut key = key.clone();
        key.as_object_mut().unwrap().remove("d");
        key
    };
    for (document, algorithm) in [
        (ec.clone(), "ES256"),
        (ed.clone(), "EdDSA"),
        (json!({ "keys": [public(&ec), ed] }), "EdDSA"),
        (
            json!([with(&ec, &[("alg", json!("ES256")), ("use", json!("sig"))])]),
            "ES256",
        ),
    ] {
        workshop.write("key", document.to_string());
        let (kid, found) = imported(&workshop.path("key"), &[]);
        assert_eq!(found, algorithm);
        if algorithm == "EdDSA" {
            assert_eq!(
                kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "RFC 8037, appendix A.3"
            );
        }
    }
    for (document, what) in [
        (
            json!({ "keys": [public(&ec), public(&ed)] }),
            "holds a public key (JWK)",
        ),
        (json!({ "keys": [ec, ed] }), "holds 2 private keys"),
        (
            with(&ec, &[("y", json!("AAAA"))]),
            "holds a JWK with a missing or damaged member",
        ),
        (
            with(&ec, &[("crv", json!("P-521"))]),
            "holds a key of type P-521",
        ),
        (
            json!({ "kty": "oct", "k": "AAAA" }),
            "holds a shared secret (JWK): give its algorithm, such as --as HS256",
        ),
        (
            json!({ "kty": "RSA", "n": "AQ", "e": "AQAB", "d": "AQ" }),
            "holds an RSA key (JWK) without p, q",
        ),
    ] {
        workshop.write("key", document.to_string());
        let line = refused(&workshop.path("key"), &[]);
        assert!(line.starts_with(what), "{line}");
    }
    // Secret as bytes and as a JWK.
    workshop
        .run("openssl rand -out secret 48; base64 -w0 secret | tr '+/' '-_' | tr -d = >encoded");
    workshop.write(
        "key",
        json!({ "kty": "oct", "k": workshop.text("encoded") }).to_string(),
    );
    let flags = ["--as", "HS256"];
    assert_eq!(
        imported(&workshop.path("key"), &flags),
        imported(&workshop.path("secret"), &flags)
    );
}

/// The JWK consists of the eight numbers that `openssl rsa -text` prints.
#[test]
fn rsa_key_as_a_json_web_key_is_the_same_key() {
    let workshop = Workshop::new();
    workshop.run("openssl genrsa -traditional -out key 2048");
    let script = "import base64, json, re, subprocess\n\
        text = subprocess.run(['openssl', 'rsa', '-in', 'key', '-noout', '-text'], capture_output=True, text=True).stdout\n\
        names = {'modulus': 'n', 'privateExponent': 'd', 'prime1': 'p', 'prime2': 'q', 'exponent1': 'dp', 'exponent2': 'dq', 'coefficient': 'qi'}\n\
        key = {'kty': 'RSA', 'e': 'AQAB', 'alg': 'PS384'}\n\
        for name, digits in re.findall(r'^(\\w+):\\n((?:    [0-9a-f:]+\\n)+)', text, re.M):\n\
        \x20   number = bytes.fromhex(re.sub(r'[^0-9a-f]', '', digits)).lstrip(b'\\0')\n\
        \x20   key[names[name]] = base64.urlsafe_b64encode(number).decode().rstrip('=')\n\
        json.dump(key, open('key.json', 'w'))\n";
    workshop
        .write("convert.py", script)
        .run("python3 convert.py");
    let (kid, algorithm) = imported(&workshop.path("key.json"), &[]);
    assert_eq!(
        (kid, algorithm.as_str()),
        (imported(&workshop.path("key"), &[]).0, "PS384")
    );
}
