//! The compact serialization: three base64url segments and two dots (RFC 7515, section 7.1).

use base64::{Engine as _, decoded_len_estimate, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::VerifyError;

/// Tokens longer than this many bytes are refused before anything is decoded.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;

const STEP: usize = 64;

/// A token taken apart. Nothing in it may be believed before the signature is checked.
pub(crate) struct Compact<'a> {
    /// What the signature is over: the first two segments and the dot between them.
    pub signing_input: &'a [u8],
    /// The first segment as it stands.
    pub header: &'a str,
    /// The second, decoded.
    pub payload: Vec<u8>,
    /// The third, decoded.
    pub signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes `token` apart. One token has one spelling: padding, white space, characters outside the alphabet and
    /// non-zero trailing bits are refused (RFC 4648, section 3.5), as are four (or a JWE's five) segments.
    pub(crate) fn parse(token: &'a str) -> Result<Self, VerifyError> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(VerifyError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(VerifyError::Malformed)?;
        let (header, payload) = signing_input
            .split_once('.')
            .ok_or(VerifyError::Malformed)?;
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        Ok(Self {
            signing_input: signing_input.as_bytes(),
            header,
            payload,
            signature,
        })
    }

    /// The first, decoded.
    pub(crate) fn decoded_header(&self) -> Result<Vec<u8>, VerifyError> {
        decode(self.header)
    }
}

/// What the segment holds. A further dot is outside the alphabet, so a fourth segment fails here.
fn decode(segment: &str) -> Result<Vec<u8>, VerifyError> {
    if segment.is_empty() {
        return Err(VerifyError::Malformed);
    }
    // With room that the decoder need not ask for: it would ask for zeroed memory, which glibc's allocator does not give from
    // what a thread has just given back. And in steps, so that one payload fits where another was.
    let mut decoded =
        Vec::with_capacity(decoded_len_estimate(segment.len()).next_multiple_of(STEP));
    URL_SAFE_NO_PAD
        .decode_vec(segment, &mut decoded)
        .map_err(|_| VerifyError::Malformed)?;
    Ok(decoded)
}
