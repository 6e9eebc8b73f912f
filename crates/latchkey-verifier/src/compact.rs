//! Compact serialization: three base64url segments and two dots (RFC 7515, section 7.1).

use base64::{Engine as _, decoded_len_estimate, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::VerifyError;

/// Maximum length of a token in bytes. Longer tokens are refused before anything is decoded.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;

const CAPACITY_STEP: usize = 64;

/// Parts of a token. They must not be trusted before the signature is verified.
pub(crate) struct Compact<'a> {
    /// Signing input: the first two segments and the dot between them.
    pub signing_input: &'a [u8],
    /// First segment, encoded.
    pub header: &'a str,
    /// Second segment, decoded.
    pub payload: Vec<u8>,
    /// Third segment, decoded.
    pub signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Splits `token` into its parts. A token has only one valid encoding: padding, white space,
    /// characters outside the alphabet and non-zero trailing bits are refused (RFC 4648, section
    /// 3.5). So are four segments, and the five of a JWE.
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

    /// Returns the first segment, decoded.
    pub(crate) fn decoded_header(&self) -> Result<Vec<u8>, VerifyError> {
        decode(self.header)
    }
}

/// Decodes a segment. A further dot is outside the alphabet, so a fourth segment fails here.
fn decode(segment: &str) -> Result<Vec<u8>, VerifyError> {
    if segment.is_empty() {
        return Err(VerifyError::Malformed);
    }
    // The decoder would allocate zeroed memory, which glibc's allocator does not reuse from the
    // thread's recently freed blocks. Rounded up, so that payloads of similar length can reuse a
    // block.
    let mut decoded =
        Vec::with_capacity(decoded_len_estimate(segment.len()).next_multiple_of(CAPACITY_STEP));
    URL_SAFE_NO_PAD
        .decode_vec(segment, &mut decoded)
        .map_err(|_| VerifyError::Malformed)?;
    Ok(decoded)
}
