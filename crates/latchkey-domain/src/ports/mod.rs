//! Ports of the use cases: traits for stores and the clock, and the errors of stores.

pub mod audit;
pub mod blacklist;
pub mod clock;
pub mod error;
pub mod keys;
pub mod sessions;
pub mod users;

pub use audit::{AuditQuery, AuditStore};
pub use blacklist::{
    Blacklist, BlacklistEntry, BlacklistStatus, CacheState, Lookup, Probe, TokenRef,
};
pub use clock::Clock;
pub use error::StoreError;
pub use keys::{KeyChange, KeyRecord, KeyRecords, KeyStore, RevokedKey};
pub use sessions::{
    NewSession, Repeat, Revoke, Rotation, RotationStore, SessionPage, SessionStore,
};
pub use users::{Credentials, InsertUserError, RevokeAll, UserStore};
