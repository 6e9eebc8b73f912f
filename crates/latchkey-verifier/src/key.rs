//! Verifying keys, and sets of them.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use curve25519_dalek::edwards::CompressedEdwardsY;
use jsonwebtoken::{DecodingKey, crypto::aws_lc};
use serde_json::Value;

use crate::{Algorithm, Family, Kind, json, roca};

/// Maximum number of keys in a set.
pub const MAX_KEYS: usize = 128;

/// Minimum length of an RSA modulus in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// Maximum length of an RSA modulus in bits. The cost of a verification increases with the length.
const MAX_RSA_BITS: usize = 8192;
/// Maximum length of a public exponent in bits. 65537 has 17.
const MAX_RSA_EXPONENT_BITS: usize = 33;

/// Reason for which a key or a key set is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Two keys have the same `kid`.
    #[error("two keys have the same kid {0}")]
    DuplicateKid(String),
    /// The text is not a JSON Web Key Set (RFC 7517, section 5).
    #[error("not a JSON Web Key Set")]
    NotAKeySet,
    /// The members of the JWK are not a public key for its algorithm.
    #[error("the key {0} is not a usable public key for its algorithm")]
    NotAPublicKey(String),
    /// The set has a private or secret member, although it is meant to be public.
    #[error("the key {0} has a private member, which must not be published")]
    PrivateMember(String),
    /// The RSA key is from a generator whose keys can be factored (ROCA, CVE-2017-15361).
    #[error(
        "the RSA key {0} is from a broken generator and can be factored (ROCA, CVE-2017-15361): replace it"
    )]
    RocaRsa(String),
    /// The secret is shorter than the hash of its algorithm (RFC 7518, section 3.2).
    #[error("a secret for {algorithm} needs at least {least} bytes")]
    ShortSecret {
        /// Algorithm of the secret.
        algorithm: Algorithm,
        /// Minimum length in bytes.
        least: usize,
    },
    /// The set has more than [`MAX_KEYS`] keys.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    /// The RSA modulus has fewer than 2048 bits.
    #[error("the RSA key {0} has fewer than {MIN_RSA_BITS} bits")]
    WeakRsa(String),
}

/// Verifying key with its algorithm and the kind of tokens that it signs.
#[derive(Clone)]
pub struct VerifyingKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: Kind,
    material: Material,
}

/// Key material. It is prepared once where `jsonwebtoken` would prepare it at each verification.
#[derive(Clone)]
enum Material {
    /// Ed25519 or RSA key, which `jsonwebtoken` uses without preparation.
    Plain(DecodingKey),
    /// Point on P-256 or P-384.
    Point(ParsedPublicKey),
    /// HMAC key, boxed because of its size.
    Secret(Arc<hmac::Key>),
}

impl VerifyingKey {
    /// Creates a key from a shared secret.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`]. [`KeyError::NotAPublicKey`] if `algorithm` is not an HMAC
    /// algorithm.
    pub fn from_secret(algorithm: Algorithm, kind: Kind, secret: &[u8]) -> Result<Self, KeyError> {
        if algorithm.family() != Family::Hmac {
            return Err(KeyError::NotAPublicKey("of bytes".to_owned()));
        }
        let least = algorithm.min_secret_length();
        if secret.len() < least {
            return Err(KeyError::ShortSecret { algorithm, least });
        }
        let hash = match algorithm {
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        Ok(Self {
            algorithm,
            kind,
            material: Material::Secret(Arc::new(hmac::Key::new(hash, secret))),
        })
    }

    /// Creates a public key for access tokens from the members of a JWK (RFC 7517, RFC 7518 section
    /// 6, RFC 8037).
    ///
    /// # Errors
    /// The members are private, weak, or not a key for `algorithm`.
    pub fn from_jwk(algorithm: Algorithm, kid: &str, jwk: &Value) -> Result<Self, KeyError> {
        let unusable = || KeyError::NotAPublicKey(kid.to_owned());
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        if ["d", "k", "p", "q", "dp", "dq", "qi", "oth"]
            .iter()
            .any(|name| jwk.get(name).is_some())
        {
            return Err(KeyError::PrivateMember(kid.to_owned()));
        }
        let (kty, crv) = kind_of_key(algorithm);
        if member("kty") != Some(kty) || crv.is_some() && member("crv") != crv {
            return Err(unusable());
        }
        let number = |name| bytes(member(name)).ok_or_else(unusable);
        let material = match algorithm.family() {
            Family::Ec => ec(algorithm, &number("x")?, &number("y")?).map(Material::Point),
            Family::Hmac => None,
            Family::Ed => ed25519(&number("x")?).map(Material::Plain),
            Family::Rsa => {
                let (n, e) = (number("n")?, number("e")?);
                if bits(&n) < MIN_RSA_BITS {
                    return Err(KeyError::WeakRsa(kid.to_owned()));
                }
                if roca::is_from_flawed_generator(&n) {
                    return Err(KeyError::RocaRsa(kid.to_owned()));
                }
                rsa(&n, &e).map(Material::Plain)
            }
        };
        Ok(Self {
            algorithm,
            kind: Kind::Access,
            material: material.ok_or_else(unusable)?,
        })
    }

    /// Returns true if `signature` is a signature of `message` with this key.
    pub(crate) fn verifies(&self, signature: &[u8], message: &[u8]) -> bool {
        match &self.material {
            // The provider is named: that of the process may be another one, or none.
            Material::Plain(key) => {
                let algorithm = self.algorithm.as_jsonwebtoken();
                (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)
                    .is_ok_and(|key| key.verify(message, &signature.to_vec()).is_ok())
            }
            Material::Point(key) => key.verify_sig(message, signature).is_ok(),
            // Compares the whole MAC in constant time.
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

/// Returns `kty` and `crv` of a key for this algorithm (RFC 7518, section 6; RFC 8037, section 2).
fn kind_of_key(algorithm: Algorithm) -> (&'static str, Option<&'static str>) {
    match algorithm.family() {
        Family::Ec if matches!(algorithm, Algorithm::Es384) => ("EC", Some("P-384")),
        Family::Ec => ("EC", Some("P-256")),
        Family::Hmac => ("oct", None),
        Family::Ed => ("OKP", Some("Ed25519")),
        Family::Rsa => ("RSA", None),
    }
}

/// Returns the point with these coordinates. They must have full length (RFC 7518, section
/// 6.2.1.2), and the point must be on the curve. Otherwise all tokens of the key would be refused
/// later.
fn ec(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Option<ParsedPublicKey> {
    let (length, on_curve) = match algorithm {
        Algorithm::Es384 => (48, &ECDSA_P384_SHA384_FIXED),
        _ => (32, &ECDSA_P256_SHA256_FIXED),
    };
    if x.len() != length || y.len() != length {
        return None;
    }
    ParsedPublicKey::new(on_curve, [&[4], x, y].concat()).ok()
}

/// Decodes a point of Ed25519 in its canonical encoding (RFC 8032, section 5.1.3). The eight
/// points of small order are refused: with such a key, one signature is valid for every message,
/// and anyone can compute it.
fn ed25519(x: &[u8]) -> Option<DecodingKey> {
    let encoding = CompressedEdwardsY::from_slice(x).ok()?;
    let point = encoding.decompress()?;
    let usable = !point.is_small_order() && point.compress() == encoding;
    usable.then(|| DecodingKey::from_ed_der(x))
}

/// Returns the key with this modulus and exponent. Neither may have leading zeros (RFC 7518,
/// section 2). The exponent must be odd and greater than 1, because with 1 anyone can sign.
fn rsa(n: &[u8], e: &[u8]) -> Option<DecodingKey> {
    let minimal = [n, e]
        .iter()
        .all(|number| number.first().is_some_and(|first| *first != 0));
    let odd = [n, e]
        .iter()
        .all(|number| number.last().is_some_and(|last| last % 2 == 1));
    let bounded = bits(n) <= MAX_RSA_BITS && (2..=MAX_RSA_EXPONENT_BITS).contains(&bits(e));
    (minimal && odd && bounded).then(|| DecodingKey::from_rsa_raw_components(n, e))
}

fn bytes(member: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(member?).ok()
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match number.get(zeros) {
        Some(first) => (number.len() - zeros) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

/// Returns true unless `use` or `key_ops` exclude verification (RFC 7517, sections 4.2 and 4.3).
fn is_for_verification(jwk: &Value) -> bool {
    let verifies = |operations: &Value| {
        operations
            .as_array()
            .is_some_and(|list| list.contains(&"verify".into()))
    };
    jwk.get("use").is_none_or(|purpose| purpose == "sig") && jwk.get("key_ops").is_none_or(verifies)
}

/// Set of keys by `kid`. A `kid` is an opaque string, which is only used for lookups here (RFC
/// 8725, section 3.10).
#[derive(Clone, Default)]
pub struct KeySet(HashMap<Arc<str>, VerifyingKey>);

impl KeySet {
    /// Returns an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the usable keys of a published set (RFC 7517, section 5). Keys without a `kid`, keys
    /// for other purposes than signatures, and keys for unknown algorithms are ignored, as that
    /// section recommends.
    ///
    /// # Errors
    /// The text is not a key set, or one of the relevant keys is unusable, weak or private.
    pub fn from_jwks(text: &str) -> Result<Self, KeyError> {
        let document = json::object(text.as_bytes()).ok_or(KeyError::NotAKeySet)?;
        let keys = document
            .iter()
            .find_map(|(name, value)| (name == "keys").then_some(value)?.as_array());
        let keys = keys.ok_or(KeyError::NotAKeySet)?;
        let mut set = Self::new();
        for jwk in keys {
            let member = |name: &str| jwk.get(name).and_then(Value::as_str);
            let (Some(kid), Some(Ok(algorithm))) =
                (member("kid"), member("alg").map(str::parse::<Algorithm>))
            else {
                continue;
            };
            if is_for_verification(jwk) {
                set.insert(kid, VerifyingKey::from_jwk(algorithm, kid, jwk)?)?;
            }
        }
        Ok(set)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`KeyError::DuplicateKid`], [`KeyError::TooMany`].
    pub fn insert(&mut self, kid: &str, key: VerifyingKey) -> Result<(), KeyError> {
        if self.0.len() >= MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        if self.0.contains_key(kid) {
            return Err(KeyError::DuplicateKid(kid.to_owned()));
        }
        self.0.insert(kid.into(), key);
        Ok(())
    }

    /// Returns the key and the `kid`, which is shared by all tokens of the key.
    pub(crate) fn find(&self, kid: &str) -> Option<(&Arc<str>, &VerifyingKey)> {
        self.0.get_key_value(kid)
    }
}

#[cfg(test)]
#[path = "wycheproof_tests.rs"]
mod tests;
