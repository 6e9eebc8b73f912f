//! Validation of text fields, as by `CharField` of Django REST framework.

use zeroize::Zeroizing;

use latchkey_domain::white_space::strip;

/// Unchecked value of a field in a body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RawField {
    /// Text with a lone surrogate, which is this code unit.
    LoneSurrogate(u16),
    /// The body has no such field.
    Missing,
    /// A boolean, a list, an object, a file, or bytes that are invalid in the charset.
    NotText,
    /// `null`.
    Null,
    /// Text, or a number as Python prints it.
    Text(Zeroizing<String>),
}

/// Treatment of surrounding white space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trim {
    /// Removed, as by Python's `str.strip`.
    Yes,
    /// Kept, for passwords. Text of white space alone is still blank.
    No,
}

/// Returns the text of a field. The length is only limited by the limit of the body, because the
/// use case refuses a value that is too long like any other wrong value.
///
/// # Errors
/// The messages of Django REST framework.
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
