//! Parser of `application/x-www-form-urlencoded` (URL standard, section 5.1). The memory of each
//! value is wiped. A value that is invalid in the form's encoding is not text: with replaced
//! characters, a password would be wrong.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::{Data, charset::Charset};
use crate::fields::RawField;

/// Returns the fields of a form. Any bytes are a valid form.
pub(super) fn form(body: &[u8], charset: Charset) -> Data {
    let pairs = body
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty());
    Data(
        pairs
            .map(|pair| {
                let at = pair
                    .iter()
                    .position(|byte| *byte == b'=')
                    .unwrap_or(pair.len());
                let (name, value) = pair.split_at(at);
                let name = Cow::Owned(String::from_utf8_lossy(&decoded(name)).into_owned());
                let value = charset.decode(&decoded(value.get(1..).unwrap_or_default()));
                (name, value.map_or(RawField::NotText, RawField::Text))
            })
            .collect(),
    )
}

fn decoded(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        match (first, others) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    bytes
}

fn digit(hex: u8) -> u8 {
    char::from(hex)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn form_is_parsed_as_in_the_url_standard(body in "[ab=&+%0-9A-F\u{e9}]{0,40}", any in prop::collection::vec(any::<u8>(), 0..40)) {
            for body in [body.as_bytes(), &any] {
                // The standard replaces invalid UTF-8, and this parser refuses it.
                let ours = std::mem::take(&mut form(body, Charset::UTF_8).0);
                let expected: Vec<_> = form_urlencoded::parse(body).collect();
                prop_assert_eq!(ours.len(), expected.len());
                for ((name, input), (expected_name, expected)) in ours.into_iter().zip(expected) {
                    prop_assert_eq!(name, expected_name);
                    match input {
                        RawField::Text(text) => prop_assert_eq!(text.as_str(), expected),
                        other => {
                            let is_replaced = other == RawField::NotText && expected.contains('\u{fffd}');
                            prop_assert!(is_replaced, "{:?} {}", other, expected);
                        }
                    }
                }
            }
        }
    }
}
