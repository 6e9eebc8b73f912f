//! White space at the ends of a text, as defined by Django.

/// Removes the white space of Python's `str.strip` at both ends: that of Unicode, and the four
/// ASCII separators.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}
