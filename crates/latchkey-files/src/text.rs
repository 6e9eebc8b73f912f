//! Text from editors and shells, with or without a byte order mark, in UTF-8 or UTF-16. Windows
//! PowerShell writes UTF-16.

use zeroize::Zeroizing;

use super::FileError;

const UTF8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
const UTF16_LITTLE: &[u8] = &[0xff, 0xfe];
const UTF16_BIG: &[u8] = &[0xfe, 0xff];

/// Decodes text, and removes a byte order mark. UTF-16 is recognised by its mark.
///
/// # Errors
/// [`FileError::NotText`].
pub fn text(bytes: &[u8]) -> Result<Zeroizing<String>, FileError> {
    if let Some(text) = utf16(bytes) {
        return text;
    }
    let bytes = bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| FileError::NotText)
}

/// Removes a byte order mark, and converts UTF-16 with such a mark to UTF-8. Other bytes are
/// returned unchanged.
#[must_use]
pub fn without_mark(bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    match utf16(&bytes) {
        Some(Ok(text)) => Zeroizing::new(text.as_bytes().to_vec()),
        Some(Err(_)) => bytes,
        None => match bytes.strip_prefix(UTF8_MARK) {
            Some(rest) => Zeroizing::new(rest.to_vec()),
            None => bytes,
        },
    }
}

/// Decodes UTF-16. Returns `None` if the bytes do not begin with a mark of UTF-16, and an error if
/// they are malformed.
fn utf16(bytes: &[u8]) -> Option<Result<Zeroizing<String>, FileError>> {
    let (rest, unit): (_, fn([u8; 2]) -> u16) = match bytes.strip_prefix(UTF16_LITTLE) {
        Some(rest) => (rest, u16::from_le_bytes),
        None => (bytes.strip_prefix(UTF16_BIG)?, u16::from_be_bytes),
    };
    let pairs = rest.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Some(Err(FileError::NotText));
    }
    // Three bytes for each unit are enough: growing would leave copies of a secret in memory.
    let mut text = Zeroizing::new(String::with_capacity(rest.len() / 2 * 3));
    let units = pairs.map(|pair| <[u8; 2]>::try_from(pair).map(unit).unwrap_or_default());
    for character in char::decode_utf16(units) {
        let Ok(character) = character else {
            return Some(Err(FileError::NotText));
        };
        text.push(character);
    }
    Some(Ok(text))
}
