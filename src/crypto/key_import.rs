//! Keys that were made elsewhere: PKCS#8, plain or encrypted, and what older tools write (PKCS#1, SEC 1); for HMAC the
//! secret as it stands.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        RsaKeyPair,
    },
};
use latchkey_verifier::{Algorithm, Family};
use pem::Pem;
use zeroize::Zeroizing;

use super::{
    guessable::is_guessable,
    key_text::{self, Contents},
    passphrase::{self, Passphrase},
    signing_key::{MaterialError, is_usable, rejected},
};

/// What a key without a word on its algorithm may be for, the most usual first.
const CANDIDATES: [Algorithm; 4] = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256];

/// The minimum of guesses, as a power of ten. A guess takes less than a microsecond, so a text must be as hard to guess
/// as a random secret. The estimate does not exceed 19.
const LEAST_GUESSES: f64 = 18.0;

/// The material of a foreign key, as this service keeps it, and what it is for: `algorithm` if that is given, else the usual one
/// for such a key.
///
/// # Errors
/// When the file holds no private key, another one, a weak one, or is encrypted with another passphrase.
pub fn read(
    bytes: &[u8],
    algorithm: Option<Algorithm>,
    passphrases: &[Passphrase],
) -> Result<(Algorithm, Zeroizing<Vec<u8>>), MaterialError> {
    if let Some(algorithm) = algorithm.filter(|algorithm| algorithm.family() == Family::Hmac) {
        let secret = secret(algorithm, bytes, passphrases)?;
        return is_usable(algorithm, &secret).map(|()| (algorithm, secret));
    }
    let block = private_block(bytes).ok_or(MaterialError::NoPrivateKey)?;
    let (label, contents) = (block.tag().to_owned(), Zeroizing::new(block.into_contents()));
    let contents = if label.starts_with(key_text::ENCRYPTED) { decrypted(&contents, passphrases)? } else { contents };
    let candidates = algorithm.map_or(CANDIDATES.to_vec(), |algorithm| vec![algorithm]);
    let mut weak = None;
    for candidate in candidates {
        let der = match pkcs8(candidate, &label, &contents) {
            Ok(Some(der)) => der,
            Ok(None) => continue,
            Err(error) => {
                weak = Some(error);
                continue;
            }
        };
        match is_usable(candidate, &der) {
            Ok(()) => return Ok((candidate, der)),
            Err(MaterialError::NotForAlgorithm(_)) => {}
            Err(error) => weak = Some(error),
        }
    }
    Err(weak.or(algorithm.map(MaterialError::NotForAlgorithm)).unwrap_or(MaterialError::NoPrivateKey))
}

/// The secret in a file of ours, else all that the file holds. A text with one newline at its end is meant without:
/// editors put it there.
fn secret(algorithm: Algorithm, bytes: &[u8], passphrases: &[Passphrase]) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    match std::str::from_utf8(bytes).map(|text| key_text::parse(algorithm, text)) {
        Ok(Ok(Contents::Plain(secret))) => return Ok(secret),
        Ok(Ok(Contents::Encrypted(sealed))) => return decrypted(&sealed, passphrases),
        _ => {}
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // A short secret is refused later, with an error of its own.
    if text.len() >= algorithm.min_secret_length() && is_guessable(text, LEAST_GUESSES) {
        return Err(MaterialError::NoSecret);
    }
    Ok(Zeroizing::new(text.to_vec()))
}

fn decrypted(sealed: &[u8], passphrases: &[Passphrase]) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    if passphrases.is_empty() {
        return Err(MaterialError::EncryptedImport);
    }
    if passphrase::asks_too_much(sealed) {
        return Err(MaterialError::TooMuchWork);
    }
    passphrases.iter().find_map(|passphrase| passphrase.unwrap(sealed)).ok_or(MaterialError::Passphrase)
}

/// The only block with a private key; blocks with parameters or public parts may stand beside it.
fn private_block(bytes: &[u8]) -> Option<Pem> {
    let blocks = pem::parse_many(bytes).ok()?;
    let mut private = blocks.into_iter().filter(|block| block.tag().ends_with("PRIVATE KEY"));
    private.next().filter(|_| private.next().is_none())
}

/// `None` where it is no key for `algorithm`.
fn pkcs8(algorithm: Algorithm, label: &str, contents: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, MaterialError> {
    Ok(match (label, algorithm.family()) {
        ("EC PRIVATE KEY", Family::Ec) => {
            let pair = EcdsaKeyPair::from_private_key_der(curve(algorithm), contents).ok();
            let der = pair.and_then(|pair| pair.to_pkcs8v1().ok());
            der.map(|der| Zeroizing::new(der.as_ref().to_vec()))
        }
        ("RSA PRIVATE KEY", Family::Rsa) => {
            let pair = RsaKeyPair::from_der(contents).map_err(|error| rejected(algorithm, &error))?;
            let der: Option<Pkcs8V1Der<'_>> = pair.as_der().ok();
            der.map(|der| Zeroizing::new(der.as_ref().to_vec()))
        }
        ("PRIVATE KEY" | "ENCRYPTED PRIVATE KEY", _) => Some(Zeroizing::new(contents.to_vec())),
        _ => None,
    })
}

fn curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

#[cfg(test)]
#[path = "key_import_tests.rs"]
mod tests;
