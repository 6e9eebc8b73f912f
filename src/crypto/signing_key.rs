//! One key that signs: prepared once, so that no signature parses it again.

use std::{borrow::Cow, fmt};

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    signature::KeyPair as _,
};
use latchkey_verifier::{Algorithm, KeyError, Kind, VerifyingKey};
use pem::Pem;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    jwk,
    key_pair::{self, Pair},
    key_pem::{self, Contents},
    passphrase::{self, Passphrase},
    sign::CachedHeader,
};

use crate::domain::keys::KeyMetadata;

/// A key with its algorithm and the one kind of token that it signs.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    kind: Kind,
    header: CachedHeader,
    pair: Pair,
}

/// Why key material was not taken. The texts follow the name of a file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MaterialError {
    /// Encrypted, and nobody said with what.
    #[error("is encrypted: set LATCHKEY_KEYS_PASSPHRASE_FILE to the file with its passphrase")]
    Encrypted,
    /// A foreign file that is encrypted, and nobody said with what.
    #[error("is encrypted: give the file with its passphrase by --passphrase-file")]
    EncryptedImport,
    /// Not PEM, or not the PEM that the algorithm needs.
    #[error("is not a PEM file with one \"{0}\" block")]
    Label(&'static str),
    /// The block is not a key for the algorithm.
    #[error("does not hold a private key for {0} (PKCS#8)")]
    NotForAlgorithm(Algorithm),
    /// What is no secret at all.
    #[error(
        "holds a secret that {0}: expected random bytes, such as what `openssl rand -base64 48` prints"
    )]
    NoSecret(&'static str),
    /// A foreign file without a key that could be taken.
    #[error(
        "holds no private key that can be used: expected one in PEM, of RSA, of the curves P-256 or P-384, or Ed25519"
    )]
    NoPrivateKey,
    /// Encrypted in a way that is not read.
    #[error(
        "is encrypted with an unsupported old scheme: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out \
         NEW (with -provider legacy -provider default for DES, RC2 and RC4)"
    )]
    OldEncryption,
    /// A key of an algorithm or a curve that is not used.
    #[error("holds a key of {0}: expected one of RSA, of the curves P-256 or P-384, or Ed25519")]
    OtherAlgorithm(String),
    /// Something else than a private key, or a private key in a form that is not read.
    #[error("{0}")]
    OtherForm(String),
    /// Which of them is meant is not said.
    #[error("holds {0} private keys: keep one of them in the file")]
    SeveralKeys(usize),
    /// Another key than it was said to be.
    #[error("holds another key than its name says: its kid is {0}")]
    OtherKey(String),
    /// Encrypted with something else.
    #[error(
        "cannot be decrypted with the passphrase that was given: it is another one, or the key is damaged"
    )]
    Passphrase,
    /// A new key could not be made.
    #[error("could not be made: the operating system gave no randomness")]
    Generate,
    /// An RSA key whose public half betrays the private one.
    #[error(
        "holds an RSA key that was made by a broken generator and can be factored (ROCA, CVE-2017-15361)"
    )]
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
    /// Encrypted at an excessive cost, by attack or by mistake.
    #[error(
        "takes more memory or time to decrypt than allowed (256 MiB): it was not written by Latchkey, so remove \
         it"
    )]
    TooMuchWork,
    /// Too small an RSA key.
    #[error("holds an RSA key of fewer than 2048 bits")]
    WeakRsa,
}

impl SigningKey {
    /// A new key, and the PEM text to keep it in, encrypted where there is a passphrase.
    ///
    /// # Errors
    /// [`MaterialError::Generate`].
    pub fn generate(
        algorithm: Algorithm,
        kind: Kind,
        passphrase: Option<&Passphrase>,
    ) -> Result<(Self, SecretString), MaterialError> {
        let der = Zeroizing::new(key_pair::new_material(algorithm).ok_or(MaterialError::Generate)?);
        Self::keep(algorithm, kind, &der, passphrase)
    }

    /// The key of this material, and the PEM text to keep it in, encrypted where there is a passphrase.
    ///
    /// # Errors
    /// When the material is not usable.
    pub fn keep(
        algorithm: Algorithm,
        kind: Kind,
        contents: &[u8],
        passphrase: Option<&Passphrase>,
    ) -> Result<(Self, SecretString), MaterialError> {
        let key = Self::from_contents(algorithm, kind, contents)?;
        Ok((key, key_pem::write(algorithm, contents, passphrase)?))
    }

    /// The key in a PEM text that is not encrypted.
    ///
    /// # Errors
    /// When it is another kind of key, or a weak one.
    pub fn from_pem(algorithm: Algorithm, kind: Kind, text: &str) -> Result<Self, MaterialError> {
        match key_pem::parse(algorithm, text)? {
            Contents::Plain(contents) => Self::from_contents(algorithm, kind, &contents),
            Contents::Encrypted(_) => Err(MaterialError::Encrypted),
        }
    }

    /// The key that `facts` tell of, in a PEM text that may be encrypted with any of `passphrases`. Also the material.
    ///
    /// # Errors
    /// When it is another key, a weak one, or encrypted with something else.
    pub fn open(
        facts: &KeyMetadata,
        text: &SecretString,
        passphrases: &[Passphrase],
    ) -> Result<(Self, Zeroizing<Vec<u8>>), MaterialError> {
        let key = |contents: &[u8]| {
            let key = Self::from_contents(facts.algorithm, facts.kind, contents)?;
            if key.kid == facts.kid {
                Ok(key)
            } else {
                Err(MaterialError::OtherKey(key.kid))
            }
        };
        match key_pem::parse(facts.algorithm, text.expose_secret())? {
            Contents::Plain(contents) => Ok((key(&contents)?, contents)),
            Contents::Encrypted(_) if passphrases.is_empty() => Err(MaterialError::Encrypted),
            Contents::Encrypted(sealed) => {
                if let Some(obstacle) = passphrase::obstacle(&sealed) {
                    return Err(obstacle);
                }
                // With a wrong passphrase anything may come out, and none of it is a key of this kid.
                passphrases
                    .iter()
                    .flat_map(|passphrase| passphrase.unwrap(&sealed))
                    .find_map(|contents| Some((key(&contents).ok()?, contents)))
                    .ok_or(MaterialError::Passphrase)
            }
        }
    }

    /// Of material that a [`key_text`] holds.
    pub(super) fn from_contents(
        algorithm: Algorithm,
        kind: Kind,
        contents: &[u8],
    ) -> Result<Self, MaterialError> {
        let pair = key_pair::pair(algorithm, contents)?;
        let kid = jwk::thumbprint(&jwk::members(&pair));
        let key = Self {
            algorithm,
            kid,
            kind,
            header: CachedHeader::default(),
            pair,
        };
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

    /// The public half as a PEM text (`SubjectPublicKeyInfo`, RFC 7468 section 13); `None` for a shared secret and for a
    /// key of refresh tokens.
    #[must_use]
    pub fn public_pem(&self) -> Option<String> {
        let der = |der: Result<PublicKeyX509Der<'_>, _>| der.ok().map(|der| der.as_ref().to_vec());
        let der = match &self.pair {
            _ if self.kind == Kind::Refresh => None,
            Pair::Ec { pair, .. } => der(pair.public_key().as_der()),
            Pair::Ed(pair) => der(pair.public_key().as_der()),
            Pair::Hmac { .. } => None,
            Pair::Rsa { pair, .. } => der(pair.public_key().as_der()),
        };
        Some(pem::encode_config(
            &Pem::new("PUBLIC KEY", der?),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        ))
    }

    /// The other half.
    ///
    /// # Errors
    /// Never: a key of which this could not be made was refused.
    pub fn verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        match &self.pair {
            Pair::Hmac { secret, .. } => {
                VerifyingKey::from_secret(self.algorithm, self.kind, secret)
            }
            pair => {
                let jwk = jwk::public(pair, self.algorithm, &self.kid).unwrap_or_default();
                VerifyingKey::from_jwk(self.algorithm, &self.kid, &jwk)
            }
        }
    }

    /// The header of a token of this `typ`, in base64url.
    pub(super) fn header(&self, typ: &str) -> Cow<'_, str> {
        self.header.of(self.algorithm, &self.kid, typ)
    }

    /// How many bytes a signature has (RFC 7518, section 3; RFC 8032, section 5.1).
    pub(super) fn signature_length(&self) -> usize {
        match &self.pair {
            Pair::Ec { .. } if self.algorithm == Algorithm::Es384 => 96,
            Pair::Ec { .. } | Pair::Ed(_) => 64,
            Pair::Hmac { key, .. } => key.algorithm().tag_len(),
            Pair::Rsa { pair, .. } => pair.public_modulus_len(),
        }
    }

    /// The JWS signature of `message`: r and s for ECDSA, not DER (RFC 7518, section 3.4).
    ///
    /// # Errors
    /// [`SignatureError`] when the generator of nonces or blinds fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec { pair, .. } => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignatureError),
            Pair::Ed(pair) => pair
                .try_sign(message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignatureError),
            Pair::Hmac { key, .. } => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Pair::Rsa { pair, encoding } => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .map_err(|_| SignatureError)?;
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

/// Whether a key for `algorithm` can be made of this material.
pub(super) fn is_usable(algorithm: Algorithm, contents: &[u8]) -> Result<(), MaterialError> {
    SigningKey::from_contents(algorithm, Kind::Access, contents).map(drop)
}

#[cfg(test)]
#[path = "signing_key_tests.rs"]
mod tests;
