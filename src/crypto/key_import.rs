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
    key_text::{self, Contents},
    passphrase::Passphrase,
    signing_key::{MaterialError, is_usable, rsa_error},
};

/// What a key without a word on its algorithm may be for, the most usual first.
const CANDIDATES: [Algorithm; 4] = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256];

/// The material of a foreign key, as this service keeps it, and what it is for: `algorithm` if that is given, else the usual one
/// for such a key.
///
/// # Errors
/// When the file holds no private key, another one, a weak one, or is encrypted with another passphrase.
pub fn read(
    bytes: &[u8],
    algorithm: Option<Algorithm>,
    passphrase: Option<&Passphrase>,
) -> Result<(Algorithm, Zeroizing<Vec<u8>>), MaterialError> {
    if let Some(algorithm) = algorithm.filter(|algorithm| algorithm.family() == Family::Hmac) {
        let secret = secret(algorithm, bytes, passphrase)?;
        return is_usable(algorithm, &secret).map(|()| (algorithm, secret));
    }
    let block = private_block(bytes).ok_or(MaterialError::NoPrivateKey)?;
    let (label, contents) = (block.tag().to_owned(), Zeroizing::new(block.into_contents()));
    let contents = match (label.starts_with(key_text::ENCRYPTED), passphrase) {
        (false, _) => contents,
        (true, None) => return Err(MaterialError::Encrypted),
        (true, Some(passphrase)) => passphrase.unwrap(&contents).ok_or(MaterialError::Passphrase)?,
    };
    let candidates = algorithm.map_or(CANDIDATES.to_vec(), |algorithm| vec![algorithm]);
    let mut weak = None;
    for candidate in candidates {
        let der = pkcs8(candidate, &label, &contents);
        match der.and_then(|der| is_usable(candidate, &der).map(|()| der)) {
            Ok(der) => return Ok((candidate, der)),
            Err(MaterialError::NotForAlgorithm(_)) => {}
            Err(error) => weak = Some(error),
        }
    }
    Err(weak.or(algorithm.map(MaterialError::NotForAlgorithm)).unwrap_or(MaterialError::NoPrivateKey))
}

/// A text with one newline at its end is meant without: editors put it there. A PEM text is one of ours, from another ring; taken as
/// it stands it would be another secret, and nobody would notice before all tokens are refused.
fn secret(
    algorithm: Algorithm,
    bytes: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.contains("-----BEGIN ")) {
        return match (key_text::parse(algorithm, text)?, passphrase) {
            (Contents::Plain(contents), _) => Ok(contents),
            (Contents::Encrypted(_), None) => Err(MaterialError::Encrypted),
            (Contents::Encrypted(sealed), Some(passphrase)) => {
                passphrase.unwrap(&sealed).ok_or(MaterialError::Passphrase)
            }
        };
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    Ok(Zeroizing::new(text.strip_suffix(b"\r").unwrap_or(text).to_vec()))
}

/// The only block with a private key; blocks with parameters or public parts may stand beside it.
fn private_block(bytes: &[u8]) -> Option<Pem> {
    let blocks = pem::parse_many(bytes).ok()?;
    let mut private = blocks.into_iter().filter(|block| block.tag().ends_with("PRIVATE KEY"));
    private.next().filter(|_| private.next().is_none())
}

fn pkcs8(algorithm: Algorithm, label: &str, contents: &[u8]) -> Result<Zeroizing<Vec<u8>>, MaterialError> {
    let unfit = MaterialError::NotForAlgorithm(algorithm);
    match (label, algorithm.family()) {
        ("EC PRIVATE KEY", Family::Ec) => {
            let pair = EcdsaKeyPair::from_private_key_der(curve(algorithm), contents).map_err(|_| unfit.clone())?;
            let der = pair.to_pkcs8v1().map_err(|_| unfit)?;
            Ok(Zeroizing::new(der.as_ref().to_vec()))
        }
        ("RSA PRIVATE KEY", Family::Rsa) => {
            let pair = RsaKeyPair::from_der(contents).map_err(|error| rsa_error(algorithm, error))?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| unfit)?;
            Ok(Zeroizing::new(der.as_ref().to_vec()))
        }
        ("PRIVATE KEY" | "ENCRYPTED PRIVATE KEY", _) => Ok(Zeroizing::new(contents.to_vec())),
        _ => Err(unfit),
    }
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
