//! Usernames: the displayed form, and the key that must be unique.

use precis_profiles::{
    UsernameCaseMapped, UsernameCasePreserved,
    precis_core::{Error as PrecisError, profile::PrecisFastInvocation as _},
};
use unicode_normalization::UnicodeNormalization as _;

use super::visible::is_hidden;

/// Maximum length of a username in characters, as in Django.
pub const MAX_USERNAME: usize = 150;

/// Username in NFKC, with 1 to 150 characters, without control characters or surrounding white
/// space.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Username(String);

/// Reason for which a text is not a username.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UsernameError {
    /// Left-to-right and right-to-left letters in an ambiguous order (RFC 5893, section 2).
    #[error("a username may not mix left-to-right and right-to-left letters")]
    BothDirections,
    /// Empty, or only white space.
    #[error("a username may not be blank")]
    Blank,
    /// Control character or line break.
    #[error("a username may not contain control characters")]
    ControlCharacter,
    /// Character that RFC 8265 forbids in usernames.
    #[error("a username may not contain {shown} (U+{code:04X}): expected letters, digits and ASCII punctuation such \
         as @ . + - _", shown = shown(*.0), code = u32::from(*.0))]
    Character(char),
    /// More than [`MAX_USERNAME`] characters.
    #[error("a username has at most {MAX_USERNAME} characters")]
    TooLong,
}

impl Username {
    /// Parses the name of an account that may already exist. Trims and normalises `text` (NFKC, as
    /// Django does).
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

    /// Parses the name of a new account, in a form that RFC 8265 allows. The case is kept, as in
    /// Django. Uniqueness and lookups use the case-folded key.
    ///
    /// # Errors
    /// [`UsernameError`].
    pub fn parse_new(text: &str) -> Result<NewUsername, UsernameError> {
        let name = Self::parse(text)?;
        // RFC 8264 allows joiners between some letters. They are invisible, so two names could be
        // displayed alike.
        if let Some(hidden) = name.0.chars().find(|c| is_hidden(*c)) {
            return Err(UsernameError::Character(hidden));
        }
        let shown = UsernameCasePreserved::enforce(name.0.as_str())
            .map_err(refusal)?
            .into_owned();
        // The key must be an allowed name too.
        UsernameCaseMapped::enforce(folded(&shown)).map_err(refusal)?;
        Self::parse(&shown).map(NewUsername)
    }

    /// Returns the name as it is displayed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the form that must be unique. See [`folded`].
    #[must_use]
    pub fn key(&self) -> String {
        folded(&self.0)
    }
}

/// Username that is allowed for a new account. See [`Username::parse_new`]. Imported accounts may
/// have other names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewUsername(Username);

impl NewUsername {
    /// Returns the name as a [`Username`].
    #[must_use]
    pub fn into_inner(self) -> Username {
        self.0
    }
}

fn refusal(error: PrecisError) -> UsernameError {
    match error {
        PrecisError::BadCodepoint(info) => {
            UsernameError::Character(char::from_u32(info.cp).unwrap_or(char::REPLACEMENT_CHARACTER))
        }
        PrecisError::Invalid | PrecisError::Unexpected(_) => UsernameError::BothDirections,
    }
}

/// Returns a visible character in quotes, or a description of any other.
fn shown(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        c if is_hidden(c) => "an invisible character".to_owned(),
        c => format!("{c:?}"),
    }
}

/// Returns `text` in lowercase and NFKC. Lowercasing can undo the normalisation and vice versa, so
/// both run until nothing changes. The key of a key is therefore the key itself, as with RFC 8265's
/// `UsernameCaseMapped`.
#[must_use]
pub fn folded(text: &str) -> String {
    let mut key = text.to_owned();
    // Two rounds suffice for every Unicode character. The bound prevents an endless loop with
    // future ones.
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

    use super::{MAX_USERNAME, Username, UsernameError, folded, is_hidden};

    fn new(text: &str) -> Result<String, UsernameError> {
        Username::parse_new(text).map(|name| name.into_inner().as_str().to_owned())
    }

    #[test]
    fn names_that_differ_in_width_or_case_share_a_key() {
        let keys: Vec<String> = ["ada", "ADA", "Ａｄａ", "  ada "]
            .iter()
            .map(|text| Username::parse(text).unwrap().key())
            .collect();
        assert!(keys.iter().all(|key| key == "ada"), "{keys:?}");
        assert_eq!(Username::parse("ᴮᴵᴳᴮᴵᴿᴰ").unwrap().key(), "bigbird");
    }

    #[test]
    fn blank_long_and_control_characters_are_refused() {
        assert_eq!(Username::parse(" \u{3000}"), Err(UsernameError::Blank));
        assert_eq!(
            Username::parse("a\nb"),
            Err(UsernameError::ControlCharacter)
        );
        assert_eq!(
            Username::parse(&"é".repeat(151)),
            Err(UsernameError::TooLong)
        );
        assert!(Username::parse(&"é".repeat(150)).is_ok());
    }

    #[test]
    fn new_name_keeps_its_case_but_its_key_does_not() {
        for name in [
            "ada",
            "Ada.Lovelace+1@Example-1_x",
            "Ada",
            "é",
            "Ада",
            "アダ",
            "에이다",
            "عادة",
            "λ\u{3bb}",
            "ß",
            "İ",
            "o'neil",
        ] {
            assert_eq!(new(name).as_deref(), Ok(name), "{name}");
        }
        assert_eq!(
            new(" Ａｄａ ").as_deref(),
            Ok("Ada"),
            "wide letters are normalised"
        );
        assert_eq!(new("e\u{301}").as_deref(), Ok("é"), "composed form");
        assert_eq!(
            Username::parse_new("ADA").unwrap().into_inner().key(),
            "ada"
        );
    }

    #[test]
    fn new_name_with_unusual_characters_is_refused() {
        let hidden = [
            "a\u{200b}da",
            "a\u{200d}da",
            "ada\u{200c}",
            "a\u{ad}da",
            "a\u{2060}da",
            "\u{feff}ada",
            "\u{202e}ada",
            "a\u{2066}da",
            "a\u{200f}da",
            "a\u{61c}da",
            "क\u{94d}\u{200d}",
            "a\u{3164}",
            "a\u{115f}",
            "a\u{34f}",
            "a\u{fe0f}",
            "a\u{e0041}",
            "a\u{180e}",
        ];
        for name in hidden {
            let refused = new(name).unwrap_err();
            assert!(
                matches!(refused, UsernameError::Character(_)),
                "{name:?}: {refused}"
            );
            let line = refused.to_string();
            assert!(line.contains("(U+") && !line.contains(is_hidden), "{line}");
        }
        for name in ["a\u{1b}[2J", "a\nb", "a\0", "a\u{9b}"] {
            assert_eq!(new(name), Err(UsernameError::ControlCharacter), "{name:?}");
        }
        for name in [
            "ada lovelace",
            "a\u{2028}b",
            "a\u{3000}b",
            "🙂",
            "½?\u{2044}",
            "™\u{2603}",
            "a\u{e000}",
            "a\u{378}",
        ] {
            assert!(
                matches!(new(name), Err(UsernameError::Character(_))),
                "{name:?}: {:?}",
                new(name)
            );
        }
        for name in ["adaعadaع", "1عa", "عa"] {
            assert_eq!(new(name), Err(UsernameError::BothDirections), "{name}");
        }
        assert_eq!(new(" "), Err(UsernameError::Blank));
        assert_eq!(
            new(&"a".repeat(MAX_USERNAME + 1)),
            Err(UsernameError::TooLong)
        );
        let line = new("ada lovelace").unwrap_err().to_string();
        assert!(
            line.starts_with("a username may not contain a space (U+0020): expected letters"),
            "{line}"
        );
    }

    /// Lookups accept any name that may have been imported.
    #[test]
    fn name_refused_for_new_accounts_can_be_looked_up() {
        for name in ["ada lovelace", "a\u{200d}da", "🙂"] {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
        }
    }

    proptest! {
        #[test]
        fn new_name_and_its_key_can_be_parsed_again(text in prop_oneof![any::<String>(), "\\PC{0,12}", "[\\p{L}\\p{Nd}@.+_-]{1,12}"]) {
            if let Ok(name) = Username::parse_new(&text) {
                let name = name.into_inner();
                prop_assert_eq!(new(name.as_str()), Ok(name.as_str().to_owned()));
                prop_assert!(!name.as_str().contains(is_hidden));
                let key = Username::parse_new(&name.key());
                prop_assert_eq!(key.map(|key| key.into_inner().key()), Ok(name.key()));
                prop_assert_eq!(Username::parse(&text).unwrap().key(), name.key(), "the typed text finds the user");
            }
        }

        #[test]
        fn folding_is_idempotent(text in "\\PC{0,40}") {
            let key = folded(&text);
            prop_assert_eq!(folded(&key), key);
        }
    }
}
