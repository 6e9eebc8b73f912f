//! Keys as PEM text: PKCS#8 for asymmetric algorithms, the bytes of the secret for HMAC. Both can
//! be encrypted.

use latchkey_verifier::{Algorithm, Family};
use pem::Pem;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{passphrase::Passphrase, signing_key::MaterialError};

const PKCS8: &str = "PRIVATE KEY";
const SECRET: &str = "LATCHKEY SHARED SECRET";
pub(super) const ENCRYPTED: &str = "ENCRYPTED ";

/// Contents of the only block of a text.
pub(super) enum Contents {
    /// Unencrypted key.
    Plain(Zeroizing<Vec<u8>>),
    /// Encrypted key.
    Encrypted(Zeroizing<Vec<u8>>),
}

/// Parses the block of a key for `algorithm`.
pub(super) fn parse(algorithm: Algorithm, text: &str) -> Result<Contents, MaterialError> {
    let label = label(algorithm);
    let mut blocks = pem::parse_many(text).map_err(|_| MaterialError::Label(label))?;
    let block = blocks.pop().ok_or(MaterialError::Label(label))?;
    let encrypted = block.tag().strip_prefix(ENCRYPTED);
    let fits = encrypted.unwrap_or(block.tag()) == label;
    let is_encrypted = encrypted.is_some();
    let contents = Zeroizing::new(block.into_contents());
    if !fits || !blocks.is_empty() {
        return Err(MaterialError::Label(label));
    }
    Ok(if is_encrypted {
        Contents::Encrypted(contents)
    } else {
        Contents::Plain(contents)
    })
}

/// Returns the text for `contents`, encrypted if there is a passphrase.
pub(super) fn write(
    algorithm: Algorithm,
    contents: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<SecretString, MaterialError> {
    let block = match passphrase {
        None => Pem::new(label(algorithm), contents),
        Some(passphrase) => passphrase.wrap(label(algorithm), contents)?,
    };
    let text = SecretString::from(pem::encode(&block));
    drop(Zeroizing::new(block.into_contents()));
    Ok(text)
}

/// Returns true if the text has an encrypted key.
#[must_use]
pub fn is_encrypted(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN ENCRYPTED ")
}

/// Line after the block of a key that the service does not rotate automatically. PEM parsers skip
/// it.
const MANUAL_ROTATION: &str = "Successor: by hand";

/// Returns the text with the line for manual rotation.
#[must_use]
pub fn with_successor_by_hand(text: &SecretString) -> SecretString {
    let text = text.expose_secret();
    SecretString::from([text.trim_end(), "\n", MANUAL_ROTATION, "\n"].concat())
}

/// Returns true if the text has the line for manual rotation.
#[must_use]
pub fn has_successor_by_hand(text: &str) -> bool {
    text.lines().any(|line| line == MANUAL_ROTATION)
}

fn label(algorithm: Algorithm) -> &'static str {
    if algorithm.family() == Family::Hmac {
        SECRET
    } else {
        PKCS8
    }
}
