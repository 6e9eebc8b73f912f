//! Usernames: what is shown, and the key that makes them unique.

use unicode_normalization::UnicodeNormalization as _;

/// The longest username in characters, as in Django.
pub const MAX_USERNAME: usize = 150;

/// A username in NFKC, 1 to 150 characters, without control characters or surrounding white space.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Username(String);

/// Why a text is not a username.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UsernameError {
    /// Nothing there.
    #[error("a username may not be blank")]
    Blank,
    /// A control character or a line break.
    #[error("a username may not contain control characters")]
    ControlCharacter,
    /// More than [`MAX_USERNAME`].
    #[error("a username has at most {MAX_USERNAME} characters")]
    TooLong,
}

impl Username {
    /// Trims and normalises `text` (NFKC, as Django does).
    ///
    /// # Errors
    /// [`UsernameError`].
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let name: String = text.trim().nfkc().collect();
        let name = name.trim();
        if name.is_empty() {
            return Err(UsernameError::Blank);
        }
        if name.chars().any(char::is_control) {
            return Err(UsernameError::ControlCharacter);
        }
        if name.chars().count() > MAX_USERNAME {
            return Err(UsernameError::TooLong);
        }
        Ok(Self(name.to_owned()))
    }

    /// As it is shown and as it is compared at login.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What must be unique: see [`folded`].
    #[must_use]
    pub fn key(&self) -> String {
        folded(&self.0)
    }
}

/// `text` in lowercase and NFKC. Lowercasing can undo a normalisation and the other way round, so both run until
/// nothing changes: the key of a key is itself (RFC 8265's `UsernameCaseMapped` in effect).
#[must_use]
pub fn folded(text: &str) -> String {
    let mut key = text.to_owned();
    // Two rounds settle every character of Unicode; the bound is there so that a new one can never hang a login.
    for _ in 0..4 {
        let next: String = key.nfkc().collect::<String>().to_lowercase();
        if next == key {
            break;
        }
        key = next;
    }
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Username, UsernameError, folded};

    #[test]
    fn look_alikes_by_width_and_case_share_a_key() {
        let keys: Vec<String> =
            ["ada", "ADA", "Ａｄａ", "  ada "].iter().map(|text| Username::parse(text).unwrap().key()).collect();
        assert!(keys.iter().all(|key| key == "ada"), "{keys:?}");
        assert_eq!(Username::parse("ᴮᴵᴳᴮᴵᴿᴰ").unwrap().key(), "bigbird");
    }

    #[test]
    fn blank_long_and_control_characters_are_refused() {
        assert_eq!(Username::parse(" \u{3000}"), Err(UsernameError::Blank));
        assert_eq!(Username::parse("a\nb"), Err(UsernameError::ControlCharacter));
        assert_eq!(Username::parse(&"é".repeat(151)), Err(UsernameError::TooLong));
        assert!(Username::parse(&"é".repeat(150)).is_ok());
    }

    proptest! {
        #[test]
        fn the_key_of_a_key_is_itself(text in "\\PC{0,40}") {
            let key = folded(&text);
            prop_assert_eq!(folded(&key), key);
        }
    }
}
