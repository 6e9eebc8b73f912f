//! A field of a request as Django REST framework's `CharField` reads it.

use zeroize::Zeroizing;

use crate::domain::white_space::strip;

/// What stands in the body under a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RawField {
    /// Text with half of a surrogate pair in it: the code unit.
    LoneSurrogate(u16),
    /// Nothing.
    Missing,
    /// `true`, a list, an object, a file.
    NotText,
    /// `null`.
    Null,
    /// Text, or a number in its own spelling.
    Text(Zeroizing<String>),
}

/// How a field is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trim {
    /// With surrounding white space cut off, as Python's `str.strip` does.
    Yes,
    /// Exactly as sent: a password. One of white space alone is still blank.
    No,
}

/// The text of a field, or what is wrong with it in the framework's words. The limit of the body is the
/// limit of a field: what is too long to be right is for the use case to refuse, as any wrong value.
pub(super) fn char_field(input: RawField, trim: Trim) -> Result<Zeroizing<String>, Vec<String>> {
    let text = match input {
        RawField::LoneSurrogate(unit) => {
            return refuse(&format!(
                "Surrogate characters are not allowed: U+{unit:04X}."
            ));
        }
        RawField::Missing => return refuse("This field is required."),
        RawField::NotText => return refuse("Not a valid string."),
        RawField::Null => return refuse("This field may not be null."),
        RawField::Text(text) => text,
    };
    let trimmed = strip(&text);
    if trimmed.is_empty() {
        return refuse("This field may not be blank.");
    }
    if text.contains('\0') {
        return refuse("Null characters are not allowed.");
    }
    Ok(match trim {
        Trim::Yes if trimmed.len() != text.len() => trimmed.to_owned().into(),
        Trim::Yes | Trim::No => text,
    })
}

fn refuse(text: &str) -> Result<Zeroizing<String>, Vec<String>> {
    Err(vec![text.to_owned()])
}
