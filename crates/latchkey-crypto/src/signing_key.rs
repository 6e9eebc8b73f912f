//! Signing key, prepared once so that signatures need no parsing.

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

use latchkey_domain::keys::KeyMetadata;

/// Signing key with its algorithm and kind of token.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    kind: Kind,
    header: CachedHeader,
    pair: Pair,
}

/// Reason for which key material is not accepted. The texts follow the name of a file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MaterialError {
    /// The key is encrypted, and no passphrase is set.
    #[error("is encrypted: set LATCHKEY_KEYS_PASSPHRASE_FILE to the file with its passphrase")]
    Encrypted,
    /// The imported file is encrypted, and no passphrase was given.
    #[error("is encrypted: pass the file with its passphrase with --passphrase-file")]
    EncryptedImport,
    /// Not PEM, or not the PEM block that the algorithm requires.
    #[error("is not a PEM file with one \"{0}\" block")]
    Label(&'static str),
    /// The block is not a key for the algorithm.
    #[error("does not hold a private key for {0} (PKCS#8)")]
    NotForAlgorithm(Algorithm),
    /// The secret is not random.
    #[error(
        "holds a secret that {0}: expected random bytes, such as the output of `openssl rand -base64 48`"
    )]
    NoSecret(&'static str),
    /// The imported file has no supported private key.
    #[error("holds no supported private key: expected RSA, P-256, P-384 or Ed25519, in PEM")]
    NoPrivateKey,
    /// The encryption scheme is not supported.
    #[error(
        "is encrypted with an unsupported old scheme: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out \
         NEW (with -provider legacy -provider default for DES, RC2 and RC4)"
    )]
    OldEncryption,
    /// The algorithm or the curve is not supported.
    #[error("holds a key of type {0}: expected RSA, P-256, P-384 or Ed25519")]
    OtherAlgorithm(String),
    /// Not a private key, or a private key in an unsupported form.
    #[error("{0}")]
    OtherForm(String),
    /// The file has several private keys.
    #[error("holds {0} private keys: keep only one of them in the file")]
    SeveralKeys(usize),
    /// The key does not match its record.
    #[error("holds a key that does not match its name: its kid is {0}")]
    OtherKey(String),
    /// The passphrase does not decrypt the key.
    #[error("cannot be decrypted: the passphrase is wrong, or the key is damaged")]
    Passphrase,
    /// A new key could not be generated.
    #[error("could not be generated: the operating system returned no random bytes")]
    Generate,
    /// RSA key whose private part can be computed from the public part.
    #[error(
        "holds an RSA key from a broken generator, which can be factored (ROCA, CVE-2017-15361)"
    )]
    RocaRsa,
    /// The secret is too short.
    #[error("holds a secret of {got} bytes: {algorithm} needs at least {least}")]
    ShortSecret {
        /// Algorithm of the secret.
        algorithm: Algorithm,
        /// Length in bytes.
        got: usize,
        /// Minimum length in bytes.
        least: usize,
    },
    /// The cost of decryption exceeds the limit, by attack or by mistake.
    #[error(
        "takes more memory or time to decrypt than allowed (256 MiB): it was not written by Latchkey, so remove \
         it"
    )]
    TooMuchWork,
    /// The RSA key is too small.
    #[error("holds an RSA key of fewer than 2048 bits")]
    WeakRsa,
}

impl SigningKey {
    /// Generates a key. Returns it with its PEM text, which is encrypted if there is a passphrase.
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

    /// Creates a key from this material. Returns it with its PEM text, which is encrypted if there
    /// is a passphrase.
    ///
    /// # Errors
    /// The material is not usable.
    pub fn keep(
        algorithm: Algorithm,
        kind: Kind,
        contents: &[u8],
        passphrase: Option<&Passphrase>,
    ) -> Result<(Self, SecretString), MaterialError> {
        let key = Self::from_contents(algorithm, kind, contents)?;
        Ok((key, key_pem::write(algorithm, contents, passphrase)?))
    }

    /// Parses a PEM text that is not encrypted.
    ///
    /// # Errors
    /// The key is of another type, or weak.
    pub fn from_pem(algorithm: Algorithm, kind: Kind, text: &str) -> Result<Self, MaterialError> {
        match key_pem::parse(algorithm, text)? {
            Contents::Plain(contents) => Self::from_contents(algorithm, kind, &contents),
            Contents::Encrypted(_) => Err(MaterialError::Encrypted),
        }
    }

    /// Parses the key of `facts` from a PEM text, which may be encrypted with any of `passphrases`.
    /// Returns the key and its material.
    ///
    /// # Errors
    /// The key is another one, weak, or encrypted with another passphrase.
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
                // A wrong passphrase may yield arbitrary bytes, but never a key with this kid.
                passphrases
                    .iter()
                    .flat_map(|passphrase| passphrase.unwrap(&sealed))
                    .find_map(|contents| Some((key(&contents).ok()?, contents)))
                    .ok_or(MaterialError::Passphrase)
            }
        }
    }

    /// Creates a key from the contents of a PEM block of [`key_pem`].
    pub(super) fn from_contents(
        algorithm: Algorithm,
        kind: Kind,
        contents: &[u8],
    ) -> Result<Self, MaterialError> {
        let pair = key_pair::pair(algorithm, contents)?;
        let kid = jwk::thumbprint(&pair).ok_or(MaterialError::NotForAlgorithm(algorithm))?;
        let key = Self {
            algorithm,
            kid,
            kind,
            header: CachedHeader::default(),
            pair,
        };
        // A key that every verifier rejects must not start to sign.
        key.verifying_key().map_err(|error| match error {
            KeyError::RocaRsa(_) => MaterialError::RocaRsa,
            _ => MaterialError::NotForAlgorithm(algorithm),
        })?;
        Ok(key)
    }

    /// Returns the signature algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the kind of tokens that the key signs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the public key as a JWK, or `None` for a shared secret and for a key of refresh
    /// tokens.
    #[must_use]
    pub fn public_jwk(&self) -> Option<Value> {
        match self.kind {
            Kind::Access => jwk::public(&self.pair, self.algorithm, &self.kid),
            Kind::Refresh => None,
        }
    }

    /// Returns the public key as PEM text (`SubjectPublicKeyInfo`, RFC 7468 section 13), or `None`
    /// for a shared secret and for a key of refresh tokens.
    #[must_use]
    pub fn public_pem(&self) -> Option<String> {
        let der = |der: Result<PublicKeyX509Der<'_>, _>| der.ok().map(|der| der.as_ref().to_vec());
        let der = match &self.pair {
            _ if self.kind == Kind::Refresh => None,
            Pair::Ec(pair) => der(pair.public_key().as_der()),
            Pair::Ed(pair) => der(pair.public_key().as_der()),
            Pair::Hmac { .. } => None,
            Pair::Rsa { pair, .. } => der(pair.public_key().as_der()),
        };
        Some(pem::encode_config(
            &Pem::new("PUBLIC KEY", der?),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        ))
    }

    /// Returns the verifying key.
    ///
    /// # Errors
    /// Never, because a key without a verifying key is rejected at its creation.
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

    /// Returns the header of a token with this `typ`, in base64url.
    pub(super) fn header(&self, typ: &str) -> Cow<'_, str> {
        self.header.of(self.algorithm, &self.kid, typ)
    }

    /// Returns the length of a signature in bytes (RFC 7518, section 3; RFC 8032, section 5.1).
    pub(super) fn signature_length(&self) -> usize {
        match &self.pair {
            Pair::Ec(_) if self.algorithm == Algorithm::Es384 => 96,
            Pair::Ec(_) | Pair::Ed(_) => 64,
            Pair::Hmac { key, .. } => key.algorithm().tag_len(),
            Pair::Rsa { pair, .. } => pair.public_modulus_len(),
        }
    }

    /// Returns the JWS signature of `message`. For ECDSA it is r and s, not DER (RFC 7518, section
    /// 3.4).
    ///
    /// # Errors
    /// [`SignatureError`] if random nonces or blinding values cannot be generated.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair
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

/// Failure to sign.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the signature could not be generated")]
pub struct SignatureError;

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm, self.kid)
    }
}

/// Checks that this material is usable as a key for `algorithm`.
pub(super) fn is_usable(algorithm: Algorithm, contents: &[u8]) -> Result<(), MaterialError> {
    SigningKey::from_contents(algorithm, Kind::Access, contents).map(drop)
}

#[cfg(test)]
#[path = "signing_key_tests.rs"]
mod tests;
