//! Encoding and signing of tokens in compact form (RFC 7515, section 7.1).

use std::{borrow::Cow, sync::OnceLock};

use base64::{Engine as _, encoded_len, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_verifier::{Algorithm, ClaimNames};

use super::signing_key::{SignatureError, SigningKey};
use latchkey_domain::claims::{AccessClaims, ExtraClaim, ExtraValue, RefreshClaims};

/// Claims and headers that all tokens of a deployment have in common.
#[derive(Clone, Debug)]
pub struct TokenShape {
    /// Header `typ` of access tokens.
    pub access_typ: String,
    /// Claim `aud` of access tokens, if any.
    pub audience: Option<String>,
    /// Claim `iss`.
    pub issuer: String,
    /// Names of the claims that can be renamed.
    pub names: ClaimNames,
}

impl TokenShape {
    /// Returns a signed access token. The claims of simplejwt come first, in its order.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn access(
        &self,
        key: &SigningKey,
        claims: &AccessClaims,
    ) -> Result<String, SignatureError> {
        let mut payload = self.payload(
            "access",
            claims.expires_at,
            claims.issued_at,
            &claims.jti,
            &claims.subject,
        );
        if let Some(audience) = &self.audience {
            payload.text("aud", audience);
        }
        payload.text("sid", &claims.sid);
        payload.number("ver", claims.session_epoch.into());
        for (claim, value) in &claims.extra {
            match value {
                ExtraValue::Flag(flag) => payload.flag(claim.name(), *flag),
                ExtraValue::Text(text) => payload.text(claim.name(), text),
            }
        }
        sign_compact(key, &self.access_typ, &payload.end())
    }

    /// Returns a refresh token with a MAC. Its audience is the issuer, because only this service
    /// accepts it.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn refresh(
        &self,
        key: &SigningKey,
        claims: &RefreshClaims,
    ) -> Result<String, SignatureError> {
        let mut payload = self.payload(
            "refresh",
            claims.expires_at,
            claims.issued_at,
            &claims.jti,
            &claims.subject,
        );
        payload.text("aud", &self.issuer);
        payload.text("sid", &claims.sid);
        payload.number("gen", claims.generation.into());
        payload.number("ver", claims.session_epoch.into());
        sign_compact(key, "rt+jwt", &payload.end())
    }

    fn payload<'a>(
        &'a self,
        token_type: &str,
        exp: i64,
        iat: i64,
        jti: &str,
        subject: &str,
    ) -> JsonWriter<'a> {
        let mut payload = JsonWriter::default();
        payload.text(&self.names.token_type, token_type);
        payload.number("exp", exp);
        payload.number("iat", iat);
        payload.text(&self.names.jti, jti);
        payload.text(&self.names.user_id, subject);
        payload.text("iss", &self.issuer);
        payload.text("sub", subject);
        payload
    }
}

fn sign_compact(key: &SigningKey, typ: &str, payload: &[u8]) -> Result<String, SignatureError> {
    let header = key.header(typ);
    let lengths = [payload.len(), key.signature_length()]
        .map(|length| 1 + encoded_len(length, false).unwrap_or_default());
    let mut token = String::with_capacity(header.len() + lengths.iter().sum::<usize>());
    token.push_str(&header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// First segment of a key's tokens. It does not change, so that of the first `typ` is cached.
#[derive(Default)]
pub(super) struct CachedHeader(OnceLock<(String, String)>);

impl CachedHeader {
    pub(super) fn of(&self, algorithm: Algorithm, kid: &str, typ: &str) -> Cow<'_, str> {
        let encode = || {
            let mut header = JsonWriter::default();
            header.text("alg", algorithm.name());
            header.text("typ", typ);
            header.text("kid", kid);
            URL_SAFE_NO_PAD.encode(header.end())
        };
        match self.0.get_or_init(|| (typ.to_owned(), encode())) {
            (cached, header) if cached == typ => Cow::Borrowed(header),
            _ => Cow::Owned(encode()),
        }
    }
}

/// Writer of compact JSON. A repeated name, such as a claim that was renamed to `sub`, is written
/// once, because tokens must not have duplicate members.
struct JsonWriter<'a> {
    names: [&'a str; MAX_NAMES],
    count: usize,
    text: Vec<u8>,
}

/// Maximum number of distinct names in a token: ten, and one for each [`ExtraClaim`].
const MAX_NAMES: usize = 10 + ExtraClaim::ALL.len();

impl Default for JsonWriter<'_> {
    fn default() -> Self {
        Self {
            names: [""; MAX_NAMES],
            count: 0,
            text: Vec::with_capacity(512),
        }
    }
}

impl<'a> JsonWriter<'a> {
    fn text(&mut self, name: &'a str, value: &str) {
        if self.begin(name) {
            quote(&mut self.text, value);
        }
    }

    fn number(&mut self, name: &'a str, value: i64) {
        if self.begin(name) {
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut self.text, &value);
        }
    }

    fn flag(&mut self, name: &'a str, value: bool) {
        if self.begin(name) {
            self.text
                .extend_from_slice(if value { b"true" } else { b"false" });
        }
    }

    /// Writes the name. Returns false if it is a repetition, which gets no value.
    fn begin(&mut self, name: &'a str) -> bool {
        if self
            .names
            .iter()
            .take(self.count)
            .any(|earlier| *earlier == name)
        {
            return false;
        }
        if let Some(slot) = self.names.get_mut(self.count) {
            *slot = name;
            self.count += 1;
        }
        self.text
            .push(if self.text.is_empty() { b'{' } else { b',' });
        quote(&mut self.text, name);
        self.text.push(b':');
        true
    }

    fn end(mut self) -> Vec<u8> {
        self.text.push(b'}');
        self.text
    }
}

/// Writes a JSON string. Ids and names rarely need escapes (RFC 8259, section 7), so the fast path
/// copies the bytes.
fn quote(text: &mut Vec<u8>, value: &str) {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // Without an early exit, so that the compiler can vectorise the loop.
    if value
        .bytes()
        .fold(false, |found, byte| found | special(byte))
    {
        // Writing a text to memory cannot fail.
        let _ = serde_json::to_writer(text, value);
    } else {
        text.push(b'"');
        text.extend_from_slice(value.as_bytes());
        text.push(b'"');
    }
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
