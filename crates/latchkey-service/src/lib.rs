//! Use cases, in a folder for each context. Stores return facts, such as the winner of a race, and
//! this layer applies the rules. [`Services`] groups the use cases that a worker serves.

mod admission;
pub mod audit;
mod batcher;
mod client;
pub mod error;
mod health;
pub mod keys;
pub mod metrics;
mod purge;
pub mod revocation;
pub mod sampled;
mod services;
mod sessions;
mod tokens;
pub mod users;

pub use admission::Admission;
pub use audit::AuditTrail;
pub use client::ClientInfo;
pub use error::{Error, TokenDetail};
pub use health::{Health, HealthCheck, Readiness};
pub use keys::ActiveKeys;
pub use metrics::Metrics;
pub use revocation::Revocation;
pub use services::{ServiceStores, Services, Shared};
pub use sessions::{
    Authenticate, Caller, Identity, LogOut, LogOutEverywhere, OwnSession, OwnSessions, Refresh,
    RefreshRules, Rules, SessionRules, SignIn, Verify,
};
pub use tokens::{TokenPair, TokenRules};
