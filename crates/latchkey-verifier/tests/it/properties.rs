//! No bytes bring the verifier down, and nothing but the very token that was signed is accepted.

use std::sync::LazyLock;

use latchkey_verifier::{Algorithm, KeySet, Verifier};
use proptest::prelude::*;
use serde_json::json;

use crate::signer::{KID, NOW, Signer, claims, set};

/// Signs fast, and the same bytes each time.
static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Hs256));
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| SIGNER.verifier());
static EC: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Es256));

fn accepted(token: &str) -> bool {
    VERIFIER.verify_access(token, NOW).is_ok()
}

proptest! {
    #[test]
    fn any_text_is_refused(text in any::<String>()) {
        prop_assert!(!accepted(&text));
    }

    #[test]
    fn any_segments_are_refused(text in "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,5}") {
        prop_assert!(!accepted(&text));
    }

    #[test]
    fn any_header_that_is_rightly_signed_is_refused(header in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(!accepted(&SIGNER.signed(&header, claims().to_string().as_bytes())));
    }

    #[test]
    fn any_payload_that_is_rightly_signed_is_refused(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(!accepted(&SIGNER.signed(SIGNER.header().to_string().as_bytes(), &payload)));
    }

    #[test]
    fn nearly_json_that_is_rightly_signed_is_a_refusal_and_no_crash(text in r#"\{("(exp|iat|nbf|iss|aud|sub|jti|alg)":([-0-9.eE]{1,8}|"[a-z\\u]{0,6}"|\[\]|true|null|\{),?){0,6}\}"#) {
        prop_assert!(!accepted(&SIGNER.signed(SIGNER.header().to_string().as_bytes(), text.as_bytes())));
        prop_assert!(!accepted(&SIGNER.signed(text.as_bytes(), claims().to_string().as_bytes())));
    }

    #[test]
    fn any_date_is_a_verdict(exp in any::<f64>(), nbf in any::<f64>(), iat in any::<i64>(), now in any::<i64>()) {
        let token = SIGNER.token(&json!({ "exp": exp, "nbf": nbf, "iat": iat }));
        if VERIFIER.verify_access(&token, now).is_ok() {
            // Whatever was accepted really ends later and really has begun.
            #[expect(clippy::cast_precision_loss, reason = "compared with dates, which are as coarse")]
            let (now, iat) = (now as f64, iat as f64);
            prop_assert!(exp > now && nbf.trunc() <= now && iat <= now);
        }
    }

    #[test]
    fn any_text_is_a_key_set_or_an_error(text in any::<String>()) {
        let _ = KeySet::from_jwks(&text);
    }

    #[test]
    fn any_members_are_a_key_or_an_error(
        name in prop::sample::select(vec!["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops"]),
        value in prop_oneof!["[A-Za-z0-9_-]{0,100}".prop_map(|text| json!(text)), any::<i64>().prop_map(|n| json!(n)), Just(json!([{}]))],
        rsa in any::<bool>(),
    ) {
        let mut jwk = if rsa { Signer::new(Algorithm::Rs256) } else { Signer::new(Algorithm::Es256) }.jwk();
        jwk[name] = value;
        let _ = KeySet::from_jwks(&set(&[jwk]));
    }

    #[test]
    fn any_bytes_for_a_signature_are_refused(signature in prop::collection::vec(any::<u8>(), 0..160)) {
        let good = EC.token(&json!({}));
        let (input, _) = good.rsplit_once('.').unwrap();
        let forged = format!("{input}.{}", crate::signer::encode(&signature));
        prop_assert!(EC.verifier().verify_access(&forged, NOW).is_err());
    }
}

#[test]
fn any_change_of_one_character_is_refused() {
    let good = SIGNER.token(&json!({}));
    assert!(accepted(&good));
    for position in 0..good.len() {
        for other in (0..=127u8).filter(|other| *other != good.as_bytes()[position]) {
            let mut bytes = good.clone().into_bytes();
            bytes[position] = other;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!accepted(&changed), "{changed}");
        }
        let mut shorter = good.clone();
        shorter.remove(position);
        assert!(!accepted(&shorter), "{shorter}");
        for more in ['A', '.', '=', ' ', '\n', '\0', 'é'] {
            let mut longer = good.clone();
            longer.insert(position, more);
            assert!(!accepted(&longer), "{longer}");
        }
    }
}

#[test]
fn a_key_is_looked_up_by_the_whole_kid() {
    for kid in [
        "", "a", "a-ke", "a-key ", "A-KEY", "a-key\0", "*", "../a-key",
    ] {
        assert!(!accepted(&SIGNER.headed(&json!({ "kid": kid }))), "{kid:?}");
    }
    assert!(accepted(&SIGNER.headed(&json!({ "kid": KID }))));
}
