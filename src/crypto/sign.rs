//! Claims to signed tokens in compact form (RFC 7515, section 7.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_verifier::ClaimNames;
use serde_json::{Value, json};

use super::signing_key::{SignatureError, SigningKey};
use crate::domain::claims::{AccessClaims, ExtraValue, RefreshClaims};

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
    pub fn access(&self, key: &SigningKey, claims: &AccessClaims) -> Result<String, SignatureError> {
        let mut payload = self.payload("access", claims.expires_at, claims.issued_at, &claims.jti, &claims.subject);
        if let Some(audience) = &self.audience {
            payload.push(("aud", json!(audience)));
        }
        payload.push(("sid", json!(claims.sid)));
        payload.push(("ver", json!(claims.version)));
        for (claim, value) in &claims.extra {
            let value = match value {
                ExtraValue::Flag(flag) => json!(flag),
                ExtraValue::Text(text) => json!(text),
            };
            payload.push((claim.name(), value));
        }
        seal(key, &self.access_typ, &payload)
    }

    /// A refresh token with a MAC, for this service alone: its audience is the issuer.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn refresh(&self, key: &SigningKey, claims: &RefreshClaims) -> Result<String, SignatureError> {
        let mut payload = self.payload("refresh", claims.expires_at, claims.issued_at, &claims.jti, &claims.subject);
        payload.push(("aud", json!(self.issuer)));
        payload.push(("sid", json!(claims.sid)));
        payload.push(("gen", json!(claims.generation)));
        payload.push(("ver", json!(claims.version)));
        seal(key, "rt+jwt", &payload)
    }

    fn payload(&self, token_type: &str, exp: i64, iat: i64, jti: &str, subject: &str) -> Vec<(&str, Value)> {
        vec![
            (self.names.token_type.as_str(), json!(token_type)),
            ("exp", json!(exp)),
            ("iat", json!(iat)),
            (self.names.jti.as_str(), json!(jti)),
            (self.names.user_id.as_str(), json!(subject)),
            ("iss", json!(self.issuer)),
            ("sub", json!(subject)),
        ]
    }
}

fn seal(key: &SigningKey, typ: &str, payload: &[(&str, Value)]) -> Result<String, SignatureError> {
    let header = [("alg", json!(key.algorithm().name())), ("typ", json!(typ)), ("kid", json!(key.kid()))];
    let mut token = String::with_capacity(1024);
    URL_SAFE_NO_PAD.encode_string(object(&header), &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(object(payload), &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Compact JSON in the order given. A name that stands twice (a renamed claim that is called `sub`, say) is written
/// once: a token never has duplicate members.
fn object(members: &[(&str, Value)]) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    for (index, (name, value)) in members.iter().enumerate() {
        if members.iter().take(index).any(|(earlier, _)| earlier == name) {
            continue;
        }
        text.push(if text.is_empty() { b'{' } else { b',' });
        // Into memory, and of a name and a value that are JSON already: neither can fail.
        let _ = serde_json::to_writer(&mut text, name);
        text.push(b':');
        let _ = serde_json::to_writer(&mut text, value);
    }
    text.push(b'}');
    text
}
