//! Import of keys: private keys in the formats of `key_forms`, unencrypted or encrypted, and
//! secrets for HMAC.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, RsaKeyPair,
    },
};
use latchkey_verifier::{Algorithm, Family};
use zeroize::Zeroizing;

use super::{
    guessable, key_der,
    key_forms::{self, Private},
    key_jwk,
    key_pair::rejected,
    key_pem::{self, Contents},
    passphrase::{self, Passphrase},
    signing_key::{MaterialError, is_usable},
};
use latchkey_files as files;

/// Algorithms to try for a key that does not specify one, most common first.
const CANDIDATES: [Algorithm; 4] = [
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
    Algorithm::Rs256,
];

/// Algorithms of an RSA key that is restricted to PSS.
const PSS: [Algorithm; 3] = [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512];

/// Minimum number of guesses, as a power of ten. A guess takes less than a microsecond, so a text
/// must be as hard to guess as a random secret. The estimate does not exceed 19.
const MIN_GUESSES: f64 = 18.0;

/// Reads the material of a foreign key. Returns it in the stored format, with its algorithm:
/// `algorithm` if given, or else the usual one for the type of key.
///
/// # Errors
/// The file has no private key, another one, a weak one, or one that the passphrases do not
/// decrypt.
pub fn read(
    bytes: &[u8],
    algorithm: Option<Algorithm>,
    passphrases: &[Passphrase],
) -> Result<(Algorithm, Zeroizing<Vec<u8>>), MaterialError> {
    if let Some(algorithm) = algorithm.filter(|algorithm| algorithm.family() == Family::Hmac) {
        let secret = secret(algorithm, bytes, passphrases)?;
        return is_usable(algorithm, &secret).map(|()| (algorithm, secret));
    }
    let Private {
        label,
        contents,
        algorithm: named,
    } = key_forms::read(bytes)?;
    let (label, contents) = match label.strip_prefix(key_pem::ENCRYPTED) {
        Some(label) => (
            label.to_owned(),
            decrypted(&contents, passphrases, key_der::is_pkcs8)?,
        ),
        None => (label, contents),
    };
    // A key that is restricted to PSS.
    let (label, contents, usual) = match key_der::pss(&contents) {
        Some(inner) => ("RSA PRIVATE KEY".to_owned(), inner, &PSS[..]),
        None => (label, contents, &CANDIDATES[..]),
    };
    if let Some(algorithm) = algorithm.filter(|algorithm| usual == PSS && !PSS.contains(algorithm))
    {
        return Err(MaterialError::NotForAlgorithm(algorithm));
    }
    let algorithm = algorithm.or_else(|| named?.parse().ok());
    let candidates = algorithm.map_or(usual.to_vec(), |algorithm| vec![algorithm]);
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
    let weak = weak.filter(|error| !matches!(error, MaterialError::NotForAlgorithm(_)));
    let named = || key_der::named(&label, &contents);
    Err(weak
        .or_else(named)
        .or(algorithm.map(MaterialError::NotForAlgorithm))
        .unwrap_or(MaterialError::NoPrivateKey))
}

/// Returns the secret in a file of Latchkey or a JWK, or else the whole file. A newline at the
/// end of a text is removed, because editors add it.
fn secret(
    algorithm: Algorithm,
    bytes: &[u8],
    passphrases: &[Passphrase],
) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    match std::str::from_utf8(bytes).map(|text| key_pem::parse(algorithm, text)) {
        Ok(Ok(Contents::Plain(secret))) => return Ok(secret),
        Ok(Ok(Contents::Encrypted(sealed))) => return decrypted(&sealed, passphrases, |_| true),
        _ => {}
    }
    if let Some(secret) = serde_json::from_slice(bytes)
        .ok()
        .and_then(|json| key_jwk::secret(&json))
    {
        return Ok(secret);
    }
    // The byte order mark is only removed from text, because random bytes may begin like it.
    let plain = files::without_mark(Zeroizing::new(bytes.to_vec()));
    let bytes = if plain.is_ascii() { &plain } else { bytes };
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // A short secret is refused later, with a separate error.
    if text.len() >= algorithm.min_secret_length()
        && let Some(flaw) = guessable::flaw(text, MIN_GUESSES)
    {
        return Err(MaterialError::NoSecret(flaw));
    }
    Ok(Zeroizing::new(text.to_vec()))
}

/// Decrypts a block. A wrong passphrase may yield arbitrary bytes, which `is_right` detects.
fn decrypted(
    sealed: &[u8],
    passphrases: &[Passphrase],
    is_right: impl Fn(&[u8]) -> bool,
) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    if let Some(obstacle) = passphrase::obstacle(sealed) {
        return Err(obstacle);
    }
    if passphrases.is_empty() {
        return Err(MaterialError::EncryptedImport);
    }
    let mut opened = passphrases
        .iter()
        .flat_map(|passphrase| passphrase.unwrap(sealed));
    opened
        .find(|contents| is_right(contents))
        .ok_or(MaterialError::Passphrase)
}

/// Converts a key to PKCS#8. Returns `None` if it is not a key for `algorithm`.
fn pkcs8(
    algorithm: Algorithm,
    label: &str,
    contents: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, MaterialError> {
    Ok(match (label, algorithm.family()) {
        ("EC PRIVATE KEY", Family::Ec) => {
            let pair = EcdsaKeyPair::from_private_key_der(curve(algorithm), contents).ok();
            let der = pair.and_then(|pair| pair.to_pkcs8v1().ok());
            der.map(|der| Zeroizing::new(der.as_ref().to_vec()))
        }
        ("RSA PRIVATE KEY", Family::Rsa) => {
            let pair =
                RsaKeyPair::from_der(contents).map_err(|error| rejected(algorithm, &error))?;
            let der: Option<Pkcs8V1Der<'_>> = pair.as_der().ok();
            der.map(|der| Zeroizing::new(der.as_ref().to_vec()))
        }
        ("PRIVATE KEY", _) => Some(Zeroizing::new(contents.to_vec())),
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
