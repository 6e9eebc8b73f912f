//! Use cases, one per file. Stores return facts, such as the winner of a race, and this layer
//! applies the rules.

mod admission;
pub mod audit;
pub mod error;
mod health;
pub mod keys;
pub mod metrics;
mod purge;
pub mod revocation;
pub mod sampled;
mod sessions;
mod tokens;
pub mod trail;
pub mod users;
pub mod write_behind;

use std::{net::IpAddr, sync::Arc};

pub use admission::Admission;
pub use audit::AuditTrail;
use chrono::TimeDelta;
pub use error::{Error, TokenDetail};
pub use health::{Health, Readiness};
pub use keys::ActiveKeys;
pub use metrics::Metrics;
pub use revocation::Revocation;
pub use sessions::{
    authenticate::{Caller, Identity},
    list::OwnSession,
};
pub use tokens::{TokenPair, TokenRules};

use sessions::{refusal, reuse};

use latchkey_crypto::{hasher::Hasher, sign::TokenShape};
use latchkey_domain::{
    audit::Origin,
    ports::{Clock, RotationStore, SessionStore, UserStore},
    reuse::ClientBinding,
    session::ReuseGrace,
};

/// Settings of the use cases.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Format and lifetimes of tokens.
    pub tokens: TokenRules,
    /// Maximum lifetime of a session.
    pub session_lifetime: TimeDelta,
    /// Treatment of a spent refresh token within the reuse grace.
    pub grace: ReuseGrace,
    /// The comparison of the sender of a spent refresh token with the client of the last refresh.
    pub binding: ClientBinding,
    /// True if a refresh also returns a new refresh token.
    pub rotate: bool,
    /// True if a sign-in updates the user's `last_login`.
    pub update_last_login: bool,
    /// Maximum number of live sessions of a user. A further sign-in ends the oldest.
    pub sessions_per_user: u32,
    /// True if each refresh is recorded in the audit trail.
    pub audit_refreshes: bool,
}

/// Client of a request, for the user's list of sessions and for the audit trail.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

impl ClientInfo {
    fn origin(&self) -> Origin {
        Origin {
            ip: self.ip.map(|ip| ip.to_string()),
            user_agent: self.user_agent.clone(),
        }
    }
}

/// Dependencies of the use cases.
#[derive(Clone)]
pub struct Parts {
    /// Limits of the work in progress for each session and each source.
    pub admission: Admission,
    /// Audit trail.
    pub audit: AuditTrail,
    /// Clock of this process.
    pub clock: Arc<dyn Clock>,
    /// Password hasher.
    pub hasher: Hasher,
    /// Keys that sign and verify tokens.
    pub keys: Arc<ActiveKeys>,
    /// Counters.
    pub metrics: Metrics,
    /// Revocations: the database, and the blacklist if there is one.
    pub revocation: Revocation,
    /// Settings.
    pub rules: Rules,
    /// Rotations, coalesced or not.
    pub rotations: Arc<dyn RotationStore>,
    /// Session store.
    pub sessions: Arc<dyn SessionStore>,
    /// Claims and headers that all tokens have in common.
    pub shape: TokenShape,
    /// User store.
    pub users: Arc<dyn UserStore>,
}

/// The token service. Share it behind an `Arc`.
pub struct Auth {
    parts: Parts,
}

impl Auth {
    /// Returns a service with these dependencies.
    #[must_use]
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Returns the active keys.
    #[must_use]
    pub fn keys(&self) -> &ActiveKeys {
        &self.parts.keys
    }

    /// Returns the revocations.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.parts.revocation
    }
}
