//! The compact serialization: three base64url segments and two dots (RFC 7515, section 7.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::Refusal;

/// Tokens longer than this many bytes are refused before anything is decoded.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// A token taken apart. Nothing in it may be believed before the signature is checked.
pub(crate) struct Compact<'a> {
    /// What the signature is over: the first two segments and the dot between them.
    pub signing_input: &'a [u8],
    /// All three segments, decoded, in one piece.
    bytes: Vec<u8>,
    /// Where the header ends in it, and where the payload does.
    ends: [usize; 2],
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
        let mut bytes = Vec::with_capacity(token.len());
        let ends = [decode(header, &mut bytes)?, decode(payload, &mut bytes)?];
        decode(signature, &mut bytes)?;
        Ok(Self { signing_input: signing_input.as_bytes(), bytes, ends })
    }

    /// The header, the payload and the signature.
    pub(crate) fn segments(&self) -> (&[u8], &[u8], &[u8]) {
        let [header_end, payload_end] = self.ends;
        let (signed, signature) = self.bytes.split_at(payload_end);
        let (header, payload) = signed.split_at(header_end);
        (header, payload, signature)
    }
}

/// Appends what the segment holds, and says where it ends. A further dot is outside the alphabet, so a fourth segment
/// fails here.
fn decode(segment: &str, bytes: &mut Vec<u8>) -> Result<usize, Refusal> {
    if segment.is_empty() {
        return Err(Refusal::Malformed);
    }
    URL_SAFE_NO_PAD.decode_vec(segment, bytes).map_err(|_| Refusal::Malformed)?;
    Ok(bytes.len())
}
