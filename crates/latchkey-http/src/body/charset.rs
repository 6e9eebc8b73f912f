//! Character encodings of bodies (RFC 9110, section 8.3.2). Text is decoded into one allocation,
//! because a buffer that grows leaves copies of a password behind.

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use zeroize::Zeroizing;

use super::parameters::parameter;

/// Names of ASCII. The encoding standard decodes ASCII as windows-1252, which also accepts other
/// bytes.
const ASCII: [&str; 5] = [
    "ansi_x3.4-1968",
    "ascii",
    "iso-ir-6",
    "iso646-us",
    "us-ascii",
];

/// Character encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charset {
    encoding: &'static Encoding,
    ascii: bool,
}

impl Charset {
    pub(super) const UTF_8: Self = Self {
        encoding: UTF_8,
        ascii: false,
    };

    /// Returns the `charset` of a media type, by default UTF-8. Returns `None` for an unknown name.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        Self::named(media_type, Self::UTF_8)
    }

    /// Returns the `charset` of a media type, or `default` if it has none. Returns `None` for an
    /// unknown name.
    pub(super) fn named(media_type: &str, default: Self) -> Option<Self> {
        let Some(label) = parameter(media_type, "charset").filter(|label| !label.is_empty()) else {
            return Some(default);
        };
        let label = label.trim().to_ascii_lowercase().replace('_', "-");
        if ASCII.contains(&label.as_str()) {
            return Some(Self {
                encoding: UTF_8,
                ascii: true,
            });
        }
        let encoding = Encoding::for_label_no_replacement(label.as_bytes())
            .or_else(|| Encoding::for_label_no_replacement(label.replace('-', "").as_bytes()))?;
        Some(Self {
            encoding,
            ascii: false,
        })
    }

    /// Returns true for UTF-8, which needs no decoding.
    pub(super) fn is_utf_8(self) -> bool {
        self.encoding == UTF_8 && !self.ascii
    }

    /// Returns the name for error messages.
    pub(super) fn name(self) -> &'static str {
        if self.ascii {
            "US-ASCII"
        } else {
            self.encoding.name()
        }
    }

    /// Returns true if the encoding is a superset of ASCII, as the syntax of forms requires.
    pub(super) fn fits_forms(self) -> bool {
        self.encoding.is_ascii_compatible()
    }

    /// Returns the text, or `None` if the bytes are not valid in this encoding. A byte-order
    /// mark of UTF-16 selects the byte order and is removed.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Zeroizing<String>> {
        let (encoding, bytes) = match (self.encoding, bytes) {
            (encoding, [0xfe, 0xff, rest @ ..]) if encoding == UTF_16BE || encoding == UTF_16LE => {
                (UTF_16BE, rest)
            }
            (encoding, [0xff, 0xfe, rest @ ..]) if encoding == UTF_16BE || encoding == UTF_16LE => {
                (UTF_16LE, rest)
            }
            (encoding, bytes) => (encoding, bytes),
        };
        if encoding == UTF_8 {
            let text = std::str::from_utf8(bytes)
                .ok()
                .filter(|text| !self.ascii || text.is_ascii())?;
            return Some(Zeroizing::new(text.to_owned()));
        }
        let mut decoder = encoding.new_decoder_without_bom_handling();
        let capacity = decoder.max_utf8_buffer_length_without_replacement(bytes.len())?;
        let mut text = Zeroizing::new(String::with_capacity(capacity));
        let (result, _) = decoder.decode_to_string_without_replacement(bytes, &mut text, true);
        matches!(result, DecoderResult::InputEmpty).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(media_type: &str, bytes: &[u8]) -> Option<String> {
        Charset::of(media_type)?
            .decode(bytes)
            .map(|text| text.to_string())
    }

    #[test]
    fn body_is_decoded_in_the_charset_of_the_header() {
        let utf_16 =
            |units: fn(u16) -> [u8; 2]| "\u{e9}".encode_utf16().flat_map(units).collect::<Vec<_>>();
        let (little, big) = (utf_16(u16::to_le_bytes), utf_16(u16::to_be_bytes));
        for (charset, bytes) in [
            ("", "\u{e9}".as_bytes()),
            ("; charset=", "\u{e9}".as_bytes()),
            ("; charset=UTF_8", "\u{e9}".as_bytes()),
            ("; charset=iso-8859-1", b"\xe9"),
            ("; CharSet = \"ISO_8859-1\"", b"\xe9"),
            ("; charset=latin-1", b"\xe9"),
            ("; charset=utf-8; charset=latin1", b"\xe9"),
            ("; x=\"; charset=utf-8\"; charset=windows-1252", b"\xe9"),
            ("; charset=utf-16le", &little),
            ("; charset=utf-16be", &big),
            (
                "; charset=utf-16",
                &[&[0xfe, 0xff], big.as_slice()].concat(),
            ),
            (
                "; charset=utf-16",
                &[&[0xff, 0xfe], little.as_slice()].concat(),
            ),
        ] {
            assert_eq!(
                read(&format!("text/plain{charset}"), bytes).as_deref(),
                Some("\u{e9}"),
                "{charset}"
            );
        }
    }

    #[test]
    fn invalid_bytes_and_unknown_encodings_are_refused() {
        for (charset, bytes) in [
            ("", &b"\xe9"[..]),
            ("; charset=us-ascii", "\u{e9}".as_bytes()),
            ("; charset=utf-16le", b"\x00\xd8"),
            ("; charset=utf-16", b"a"),
            ("; charset=shift_jis", b"\x81"),
            ("; charset=utf-32", b"a"),
            ("; charset=nope", b"a"),
            ("; charset=iso-2022-kr", b"a"),
        ] {
            assert_eq!(
                read(&format!("text/plain{charset}"), bytes),
                None,
                "{charset}"
            );
        }
    }
}
