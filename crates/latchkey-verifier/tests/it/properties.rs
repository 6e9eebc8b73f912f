//! Property tests: no input causes a panic, and only unmodified tokens are accepted.

use std::sync::LazyLock;

use latchkey_verifier::{Algorithm, KeySet, Verifier};
use proptest::prelude::*;
use serde_json::json;

use crate::signer::{NOW, Signer, claims, set};

/// Signer that is fast and deterministic.
static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Hs256));
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| SIGNER.verifier());
static EC: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Es256));

fn is_accepted(token: &str) -> bool {
    VERIFIER.verify_access(token, NOW).is_ok()
}

proptest! {
    #[test]
    fn arbitrary_text_is_refused(text in any::<String>()) {
        prop_assert!(!is_accepted(&text));
    }

    #[test]
    fn arbitrary_segments_are_refused(text in "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,5}") {
        prop_assert!(!is_accepted(&text));
    }

    #[test]
    fn arbitrary_header_with_a_valid_signature_is_refused(header in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(!is_accepted(&SIGNER.signed(&header, claims().to_string().as_bytes())));
    }

    #[test]
    fn arbitrary_payload_with_a_valid_signature_is_refused(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(!is_accepted(&SIGNER.signed(SIGNER.header().to_string().as_bytes(), &payload)));
    }

    #[test]
    fn json_like_text_with_a_valid_signature_is_refused(text in r#"\{("(exp|iat|nbf|iss|aud|sub|jti|alg)":([-0-9.eE]{1,8}|"[a-z\\u]{0,6}"|\[\]|true|null|\{),?){0,6}\}"#) {
        prop_assert!(!is_accepted(&SIGNER.signed(SIGNER.header().to_string().as_bytes(), text.as_bytes())));
        prop_assert!(!is_accepted(&SIGNER.signed(text.as_bytes(), claims().to_string().as_bytes())));
    }

    #[test]
    fn accepted_dates_include_the_present(exp in any::<f64>(), nbf in any::<f64>(), iat in any::<i64>(), now in any::<i64>()) {
        let token = SIGNER.token(&json!({ "exp": exp, "nbf": nbf, "iat": iat }));
        if VERIFIER.verify_access(&token, now).is_ok() {
            // An accepted token has begun and has not ended.
            #[expect(clippy::cast_precision_loss, reason = "compared with dates of the same precision")]
            let (now, iat) = (now as f64, iat as f64);
            prop_assert!(exp > now && nbf.trunc() <= now && iat <= now);
        }
    }

    #[test]
    fn parsing_a_key_set_never_panics(text in any::<String>()) {
        let _ = KeySet::from_jwks(&text);
    }

    #[test]
    fn parsing_a_key_never_panics(
        name in prop::sample::select(vec!["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops"]),
        value in prop_oneof!["[A-Za-z0-9_-]{0,100}".prop_map(|text| json!(text)), any::<i64>().prop_map(|n| json!(n)), Just(json!([{}]))],
        rsa in any::<bool>(),
    ) {
        let mut jwk = if rsa { Signer::new(Algorithm::Rs256) } else { Signer::new(Algorithm::Es256) }.jwk();
        jwk[name] = value;
        let _ = KeySet::from_jwks(&set(&[jwk]));
    }

    #[test]
    fn arbitrary_signature_is_refused(signature in prop::collection::vec(any::<u8>(), 0..160)) {
        let valid = EC.token(&json!({}));
        let (input, _) = valid.rsplit_once('.').unwrap();
        let forged = format!("{input}.{}", crate::signer::encode(&signature));
        prop_assert!(EC.verifier().verify_access(&forged, NOW).is_err());
    }
}

#[test]
fn change_of_one_character_is_refused() {
    let valid = SIGNER.token(&json!({}));
    assert!(is_accepted(&valid));
    for position in 0..valid.len() {
        for other in (0..=127u8).filter(|other| *other != valid.as_bytes()[position]) {
            let mut bytes = valid.clone().into_bytes();
            bytes[position] = other;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!is_accepted(&changed), "{changed}");
        }
        let mut shorter = valid.clone();
        shorter.remove(position);
        assert!(!is_accepted(&shorter), "{shorter}");
        for more in [
            'A', '.', '=', ' ', '\t', '\r', '\n', '\0', '\u{b}', '\u{a0}', '\u{200b}', '!', 'é',
        ] {
            let mut longer = valid.clone();
            longer.insert(position, more);
            assert!(!is_accepted(&longer), "{longer}");
        }
    }
}
