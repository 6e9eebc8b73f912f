//! Verifying keys, and the bounded set of them that a `kid` is looked up in.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use curve25519_dalek::edwards::CompressedEdwardsY;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use crate::{Algorithm, Family, Kind, json, roca};

/// A set holds no more keys than this.
pub const MAX_KEYS: usize = 128;

/// The shortest RSA modulus in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// The longest that the signature check takes. Checking grows with the length, so there is an end to it.
const MAX_RSA_BITS: usize = 8192;
/// The longest public exponent in bits; 65537 has 17.
const MAX_RSA_EXPONENT_BITS: usize = 33;

/// Why a key or a key set was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Two keys have one `kid`.
    #[error("two keys have the kid {0}")]
    DuplicateKid(String),
    /// The text is not a JSON Web Key Set (RFC 7517, section 5).
    #[error("not a JSON Web Key Set")]
    NotAKeySet,
    /// The members of the key do not make a key for its algorithm.
    #[error("the key {0} is not a usable public key for its algorithm")]
    NotAPublicKey(String),
    /// A private or secret member stands in a set that is meant to be public.
    #[error("the key {0} carries a private member: a published key set must not")]
    PrivateMember(String),
    /// The RSA key was made by a generator whose keys can be factored (ROCA, CVE-2017-15361).
    #[error(
        "the RSA key {0} was made by a broken generator and can be factored (ROCA, CVE-2017-15361): replace it"
    )]
    RocaRsa(String),
    /// The secret is shorter than the hash of its algorithm (RFC 7518, section 3.2).
    #[error("a secret for {algorithm} needs at least {least} bytes")]
    ShortSecret {
        /// The algorithm it was meant for.
        algorithm: Algorithm,
        /// The least number of bytes.
        least: usize,
    },
    /// More than [`MAX_KEYS`].
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    /// The RSA modulus has fewer than 2048 bits.
    #[error("the RSA key {0} has fewer than {MIN_RSA_BITS} bits")]
    WeakRsa(String),
}

/// One key: material, the one algorithm that it is for, and the one kind of token that it signs.
#[derive(Clone)]
pub struct VerifyingKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: Kind,
    material: Material,
}

/// What a signature is checked with, prepared once instead of at each check.
#[derive(Clone)]
enum Material {
    /// A point on a curve.
    Point(ParsedPublicKey),
    /// The two numbers, which cost nothing to take up.
    Rsa(DecodingKey),
    /// Behind a pointer for its size.
    Secret(Arc<hmac::Key>),
}

impl VerifyingKey {
    /// A shared secret.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`]; [`KeyError::NotAPublicKey`] when `algorithm` is not an HMAC one.
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

    /// A public key for access tokens, from the members of a JWK (RFC 7517, RFC 7518 section 6, RFC 8037).
    ///
    /// # Errors
    /// When the members are private, weak, or make no key for `algorithm`.
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
            Family::Okp => ed25519(&number("x")?).map(Material::Point),
            Family::Rsa => {
                let (n, e) = (number("n")?, number("e")?);
                if bits(&n) < MIN_RSA_BITS {
                    return Err(KeyError::WeakRsa(kid.to_owned()));
                }
                if roca::is_marked(&n) {
                    return Err(KeyError::RocaRsa(kid.to_owned()));
                }
                rsa(&n, &e).map(Material::Rsa)
            }
        };
        Ok(Self {
            algorithm,
            kind: Kind::Access,
            material: material.ok_or_else(unusable)?,
        })
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn verifies(&self, signature: &[u8], message: &[u8]) -> bool {
        match &self.material {
            Material::Point(key) => key.verify_sig(message, signature).is_ok(),
            Material::Rsa(key) => {
                let signature = URL_SAFE_NO_PAD.encode(signature);
                matches!(
                    jsonwebtoken::crypto::verify(&signature, message, key, self.algorithm.rsa()),
                    Ok(true)
                )
            }
            // Of the whole MAC, in constant time.
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

/// `kty` and `crv` of a key for this algorithm (RFC 7518, section 6; RFC 8037, section 2).
const fn kind_of_key(algorithm: Algorithm) -> (&'static str, Option<&'static str>) {
    match algorithm.family() {
        Family::Ec if matches!(algorithm, Algorithm::Es384) => ("EC", Some("P-384")),
        Family::Ec => ("EC", Some("P-256")),
        Family::Hmac => ("oct", None),
        Family::Okp => ("OKP", Some("Ed25519")),
        Family::Rsa => ("RSA", None),
    }
}

/// A point with coordinates of full length (RFC 7518, section 6.2.1.2) that lies on the curve: one that does not
/// would make no error here and refuse each token later.
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

/// Decodes a point of Ed25519 in its canonical encoding (RFC 8032, section 5.1.3). The eight points of small order are
/// refused: under such a key, one signature is valid for every message, and anyone can compute it.
fn ed25519(x: &[u8]) -> Option<ParsedPublicKey> {
    let spelling = CompressedEdwardsY::from_slice(x).ok()?;
    let point = spelling.decompress()?;
    if point.is_small_order() || point.compress() != spelling {
        return None;
    }
    ParsedPublicKey::new(&ED25519, x).ok()
}

/// Both without leading zeros (RFC 7518, section 2), the exponent odd and not 1: with 1 anybody can sign.
fn rsa(n: &[u8], e: &[u8]) -> Option<DecodingKey> {
    let plain = [n, e]
        .iter()
        .all(|number| number.first().is_some_and(|first| *first != 0));
    let odd = [n, e]
        .iter()
        .all(|number| number.last().is_some_and(|last| last % 2 == 1));
    let bounded = bits(n) <= MAX_RSA_BITS && (2..=MAX_RSA_EXPONENT_BITS).contains(&bits(e));
    (plain && odd && bounded).then(|| DecodingKey::from_rsa_raw_components(n, e))
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

/// What `use` and `key_ops` say, where they are there (RFC 7517, sections 4.2 and 4.3).
fn is_for_verifying(jwk: &Value) -> bool {
    let verifies = |operations: &Value| {
        operations
            .as_array()
            .is_some_and(|list| list.contains(&"verify".into()))
    };
    jwk.get("use").is_none_or(|purpose| purpose == "sig") && jwk.get("key_ops").is_none_or(verifies)
}

/// Keys by `kid`. A `kid` is an opaque string: looked up here and nowhere else (RFC 8725, section 3.10).
#[derive(Clone, Default)]
pub struct KeySet(HashMap<Arc<str>, VerifyingKey>);

impl KeySet {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The usable keys of a published set (RFC 7517, section 5). Keys without a `kid`, for something else than
    /// signatures, or for an algorithm that this crate does not know are passed over, as that section asks.
    ///
    /// # Errors
    /// When the text is not a key set, or one of the keys that are meant for us is unusable, weak or private.
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
            if is_for_verifying(jwk) {
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

    /// The key, and the `kid` to keep: the tokens of a key share it.
    pub(crate) fn find(&self, kid: &str) -> Option<(&Arc<str>, &VerifyingKey)> {
        self.0.get_key_value(kid)
    }
}

#[cfg(test)]
#[path = "wycheproof_tests.rs"]
mod tests;
