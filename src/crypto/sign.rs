//! Claims to signed tokens in compact form (RFC 7515, section 7.1).

use std::{borrow::Cow, sync::OnceLock};

use base64::{Engine as _, encoded_len, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_verifier::{Algorithm, ClaimNames};

use super::signing_key::{SignatureError, SigningKey};
use crate::domain::claims::{AccessClaims, ExtraClaim, ExtraValue, RefreshClaims};

/// What every token of this service has in common.
#[derive(Clone, Debug)]
pub struct TokenShape {
    /// `typ` of an access token's header.
    pub access_typ: String,
    /// `aud` of access tokens, if any.
    pub audience: Option<String>,
    /// `iss`.
    pub issuer: String,
    /// The names of the claims that can be renamed.
    pub names: ClaimNames,
}

impl TokenShape {
    /// A signed access token. simplejwt's claims come first and in its order, ours after them.
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
        payload.number("ver", claims.version.into());
        for (claim, value) in &claims.extra {
            match value {
                ExtraValue::Flag(flag) => payload.flag(claim.name(), *flag),
                ExtraValue::Text(text) => payload.text(claim.name(), text),
            }
        }
        sign_compact(key, &self.access_typ, &payload.end())
    }

    /// A refresh token with a MAC, for this service alone: its audience is the issuer.
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
        payload.number("ver", claims.version.into());
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
    let rest = [payload.len(), key.signature_length()]
        .map(|length| 1 + encoded_len(length, false).unwrap_or_default());
    let mut token = String::with_capacity(header.len() + rest.iter().sum::<usize>());
    token.push_str(&header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// The first segment of a key's tokens. It never changes, so a key keeps the one of the `typ` that it is used with.
#[derive(Default)]
pub(super) struct CachedHeader(OnceLock<(String, String)>);

impl CachedHeader {
    pub(super) fn of(&self, algorithm: Algorithm, kid: &str, typ: &str) -> Cow<'_, str> {
        let made = || {
            let mut header = JsonWriter::default();
            header.text("alg", algorithm.name());
            header.text("typ", typ);
            header.text("kid", kid);
            URL_SAFE_NO_PAD.encode(header.end())
        };
        match self.0.get_or_init(|| (typ.to_owned(), made())) {
            (kept, header) if kept == typ => Cow::Borrowed(header),
            _ => Cow::Owned(made()),
        }
    }
}

/// Compact JSON, written member by member. A name that stands twice (a renamed claim that is called `sub`, say) is
/// written once: a token never has duplicate members.
struct JsonWriter<'a> {
    names: [&'a str; MOST_NAMES],
    count: usize,
    text: Vec<u8>,
}

/// More different names than any token has: ten of its own and one for each [`ExtraClaim`].
const MOST_NAMES: usize = 10 + ExtraClaim::ALL.len();

impl Default for JsonWriter<'_> {
    fn default() -> Self {
        Self {
            names: [""; MOST_NAMES],
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
            // Into memory: it cannot fail.
            let _ = serde_json::to_writer(&mut self.text, &value);
        }
    }

    fn flag(&mut self, name: &'a str, value: bool) {
        if self.begin(name) {
            self.text
                .extend_from_slice(if value { b"true" } else { b"false" });
        }
    }

    /// Writes the name, and says whether a value is to follow.
    fn begin(&mut self, name: &'a str) -> bool {
        if self
            .names
            .iter()
            .take(self.count)
            .any(|earlier| *earlier == name)
        {
            return false;
        }
        if let Some(place) = self.names.get_mut(self.count) {
            *place = name;
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

/// A JSON string. Ids and names have nothing to escape as a rule, which is seen at a glance (RFC 8259, section 7); the rest
/// goes character by character.
fn quote(text: &mut Vec<u8>, value: &str) {
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // All of it, with no way out in between: so the compiler takes many bytes at once.
    if value
        .bytes()
        .fold(false, |found, byte| found | special(byte))
    {
        // Into memory, and of a text: it cannot fail.
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
