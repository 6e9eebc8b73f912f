//! The compact serialization: three base64url segments and two dots (RFC 7515, section 7.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::Refusal;

/// Tokens longer than this many bytes are refused before anything is decoded.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// A token taken apart. Nothing in it may be believed before the signature is checked.
pub(crate) struct Compact<'a> {
    pub header: Vec<u8>,
    pub payload: Vec<u8>,
    /// What the signature is over: the first two segments and the dot between them.
    pub signing_input: &'a [u8],
    /// The third segment, still encoded.
    pub signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes `token` apart. One token has one spelling: padding, white space, characters outside the alphabet and
    /// non-zero trailing bits are refused (RFC 4648, section 3.5), as are four (or a JWE's five) segments.
    pub(crate) fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(Refusal::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Refusal::Malformed)?;
        decode(signature)?;
        Ok(Self {
            header: decode(header)?,
            payload: decode(payload)?,
            signing_input: signing_input.as_bytes(),
            signature,
        })
    }
}

/// A further dot is outside the alphabet, so a fourth segment fails here.
fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    match URL_SAFE_NO_PAD.decode(segment) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(Refusal::Malformed),
    }
}
