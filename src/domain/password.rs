//! Passwords in the clear, for as short as possible.

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::white_space::strip;

/// The longest password in bytes: checked before anything is hashed.
pub const MAX_PASSWORD: usize = 1024;

/// The shortest password that operators may set, in characters (NIST SP 800-63B, section 3.1.1.2, with the
/// eight that it allows where a second check stands beside it).
pub const MIN_NEW_PASSWORD: usize = 8;

/// A password as it was typed: not trimmed, not folded, not cut. Printing it shows nothing; dropping it wipes it.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// The names with which a hash begins in Django (before the first `$`), Werkzeug, the modular crypt format and PHC
/// strings (between the first two `$`), and LDAP (in braces).
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

/// Why a password was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordError {
    /// White space alone, which a sign-in refuses as blank.
    #[error("a password may not be blank")]
    Blank,
    /// A NUL character, which a sign-in refuses.
    #[error("a password may not contain NUL characters")]
    Nul,
    /// A hash of a password.
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
    /// A password of a sign-in. The text is wiped in every case.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`].
    pub fn parse(text: impl Into<Zeroizing<String>>) -> Result<Self, PasswordError> {
        let text = text.into();
        if text.len() > MAX_PASSWORD {
            return Err(PasswordError::TooLong);
        }
        // A copy of the exact length: shrinking the text would leave its old memory unwiped.
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// A password that is to be set. A sign-in can send every such password.
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

    /// The bytes to hash.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

/// Returns true for a text in the form of a password's hash: the name of an algorithm, then other parts. After a short
/// name, which a password may contain as well, the last part must be as long as a hash.
fn is_hash(text: &str) -> bool {
    const SHORTEST: usize = 22;
    let text = text.trim();
    let (name, rest) = if let Some((scheme, hash)) =
        text.strip_prefix('{').and_then(|text| text.split_once('}'))
    {
        (scheme, hash)
    } else if let Some((name, rest)) = text.strip_prefix('$').unwrap_or(text).split_once('$') {
        (name, rest)
    } else {
        return false;
    };
    // Werkzeug writes the parameters after the name: scrypt:32768:8:1$….
    let name = name.split(':').next().unwrap_or_default();
    let hash = rest.rsplit('$').next().unwrap_or_default();
    let known = HASH_NAMES.contains(&name) && (name.len() > 2 || text.starts_with('$'));
    // A cut or shortened hash of Django is one, too.
    let of_django = name.contains('_') || (name.len() > 2 && rest.contains('$'));
    known && of_django
        || known
            && hash.len() >= SHORTEST
            && hash
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+/=.-_".contains(c))
}

/// A password's hash in PHC form. Not shown by `Debug`: it does not belong in a log.
#[derive(Clone, Debug)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    /// Wraps a PHC string.
    #[must_use]
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into().into())
    }

    /// The PHC string.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
