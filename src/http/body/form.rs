//! `application/x-www-form-urlencoded`, parsed as in the URL standard (section 5.1), with each value in memory that is
//! wiped.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::{Data, wiped::lossy};
use crate::http::fields::Input;

/// Returns the fields of a form. Any bytes are a valid form.
pub(super) fn form(body: &[u8]) -> Data {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    Data(
        pairs
            .map(|pair| {
                let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
                let (name, value) = pair.split_at(at);
                let name = Cow::Owned(decoded(name).to_string());
                (name, Input::Text(decoded(value.get(1..).unwrap_or_default())))
            })
            .collect(),
    )
}

fn decoded(text: &[u8]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        match (first, others) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    lossy(&bytes)
}

fn digit(hex: u8) -> u8 {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_form_is_read_as_the_url_standard_says(body in "[ab=&+%0-9A-F\u{e9}]{0,40}", any in prop::collection::vec(any::<u8>(), 0..40)) {
            for body in [body.as_bytes(), &any] {
                let expected: Vec<_> = form_urlencoded::parse(body)
                    .map(|(name, value)| (name, Input::Text(value.into_owned().into())))
                    .collect();
                prop_assert_eq!(std::mem::take(&mut form(body).0), expected);
            }
        }
    }
}
