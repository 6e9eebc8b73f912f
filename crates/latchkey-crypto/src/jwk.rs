//! Public keys as JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037), and their thumbprints
//! (RFC 7638).

use std::collections::BTreeMap;

use aws_lc_rs::{
    digest::{Context, SHA256},
    signature::{KeyPair as _, RsaPublicKeyComponents},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{Jwk, ThumbprintHash},
};
use latchkey_verifier::Algorithm;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::key_pair::Pair;

/// Returns the `kid`: the SHA-256 thumbprint in base64url.
pub(super) fn thumbprint(pair: &Pair) -> Option<String> {
    match pair {
        Pair::Hmac { secret, .. } => Some(thumbprint_of_secret(secret)),
        pair => members(pair)?.thumbprint(ThumbprintHash::SHA256).ok(),
    }
}

/// Returns the thumbprint of a shared secret, which reveals no more than a token signed with it.
/// `jsonwebtoken` would leave copies of the secret in memory.
fn thumbprint_of_secret(secret: &[u8]) -> String {
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret));
    let mut hash = Context::new(&SHA256);
    for piece in [r#"{"k":""#, &encoded, r#"","kty":"oct"}"#] {
        hash.update(piece.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finish())
}

/// Returns the public JWK, or `None` for a shared secret. The order of its members is fixed,
/// because the entity tag of the key set depends on it: first the required ones, as in a
/// thumbprint.
pub(super) fn public(pair: &Pair, algorithm: Algorithm, kid: &str) -> Option<Value> {
    let required = serde_json::to_value(members(pair)?).ok()?;
    let required: BTreeMap<String, Value> = serde_json::from_value(required).ok()?;
    let mut jwk: Map<String, Value> = required.into_iter().collect();
    for (name, value) in [("alg", algorithm.name()), ("kid", kid), ("use", "sig")] {
        jwk.insert(name.to_owned(), value.into());
    }
    Some(Value::Object(jwk))
}

/// Returns the required members of the public JWK, or `None` for a shared secret.
fn members(pair: &Pair) -> Option<Jwk> {
    let key = match pair {
        // Despite its name, the constructor receives the uncompressed point.
        Pair::Ec(pair) => DecodingKey::from_ec_der(pair.public_key().as_ref()),
        Pair::Ed(pair) => DecodingKey::from_ed_der(pair.public_key().as_ref()),
        Pair::Hmac { .. } => return None,
        Pair::Rsa { pair, .. } => {
            let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            DecodingKey::from_rsa_raw_components(&public.n, &public.e)
        }
    };
    Jwk::from_decoding_key(&key, None).ok()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
    use serde_json::json;

    use super::{URL_SAFE_NO_PAD, thumbprint_of_secret};
    use base64::Engine as _;

    fn thumbprint(jwk: serde_json::Value) -> String {
        let jwk: Jwk = serde_json::from_value(jwk).unwrap();
        jwk.thumbprint(ThumbprintHash::SHA256).unwrap()
    }

    #[test]
    fn thumbprint_matches_the_examples_of_the_rfcs() {
        // RFC 7638, section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(
            thumbprint(json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256" })),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        // The key of RFC 7515, appendix A.3, which has no thumbprint there. It was computed apart.
        let (x, y) = (
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        );
        assert_eq!(
            thumbprint(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })),
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
        // RFC 8037, appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(
            thumbprint(json!({ "kty": "OKP", "crv": "Ed25519", "x": x })),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn thumbprint_of_a_secret_equals_that_of_its_jwk() {
        let secret = [0xfb; 48];
        let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret) });
        assert_eq!(thumbprint_of_secret(&secret), thumbprint(jwk));
    }
}
