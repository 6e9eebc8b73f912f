//! Passwords in plain text, and their hashes.

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::white_space::strip;

/// Maximum length of a password in bytes. It is checked before hashing.
pub const MAX_PASSWORD: usize = 1024;

/// Minimum length of a new password in characters: the eight that NIST SP 800-63B, section 3.1.1.2,
/// allows in combination with a second factor.
pub const MIN_NEW_PASSWORD: usize = 8;

/// Password as entered, not trimmed, normalised or truncated. `Debug` redacts it, and dropping it
/// zeroes the memory.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// Algorithm names at the start of a hash: in Django (before the first `$`), in Werkzeug, in the
/// modular crypt format and PHC strings (between the first two `$`), and in LDAP (in braces).
const HASH_NAMES: [&str; 38] = [
    "1",
    "2",
    "2a",
    "2b",
    "2x",
    "2y",
    "5",
    "6",
    "7",
    "H",
    "P",
    "S",
    "argon2",
    "argon2d",
    "argon2i",
    "argon2id",
    "bcrypt",
    "bcrypt-sha256",
    "bcrypt_sha256",
    "gy",
    "md5",
    "pbkdf2",
    "pbkdf2-sha256",
    "pbkdf2-sha512",
    "pbkdf2_sha1",
    "pbkdf2_sha256",
    "scrypt",
    "sha1",
    "sha256",
    "sha512",
    "unsalted_md5",
    "unsalted_sha1",
    "wp",
    "y",
    "CRYPT",
    "SSHA",
    "SSHA256",
    "SSHA512",
];

/// Reason for which a password is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordError {
    /// Only white space, which a sign-in would refuse as blank.
    #[error("a password may not be blank")]
    Blank,
    /// Contains a NUL character, which a sign-in would refuse.
    #[error("a password may not contain NUL characters")]
    Nul,
    /// Hash of a password.
    #[error(
        "a password may not be a password hash, such as Django stores: expected the password itself; a hash cannot be \
         imported"
    )]
    Hash,
    /// More than [`MAX_PASSWORD`] bytes.
    #[error("a password has at most {MAX_PASSWORD} bytes")]
    TooLong,
    /// Fewer than [`MIN_NEW_PASSWORD`] characters.
    #[error("a password has at least {MIN_NEW_PASSWORD} characters")]
    TooShort,
}

impl Password {
    /// Parses the password of a sign-in. The text is zeroed in any case.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`].
    pub fn parse(text: impl Into<Zeroizing<String>>) -> Result<Self, PasswordError> {
        let text = text.into();
        if text.len() > MAX_PASSWORD {
            return Err(PasswordError::TooLong);
        }
        // Copies the exact length: shrinking the text would leave its old memory unzeroed.
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// Parses a new password. A sign-in accepts every such password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn parse_new(text: impl Into<Zeroizing<String>>) -> Result<Self, PasswordError> {
        let text = text.into();
        if text.chars().count() < MIN_NEW_PASSWORD {
            return Err(PasswordError::TooShort);
        }
        if strip(&text).is_empty() {
            return Err(PasswordError::Blank);
        }
        if text.contains('\0') {
            return Err(PasswordError::Nul);
        }
        if is_hash(&text) {
            return Err(PasswordError::Hash);
        }
        Self::parse(text)
    }

    /// Returns the bytes to hash.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

/// Returns true for a text with the form of a password hash: the name of an algorithm, followed by
/// other parts. Short names may occur in passwords too, so after one the last part must be as
/// long as a hash.
fn is_hash(text: &str) -> bool {
    const MIN_HASH_LENGTH: usize = 22;
    let text = text.trim();
    let (name, hash_part) = if let Some((scheme, hash)) =
        text.strip_prefix('{').and_then(|text| text.split_once('}'))
    {
        (scheme, hash)
    } else if let Some((name, hash_part)) = text.strip_prefix('$').unwrap_or(text).split_once('$') {
        (name, hash_part)
    } else {
        return false;
    };
    // Werkzeug appends the parameters to the name: scrypt:32768:8:1$….
    let name = name.split(':').next().unwrap_or_default();
    let hash = hash_part.rsplit('$').next().unwrap_or_default();
    let known = HASH_NAMES.contains(&name) && (name.len() > 2 || text.starts_with('$'));
    // A truncated hash of Django counts as well.
    let of_django = name.contains('_') || (name.len() > 2 && hash_part.contains('$'));
    known && of_django
        || known
            && hash.len() >= MIN_HASH_LENGTH
            && hash
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+/=.-_".contains(c))
}

/// Password hash in PHC form. `Debug` redacts it, to keep it out of logs.
#[derive(Clone, Debug)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    /// Wraps a PHC string.
    #[must_use]
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into().into())
    }

    /// Returns the PHC string.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
