//! Readiness of the service and its dependencies.

use std::sync::Arc;

use crate::{ActiveKeys, Admission, ClientInfo, Error, sessions::stored::StoredSessions};
use latchkey_domain::ports::{BlacklistStatus, Clock, StoreError};

/// Health of a dependency, or of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// Works correctly, but slower.
    Degraded,
    /// Unavailable.
    Down,
    /// Works normally.
    Ok,
}

impl Health {
    /// Returns the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Ok => "ok",
        }
    }
}

/// Health of the dependencies. The database is queried for it. The health of Redis comes from the
/// last probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// Database, the source of truth.
    pub database: Health,
    /// Redis, if there is a blacklist.
    pub redis: Option<Health>,
    /// Key ring. Degraded if it cannot be read, because revocations of keys are then not noticed.
    pub keys: Health,
    /// Seconds since the key ring was last read.
    pub keys_last_look_seconds: u64,
}

impl Readiness {
    /// Returns the overall health. Without the database it is down, because sign-ins and refreshes
    /// fail. Without Redis, or with an unreadable key ring, it is degraded: the database is
    /// queried, and the active keys remain in use.
    #[must_use]
    pub fn overall(&self) -> Health {
        match (self.database, self.redis, self.keys) {
            (Health::Down, ..) => Health::Down,
            (_, None | Some(Health::Ok), Health::Ok) => self.database,
            _ => Health::Degraded,
        }
    }
}

/// Check of the dependencies.
pub struct HealthCheck {
    pub(crate) admission: Admission,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<ActiveKeys>,
    pub(crate) sessions: Arc<StoredSessions>,
}

impl HealthCheck {
    /// Returns the health of each dependency.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the source sends too many requests at once.
    pub async fn readiness(&self, client: &ClientInfo) -> Result<Readiness, Error> {
        let _admitted = self.admission.enter(client, None).await?;
        let database = match self.sessions.store.ping().await {
            Ok(()) => Health::Ok,
            Err(StoreError::Overloaded) => Health::Degraded,
            Err(_) => Health::Down,
        };
        let redis =
            self.sessions
                .revocation
                .blacklist()
                .map(|blacklist| match blacklist.status() {
                    BlacklistStatus {
                        reachable: false, ..
                    } => Health::Down,
                    BlacklistStatus { trusted: false, .. } => Health::Degraded,
                    _ => Health::Ok,
                });
        let (keys, now) = (&self.keys, self.clock.now());
        let keys_last_look_seconds = keys.seconds_since_read(now);
        let keys = if keys.is_watched(now) {
            Health::Ok
        } else {
            Health::Degraded
        };
        Ok(Readiness {
            database,
            redis,
            keys,
            keys_last_look_seconds,
        })
    }
}
