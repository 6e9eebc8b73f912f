//! Forged tokens, signed with the server's own keys.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_crypto::{key_ring::KeyRing, signing_key::SigningKey};
use latchkey_store::key_directory::KeyDirectory;
use latchkey_verifier::Kind;
use serde_json::{Value, json};

/// Creates tokens with any header and any claims.
pub struct Forge {
    issuer: String,
    keys: KeyRing,
    now: i64,
}

impl Forge {
    /// Returns a forge with the keys of a directory.
    pub fn new(keys: &Path, issuer: &str, now: i64) -> Self {
        let records = KeyDirectory::new(keys).read_now().unwrap();
        let keys = KeyRing::open(&records.keys, &[], &KeyRing::default()).0;
        Self {
            issuer: issuer.to_owned(),
            keys,
            now,
        }
    }

    /// Returns the key that signs tokens of this kind.
    pub fn key(&self, kind: Kind) -> &SigningKey {
        &self
            .keys
            .keys()
            .find(|key| key.facts.kind == kind)
            .unwrap()
            .key
    }

    /// Returns the header that the server writes.
    pub fn header(&self, kind: Kind) -> Value {
        let typ = match kind {
            Kind::Access => "at+jwt",
            Kind::Refresh => "rt+jwt",
        };
        let key = self.key(kind);
        json!({ "alg": key.algorithm().name(), "typ": typ, "kid": key.kid() })
    }

    /// Returns claims of an unknown user and a session that does not exist.
    pub fn claims(&self, kind: Kind) -> Value {
        let mut claims = json!({
            "token_type": kind.token_type(), "exp": self.now + 300, "iat": self.now,
            "jti": "0123456789abcdef0123456789abcdef", "user_id": "nobody", "iss": self.issuer, "sub": "nobody",
            "sid": "00000000-0000-4000-8000-000000000000", "ver": 0,
        });
        if kind == Kind::Refresh {
            claims["aud"] = json!(self.issuer);
            claims["gen"] = json!(0);
        }
        claims
    }

    /// Returns a correctly signed token with these claims and the server's own header.
    pub fn token(&self, kind: Kind, claims: &Value) -> String {
        self.signed(kind, &self.header(kind).to_string(), &claims.to_string())
    }

    /// Returns a token with any header text and any payload text, signed with the server's key of
    /// this kind.
    pub fn signed(&self, kind: Kind, header: &str, payload: &str) -> String {
        let input = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(payload.as_bytes())
        );
        let signature = self.key(kind).sign(input.as_bytes()).unwrap();
        format!("{input}.{}", encode(&signature))
    }

    /// Returns a copy of a token with these claims changed, or removed if null. It is correctly
    /// signed.
    pub fn altered(&self, token: &str, kind: Kind, changes: &Value) -> String {
        let mut claims = Self::claims_of(token);
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        self.token(kind, &claims)
    }

    /// Returns the claims of a token without verification.
    pub fn claims_of(token: &str) -> Value {
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }
}

/// Encodes bytes as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
