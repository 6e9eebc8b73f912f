//! The use cases: one a file, the one set of rules. Stores say who won, this layer says what it means.

pub mod accounts;
pub mod audit;
mod authenticate;
mod blacklist;
pub mod error;
mod flush;
mod health;
pub mod hints;
pub mod janitor;
pub mod metrics;
mod obtain;
mod rebuild;
mod refresh;
pub mod revocation;
mod sessions;
mod tokens;
pub mod trail;
mod verify;
mod written;

use std::{net::IpAddr, sync::Arc};

use chrono::TimeDelta;
use latchkey_verifier::Verifier;

pub use audit::AuditTrail;
pub use authenticate::Identity;
pub use error::{Error, TokenDetail};
pub use health::{Health, Readiness};
pub use metrics::Metrics;
pub use revocation::Revocation;
pub use sessions::OwnSession;
pub use tokens::{TokenPair, TokenRules};

use crate::{
    crypto::{
        hasher::Hasher,
        keyring::{Keyring, PublishedKeys},
        sign::TokenShape,
    },
    domain::{audit::Origin, session::Grace},
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
    pub grace: Grace,
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
pub struct Client {
    /// The address of the peer.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

impl Client {
    fn origin(&self) -> Origin {
        Origin { ip: self.ip.map(|ip| ip.to_string()), user_agent: self.user_agent.clone() }
    }
}

/// What the use cases work with.
pub struct Parts {
    /// Who is told what happened.
    pub audit: AuditTrail,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Password hashes.
    pub hasher: Hasher,
    /// Keys to sign with.
    pub keyring: Keyring,
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
    /// Checks tokens.
    pub verifier: Verifier,
}

/// The token service. Share it behind an `Arc`.
pub struct Auth {
    parts: Parts,
    published: PublishedKeys,
}

impl Auth {
    /// A service of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let published = parts.keyring.published();
        Self { parts, published }
    }

    /// The public keys of access tokens.
    #[must_use]
    pub const fn published_keys(&self) -> &PublishedKeys {
        &self.published
    }

    /// What is known of dead tokens.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.parts.revocation
    }
}
