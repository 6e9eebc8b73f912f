//! Private keys of each algorithm: parsing, checks and generation.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    error::KeyRejected,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, RsaEncoding, RsaKeyPair,
    },
};
use latchkey_verifier::{Algorithm, Family};
use zeroize::Zeroizing;

use super::{random, signing_key::MaterialError};

/// Private key, ready to sign.
pub(super) enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Ed(Ed25519KeyPair),
    Hmac {
        key: Box<hmac::Key>,
        secret: Zeroizing<Vec<u8>>,
    },
    Rsa {
        pair: Box<RsaKeyPair>,
        encoding: &'static dyn RsaEncoding,
    },
}

pub(super) fn new_material(algorithm: Algorithm) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    match algorithm.family() {
        Family::Ec => Some(
            EcdsaKeyPair::generate_pkcs8(curve(algorithm), &random)
                .ok()?
                .as_ref()
                .to_vec(),
        ),
        Family::Ed => Some(
            Ed25519KeyPair::generate_pkcs8v1(&random)
                .ok()?
                .as_ref()
                .to_vec(),
        ),
        Family::Rsa => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
            let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            Some(der.as_ref().to_vec())
        }
        Family::Hmac => Some(random::bytes::<64>().ok()?.to_vec()),
    }
}

pub(super) fn pair(algorithm: Algorithm, der: &[u8]) -> Result<Pair, MaterialError> {
    let unfit = |_| MaterialError::NotForAlgorithm(algorithm);
    match algorithm.family() {
        Family::Ec => {
            let pair = EcdsaKeyPair::from_pkcs8(curve(algorithm), der).map_err(unfit)?;
            Ok(Pair::Ec(Box::new(pair)))
        }
        Family::Ed => Ok(Pair::Ed(
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(unfit)?,
        )),
        Family::Rsa => {
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|error| rejected(algorithm, &error))?;
            Ok(Pair::Rsa {
                pair: Box::new(pair),
                encoding: encoding(algorithm),
            })
        }
        Family::Hmac => {
            let min_length = algorithm.min_secret_length();
            if der.len() < min_length {
                return Err(MaterialError::ShortSecret {
                    algorithm,
                    got: der.len(),
                    least: min_length,
                });
            }
            Ok(Pair::Hmac {
                key: Box::new(hmac::Key::new(hash(algorithm), der)),
                secret: Zeroizing::new(der.to_vec()),
            })
        }
    }
}

/// Maps the error of the library. Only "too small" is distinguished, because other texts do not
/// help the user.
pub(super) fn rejected(algorithm: Algorithm, error: &KeyRejected) -> MaterialError {
    match error.to_string().as_str() {
        "TooSmall" => MaterialError::WeakRsa,
        _ => MaterialError::NotForAlgorithm(algorithm),
    }
}

fn curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
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
