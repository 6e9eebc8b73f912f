//! Escaping of external text for display, so that no character can move the cursor, hide other text
//! or change its order.

use std::{borrow::Cow, fmt::Write as _};

/// Invisible letters and marks (`Default_Ignorable_Code_Point`): Hangul fillers, joiners, variation
/// selectors. Invisible format characters are detected by category in [`is_hidden`].
const BLANK: [(char, char); 9] = [
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{e0100}', '\u{e01ef}'),
];

/// Returns true for control, format, bidirectional and zero-width characters, unusual spaces, and
/// unassigned characters.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // `escape_debug` escapes unprintable characters. The letter is needed because a mark alone is
    // not printable.
    let mut text = String::from("x");
    text.push(c);
    BLANK
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&c))
        || text.escape_debug().count() > 2
}

/// Returns the text as one line, with hidden characters as `\u{202e}` and line breaks as `
/// `.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden, |out, c| out.extend(c.escape_default()))
}

/// Like [`line()`], but keeps line breaks, for multi-line texts of Latchkey.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| c != '\n' && is_hidden(c),
        |out, c| out.extend(c.escape_default()),
    )
}

/// Returns the JSON text with hidden characters in strings as `\u202e` (RFC 8259, section 7). The
/// document is equivalent, and line breaks between members are kept.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| c != '\n' && is_hidden(c),
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

fn escaped(
    text: &str,
    hidden: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let Some(first) = text.find(&hidden) else {
        return Cow::Borrowed(text);
    };
    let (start, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(start);
    for c in rest.chars() {
        if hidden(c) {
            write(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_hidden, json, line, lines};

    #[test]
    fn hidden_and_control_characters_are_escaped() {
        for c in [
            '\0',
            '\u{7}',
            '\u{8}',
            '\t',
            '\n',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{e000}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{10ffff}',
        ] {
            assert!(is_hidden(c), "{c:?}");
            let shown = line(&format!("a{c}b")).into_owned();
            assert!(
                shown.starts_with("a\\") && shown.ends_with('b'),
                "{c:?}: {shown}"
            );
        }
        assert_eq!(line("a\u{202e}b\nc"), "a\\u{202e}b\\nc");
        assert_eq!(lines("a\u{202e}b\nc"), "a\\u{202e}b\nc");
        assert_eq!(
            json("{\"a\":\"\u{e0041}\u{7f}\"}"),
            r#"{"a":"\udb40\udc41\u007f"}"#
        );
    }

    #[test]
    fn ordinary_text_is_unchanged() {
        for text in [
            "",
            "Ada Lovelace",
            "é e\u{301} ß Σ",
            "Ада",
            "アダ",
            "에이다",
            "أدا",
            "अदा",
            "🙂",
            "\\ \" '",
        ] {
            assert_eq!(line(text), text);
            assert_eq!(json(text), text);
        }
    }

    proptest! {
        #[test]
        fn escaping_removes_hidden_characters_and_is_idempotent(text in any::<String>()) {
            let shown = line(&text).into_owned();
            prop_assert!(!shown.contains(is_hidden));
            prop_assert_eq!(line(&shown), shown.as_str());
        }

        #[test]
        fn escaped_json_is_equivalent(text in any::<String>()) {
            let document = serde_json::json!({ "text": text, "list": [text, 1] });
            for written in [document.to_string(), format!("{document:#}")] {
                let shown = json(&written).into_owned();
                prop_assert!(shown.chars().all(|c| c == '\n' || !is_hidden(c)));
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document.clone());
            }
        }
    }
}
