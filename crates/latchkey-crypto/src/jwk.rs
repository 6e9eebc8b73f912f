//! Public keys as JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037), and their thumbprints
//! (RFC 7638).

use aws_lc_rs::{
    digest::{Context, SHA256},
    signature::{KeyPair as _, RsaPublicKeyComponents},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_verifier::Algorithm;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::key_pair::Pair;

/// Returns the required members in RFC 7638's order. Those of a shared secret are secret: see
/// [`thumbprint`].
pub(super) fn members(pair: &Pair) -> Vec<(&'static str, Zeroizing<String>)> {
    let text = |text: &str| Zeroizing::new(text.to_owned());
    let encode = |bytes: &[u8]| Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes));
    match pair {
        Pair::Ec { pair, crv } => {
            // Uncompressed point: the byte 4, then x and y of equal length (SEC 1, section 2.3.3).
            let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
            let (x, y) = point.split_at(point.len() / 2);
            vec![
                ("crv", text(crv)),
                ("kty", text("EC")),
                ("x", encode(x)),
                ("y", encode(y)),
            ]
        }
        Pair::Ed(pair) => {
            vec![
                ("crv", text("Ed25519")),
                ("kty", text("OKP")),
                ("x", encode(pair.public_key().as_ref())),
            ]
        }
        Pair::Hmac { secret, .. } => vec![("k", encode(secret)), ("kty", text("oct"))],
        Pair::Rsa { pair, .. } => {
            let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            vec![
                ("e", encode(&public.e)),
                ("kty", text("RSA")),
                ("n", encode(&public.n)),
            ]
        }
    }
}

/// Returns the SHA-256 of the members in base64url: the `kid`. That of a secret reveals no more
/// than a token signed with it.
pub(super) fn thumbprint(members: &[(&'static str, Zeroizing<String>)]) -> String {
    // Hashed piece by piece, to avoid another copy of a secret.
    let mut hash = Context::new(&SHA256);
    for (index, (name, value)) in members.iter().enumerate() {
        for piece in [
            if index == 0 { "{\"" } else { ",\"" },
            name,
            "\":\"",
            value,
            "\"",
        ] {
            hash.update(piece.as_bytes());
        }
    }
    hash.update(b"}");
    URL_SAFE_NO_PAD.encode(hash.finish())
}

/// Returns the public JWK, or `None` for a shared secret.
pub(super) fn public(pair: &Pair, algorithm: Algorithm, kid: &str) -> Option<Value> {
    if matches!(pair, Pair::Hmac { .. }) {
        return None;
    }
    let mut jwk: Map<String, Value> = members(pair)
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::String(value.to_string())))
        .collect();
    for (name, value) in [("alg", algorithm.name()), ("kid", kid), ("use", "sig")] {
        jwk.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Some(Value::Object(jwk))
}

#[cfg(test)]
mod tests {
    use super::thumbprint;

    #[test]
    fn thumbprint_matches_the_example_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let members = [("e", "AQAB"), ("kty", "RSA"), ("n", n)]
            .map(|(name, value)| (name, value.to_owned().into()));
        assert_eq!(
            thumbprint(&members),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }
}
