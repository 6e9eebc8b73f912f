//! The use cases: one a file, the one set of rules. Stores say who won, this layer says what it means.

pub mod active_keys;
pub mod admission;
pub mod audit;
mod authenticate;
mod bulkhead;
mod cache_rebuild;
pub mod error;
mod health;
pub mod janitor;
pub mod keys;
mod logout;
pub mod metrics;
mod obtain;
pub mod operators;
mod purge;
mod recent_writes;
mod refresh;
mod reuse;
pub mod revocation;
mod run_to_completion;
pub mod sampled;
mod sessions;
mod tokens;
pub mod trail;
pub mod user_admin;
mod verify;
pub mod write_behind;

use std::{net::IpAddr, sync::Arc};

pub use active_keys::ActiveKeys;
pub use admission::Admission;
pub use audit::AuditTrail;
pub use authenticate::Identity;
use chrono::TimeDelta;
pub use error::{Error, TokenDetail};
pub use health::{Health, Readiness};
pub use metrics::Metrics;
pub use revocation::Revocation;
pub use sessions::OwnSession;
pub use tokens::{TokenPair, TokenRules};

use crate::{
    crypto::{hasher::Hasher, sign::TokenShape},
    domain::{audit::Origin, reuse::ClientBinding, session::ReuseGrace},
    ports::{Clock, SessionStore, UserStore},
};

/// What the use cases decide by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How tokens are made.
    pub tokens: TokenRules,
    /// How long a session lasts at the most.
    pub session_lifetime: TimeDelta,
    /// What happens to a spent refresh token that comes back.
    pub grace: ReuseGrace,
    /// The comparison of the sender of a spent refresh token with the client of the last refresh.
    pub binding: ClientBinding,
    /// Whether a refresh also gives a new refresh token.
    pub rotate: bool,
    /// Whether a sign-in is noted at the user.
    pub update_last_login: bool,
    /// How many live sessions a user may have; the oldest goes.
    pub sessions_per_user: u32,
    /// Whether the audit trail is told of each refresh.
    pub audit_refreshes: bool,
}

/// Where a request came from, for the user's own list of sessions and for the audit trail.
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

/// What the use cases work with.
pub struct Parts {
    /// Limits of the work in progress for each client.
    pub admission: Admission,
    /// Who is told what happened.
    pub audit: AuditTrail,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Password hashes.
    pub hasher: Hasher,
    /// Keys to sign and to check with.
    pub keys: Arc<ActiveKeys>,
    /// What is counted.
    pub metrics: Metrics,
    /// Dead tokens.
    pub revocation: Revocation,
    /// Settings.
    pub rules: Rules,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// What all tokens have in common.
    pub shape: TokenShape,
    /// Users.
    pub users: Arc<dyn UserStore>,
}

/// The token service. Share it behind an `Arc`.
pub struct Auth {
    parts: Parts,
}

impl Auth {
    /// A service of these parts.
    #[must_use]
    pub const fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The keys that are used just now.
    #[must_use]
    pub fn keys(&self) -> &ActiveKeys {
        &self.parts.keys
    }

    /// What is known of dead tokens.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.parts.revocation
    }
}
