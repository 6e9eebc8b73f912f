//! Tokens of sessions in the database, signed with the server's own keys. Sign-ins would measure
//! argon2.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_crypto::{key_ring::KeyRing, sign::TokenShape, signing_key::SigningKey};
use latchkey_domain::{
    claims::{AccessClaims, ExtraClaim, ExtraValue, RefreshClaims},
    ids::{SessionId, UserId},
    session::Session,
};
use latchkey_store::key_directory::KeyDirectory;
use latchkey_verifier::{ClaimNames, KeySet, Kind, Policy, Verifier};

/// Data of a session that its tokens need.
#[derive(Clone, Debug)]
pub struct Row {
    pub session: SessionId,
    pub user: UserId,
    pub name: String,
    pub rotated_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Creates tokens.
pub struct Mint {
    issuer: String,
    keys: KeyRing,
    shape: TokenShape,
    next: u64,
}

impl Mint {
    pub fn new(folder: &Path, issuer: &str) -> Self {
        let records = KeyDirectory::new(folder).read_now().unwrap();
        let keys = KeyRing::open(&records.keys, &[], &KeyRing::default()).0;
        let shape = TokenShape {
            access_typ: "at+jwt".to_owned(),
            audience: None,
            issuer: issuer.to_owned(),
            names: ClaimNames::default(),
        };
        Self {
            issuer: issuer.to_owned(),
            keys,
            shape,
            next: 0,
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

    /// Returns a new access token, with a unique `jti`.
    pub fn access(&mut self, row: &Row) -> String {
        self.next += 1;
        let now = row.rotated_at.timestamp();
        let claims = AccessClaims {
            subject: row.user.to_string(),
            issued_at: now,
            expires_at: now + 3600,
            jti: format!("{:032x}", self.next),
            sid: row.session.to_string(),
            session_epoch: 0,
            extra: vec![
                (ExtraClaim::Username, ExtraValue::Text(row.name.clone())),
                (ExtraClaim::Email, ExtraValue::Text(String::new())),
            ],
        };
        self.shape.access(self.key(Kind::Access), &claims).unwrap()
    }

    /// Returns the first refresh token of a session.
    pub fn refresh(&self, row: &Row) -> String {
        let session = Session {
            id: row.session,
            user_id: row.user.clone(),
            session_epoch: 0,
            generation: 0,
            created_at: row.rotated_at,
            rotated_at: row.rotated_at,
            expires_at: row.expires_at,
            revoked: None,
            last_ip: None,
            user_agent: None,
        };
        self.shape
            .refresh(
                self.key(Kind::Refresh),
                &RefreshClaims::of(&session, TimeDelta::days(1)),
            )
            .unwrap()
    }

    /// True if the published keys alone verify the token.
    pub fn verifies(&self, key_set: &str, token: &str, now: i64) -> bool {
        let keys = KeySet::from_jwks(key_set).unwrap();
        Verifier::new(keys, Policy::new(&self.issuer))
            .verify_access(token, now)
            .is_ok()
    }
}
