//! Any text as a key file, for each algorithm. An accepted key works, and `Debug` does not show it.
#![no_main]

use latchkey_crypto::signing_key::SigningKey;
use latchkey_fuzz::{CLAIMS, ISSUER, NOW, encode};
use latchkey_verifier::{Algorithm, Family, KeySet, Kind, Policy, Verifier};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let Some(([choice, wrapped], contents)) = data.split_first_chunk() else {
        return;
    };
    let algorithm = Algorithm::ALL[usize::from(*choice) % Algorithm::ALL.len()];
    let text = if wrapped % 2 == 0 {
        String::from_utf8_lossy(contents).into_owned()
    } else {
        // Base64 hides the key from the fuzzer, so here the input is the bytes of the key.
        let label = if algorithm.family() == Family::Hmac {
            "LATCHKEY SHARED SECRET"
        } else {
            "PRIVATE KEY"
        };
        pem::encode(&pem::Pem::new(label, contents))
    };
    let key = match SigningKey::from_pem(algorithm, Kind::Access, &text) {
        Ok(key) => key,
        Err(error) => {
            assert_eq!(error.to_string().lines().count(), 1);
            return;
        }
    };
    assert_eq!((key.algorithm(), key.kid().len()), (algorithm, 43));
    assert_eq!(
        format!("{key:?}"),
        format!("SigningKey({algorithm} {})", key.kid())
    );

    let mut keys = KeySet::new();
    keys.insert(
        key.kid(),
        key.verifying_key().expect("an accepted key verifies"),
    )
    .expect("the set is empty");
    match key.public_jwk() {
        None => assert_eq!(algorithm.family(), Family::Hmac),
        Some(jwk) => {
            keys = KeySet::from_jwks(&json!({ "keys": [jwk] }).to_string())
                .expect("a published key is usable")
        }
    }
    let header = json!({ "alg": algorithm.name(), "typ": "at+jwt", "kid": key.kid() }).to_string();
    let input = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(CLAIMS.as_bytes())
    );
    let token = format!(
        "{input}.{}",
        encode(&key.sign(input.as_bytes()).expect("an accepted key signs"))
    );
    assert!(
        Verifier::new(keys, Policy::new(ISSUER))
            .verify_access(&token, NOW)
            .is_ok(),
        "{algorithm}"
    );
});
