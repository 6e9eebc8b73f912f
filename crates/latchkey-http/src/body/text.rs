//! Unescapes a JSON string (RFC 8259, section 7) into one allocation. JSON parsers do not wipe
//! their temporary copies.

use zeroize::Zeroizing;

/// Returns the text of a string with valid syntax.
///
/// # Errors
/// The first code unit that is a lone surrogate.
pub(super) fn unescaped(raw: &str) -> Result<Zeroizing<String>, u16> {
    let mut text = Zeroizing::new(String::with_capacity(raw.len()));
    let mut rest = raw
        .strip_prefix('"')
        .and_then(|raw| raw.strip_suffix('"'))
        .unwrap_or_default();
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let kind = escape.chars().next().unwrap_or_default();
        rest = escape.get(kind.len_utf8()..).unwrap_or_default();
        text.push(match kind {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (c, after) = code_point(rest)?;
                rest = after;
                c
            }
            other => other,
        });
    }
    text.push_str(rest);
    Ok(text)
}

/// Reads the four digits after `\u`, and the second escape of a surrogate pair.
fn code_point(text: &str) -> Result<(char, &str), u16> {
    let unit =
        |text: &str| u16::from_str_radix(text.get(..4).unwrap_or_default(), 16).unwrap_or_default();
    let (first, rest) = (unit(text), text.get(4..).unwrap_or_default());
    if let Some(c) = char::from_u32(first.into()) {
        return Ok((c, rest));
    }
    let second = rest.strip_prefix("\\u").ok_or(first)?;
    let pair = char::decode_utf16([first, unit(second)]).next();
    Ok((
        pair.and_then(Result::ok).ok_or(first)?,
        second.get(4..).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::unescaped;

    proptest! {
        #[test]
        fn string_is_the_same_as_that_of_serde(text in any::<String>(), escapes in r#"(a|é|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\ud83d\\ude00){0,12}"#) {
            for raw in [serde_json::to_string(&text).unwrap(), format!("\"{escapes}\"")] {
                let expected = serde_json::from_str::<String>(&raw).ok();
                prop_assert_eq!(unescaped(&raw).ok().map(|text| text.to_string()), expected, "{}", raw);
            }
        }
    }
}
