//! One key that signs: prepared once, so that no signature parses it again.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, RsaEncoding, RsaKeyPair,
    },
};
use latchkey_verifier::{Algorithm, Family, KeyError, Kind, VerifyingKey};
use pem::Pem;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{jwk, random};

const PKCS8: &str = "PRIVATE KEY";
const SECRET: &str = "LATCHKEY SHARED SECRET";

/// The private part, ready to sign.
pub(super) enum Pair {
    Ec { pair: Box<EcdsaKeyPair>, crv: &'static str },
    Ed(Ed25519KeyPair),
    Hmac { key: Box<hmac::Key>, secret: Zeroizing<Vec<u8>> },
    Rsa { pair: Box<RsaKeyPair>, encoding: &'static dyn RsaEncoding },
}

/// A key with its algorithm and the one kind of token that it signs.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    kind: Kind,
    pair: Pair,
}

/// Why key material was not taken. The texts follow the name of a file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MaterialError {
    /// Not PEM, or not the PEM that the algorithm needs.
    #[error("is not a PEM file with one \"{0}\" block")]
    Label(&'static str),
    /// The block is not a key for the algorithm.
    #[error("does not hold a private key for {0} (PKCS#8)")]
    NotForAlgorithm(Algorithm),
    /// A new key could not be made.
    #[error("could not be made: the operating system gave no randomness")]
    Generate,
    /// An RSA key whose public half betrays the private one.
    #[error("holds an RSA key that was made by a broken generator and can be factored (ROCA, CVE-2017-15361)")]
    RocaRsa,
    /// Too short a secret.
    #[error("holds a secret of {got} bytes: {algorithm} needs at least {least}")]
    ShortSecret {
        /// What it is for.
        algorithm: Algorithm,
        /// What it has.
        got: usize,
        /// What it needs.
        least: usize,
    },
    /// Too small an RSA key.
    #[error("holds an RSA key of fewer than 2048 bits")]
    WeakRsa,
}

impl SigningKey {
    /// A new key, and the PEM text to keep it in.
    ///
    /// # Errors
    /// [`MaterialError::Generate`].
    pub fn generate(algorithm: Algorithm, kind: Kind) -> Result<(Self, Zeroizing<String>), MaterialError> {
        let der = new_material(algorithm).ok_or(MaterialError::Generate)?;
        let block = Pem::new(label(algorithm), der);
        let text = Zeroizing::new(pem::encode(&block));
        drop(Zeroizing::new(block.into_contents()));
        Ok((Self::from_pem(algorithm, kind, &text)?, text))
    }

    /// The key in a PEM text: PKCS#8 for asymmetric algorithms, the bytes of the secret for HMAC.
    ///
    /// # Errors
    /// When it is another kind of key, or a weak one.
    pub fn from_pem(algorithm: Algorithm, kind: Kind, text: &str) -> Result<Self, MaterialError> {
        let label = label(algorithm);
        let mut blocks = pem::parse_many(text).map_err(|_| MaterialError::Label(label))?;
        let block = blocks.pop().filter(|block| block.tag() == label).ok_or(MaterialError::Label(label))?;
        let contents = Zeroizing::new(block.into_contents());
        if !blocks.is_empty() {
            return Err(MaterialError::Label(label));
        }
        let pair = pair(algorithm, &contents)?;
        let kid = jwk::thumbprint(&jwk::members(&pair));
        let key = Self { algorithm, kid, kind, pair };
        // A key whose tokens every verifier refuses must not begin to sign.
        key.verifying_key().map_err(|error| match error {
            KeyError::RocaRsa(_) => MaterialError::RocaRsa,
            _ => MaterialError::NotForAlgorithm(algorithm),
        })?;
        Ok(key)
    }

    /// The one algorithm that it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The kind of token that it signs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The key as a JWKS publishes it; `None` for a shared secret and for a key of refresh tokens.
    #[must_use]
    pub fn public_jwk(&self) -> Option<Value> {
        match self.kind {
            Kind::Access => jwk::public(&self.pair, self.algorithm, &self.kid),
            Kind::Refresh => None,
        }
    }

    /// The other half.
    ///
    /// # Errors
    /// Never for a key that [`Self::from_pem`] returned: it has asked.
    pub fn verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        match &self.pair {
            Pair::Hmac { secret, .. } => VerifyingKey::from_secret(self.algorithm, self.kind, secret),
            pair => {
                let jwk = jwk::public(pair, self.algorithm, &self.kid).unwrap_or_default();
                VerifyingKey::from_jwk(self.algorithm, &self.kid, &jwk)
            }
        }
    }

    /// The JWS signature of `message`: r and s for ECDSA, not DER (RFC 7518, section 3.4).
    ///
    /// # Errors
    /// [`SignatureError`] when the generator of nonces or blinds fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec { pair, .. } => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| SignatureError)
            }
            Pair::Ed(pair) => {
                pair.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(|_| SignatureError)
            }
            Pair::Hmac { key, .. } => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Pair::Rsa { pair, encoding } => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map_err(|_| SignatureError)?;
                Ok(signature)
            }
        }
    }
}

/// Signing failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the signature could not be made")]
pub struct SignatureError;

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm, self.kid)
    }
}

fn label(algorithm: Algorithm) -> &'static str {
    if algorithm.family() == Family::Hmac { SECRET } else { PKCS8 }
}

fn new_material(algorithm: Algorithm) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    match algorithm.family() {
        Family::Ec => {
            let (curve, _) = curve(algorithm);
            Some(EcdsaKeyPair::generate_pkcs8(curve, &random).ok()?.as_ref().to_vec())
        }
        Family::Okp => Some(Ed25519KeyPair::generate_pkcs8v1(&random).ok()?.as_ref().to_vec()),
        Family::Rsa => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
            let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            Some(der.as_ref().to_vec())
        }
        Family::Hmac => Some(random::bytes::<64>().ok()?.to_vec()),
    }
}

fn pair(algorithm: Algorithm, der: &[u8]) -> Result<Pair, MaterialError> {
    let unfit = |_| MaterialError::NotForAlgorithm(algorithm);
    match algorithm.family() {
        Family::Ec => {
            let (curve, crv) = curve(algorithm);
            Ok(Pair::Ec { pair: Box::new(EcdsaKeyPair::from_pkcs8(curve, der).map_err(unfit)?), crv })
        }
        Family::Okp => Ok(Pair::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(unfit)?)),
        Family::Rsa => {
            // The library's only word for a key that is too short, and the only one that is worth passing on.
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|error| match error.to_string().as_str() {
                "TooSmall" => MaterialError::WeakRsa,
                _ => MaterialError::NotForAlgorithm(algorithm),
            })?;
            Ok(Pair::Rsa { pair: Box::new(pair), encoding: encoding(algorithm) })
        }
        Family::Hmac => {
            let least = algorithm.min_secret_length();
            if der.len() < least {
                return Err(MaterialError::ShortSecret { algorithm, got: der.len(), least });
            }
            Ok(Pair::Hmac { key: Box::new(hmac::Key::new(hash(algorithm), der)), secret: Zeroizing::new(der.to_vec()) })
        }
    }
}

fn curve(algorithm: Algorithm) -> (&'static EcdsaSigningAlgorithm, &'static str) {
    match algorithm {
        Algorithm::Es384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
        _ => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
    }
}

fn hash(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

fn encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}
