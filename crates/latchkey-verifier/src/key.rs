//! Verifying keys, and the bounded set of them that a `kid` is looked up in.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, jwk::Jwk};
use serde::Deserialize;
use serde_json::Value;

use crate::{Algorithm, Family, Kind};

/// A set holds no more keys than this.
pub const MAX_KEYS: usize = 128;

/// The shortest RSA modulus in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;

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
    pub(crate) material: DecodingKey,
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
        Ok(Self { algorithm, kind, material: DecodingKey::from_secret(secret) })
    }

    /// A public key for access tokens, from the members of a JWK (RFC 7517, RFC 7518 section 6, RFC 8037).
    ///
    /// # Errors
    /// When the members are private, weak, or make no key for `algorithm`.
    pub fn from_jwk(algorithm: Algorithm, kid: &str, jwk: &Value) -> Result<Self, KeyError> {
        let unusable = || KeyError::NotAPublicKey(kid.to_owned());
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        if ["d", "k", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|name| jwk.get(name).is_some()) {
            return Err(KeyError::PrivateMember(kid.to_owned()));
        }
        let fits = match algorithm {
            Algorithm::Es256 => member("kty") == Some("EC") && member("crv") == Some("P-256"),
            Algorithm::Es384 => member("kty") == Some("EC") && member("crv") == Some("P-384"),
            Algorithm::EdDsa => member("kty") == Some("OKP") && member("crv") == Some("Ed25519"),
            _ => algorithm.family() == Family::Rsa && member("kty") == Some("RSA"),
        };
        if !fits {
            return Err(unusable());
        }
        for (name, length) in coordinates(algorithm) {
            if bytes(member(name)).is_none_or(|bytes| bytes.len() != *length) {
                return Err(unusable());
            }
        }
        if algorithm.family() == Family::Rsa {
            let modulus = bytes(member("n")).ok_or_else(unusable)?;
            if bits(&modulus) < MIN_RSA_BITS {
                return Err(KeyError::WeakRsa(kid.to_owned()));
            }
        }
        let parsed: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| unusable())?;
        let material = DecodingKey::from_jwk(&parsed).map_err(|_| unusable())?;
        Ok(Self { algorithm, kind: Kind::Access, material })
    }
}

/// The members of fixed length, in bytes.
const fn coordinates(algorithm: Algorithm) -> &'static [(&'static str, usize)] {
    match algorithm {
        Algorithm::Es256 => &[("x", 32), ("y", 32)],
        Algorithm::Es384 => &[("x", 48), ("y", 48)],
        Algorithm::EdDsa => &[("x", 32)],
        _ => &[],
    }
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

/// Keys by `kid`. A `kid` is an opaque string: looked up here and nowhere else (RFC 8725, section 3.10).
#[derive(Clone, Default)]
pub struct KeySet(HashMap<String, VerifyingKey>);

impl KeySet {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The usable keys of a published set (RFC 7517, section 5). Keys without a `kid`, for encryption, or for an
    /// algorithm that this crate does not know are passed over, as that section asks.
    ///
    /// # Errors
    /// When the text is not a key set, or one of the keys that are meant for us is unusable, weak or private.
    pub fn from_jwks(text: &str) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_str(text).map_err(|_| KeyError::NotAKeySet)?;
        let mut set = Self::new();
        for jwk in document.keys {
            let member = |name: &str| jwk.get(name).and_then(Value::as_str);
            let (Some(kid), Some(Ok(algorithm))) = (member("kid"), member("alg").map(str::parse::<Algorithm>)) else {
                continue;
            };
            if member("use").is_some_and(|purpose| purpose != "sig") {
                continue;
            }
            set.insert(kid, VerifyingKey::from_jwk(algorithm, kid, &jwk)?)?;
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
        self.0.insert(kid.to_owned(), key);
        Ok(())
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }
}
