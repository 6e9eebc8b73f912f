//! Whether the service can do its work, and how well.

use super::{Auth, ClientInfo, Error};
use crate::ports::{BlacklistStatus, StoreError};

/// How a part is, or the whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// Every answer is still right, only slower.
    Degraded,
    /// Not there.
    Down,
    /// As it should be.
    Ok,
}

impl Health {
    /// The state in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Ok => "ok",
        }
    }
}

/// The parts: the database asked just now, Redis as it was found within the last second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// The truth.
    pub database: Health,
    /// The blacklist in front of it, where there is one.
    pub redis: Option<Health>,
    /// The key ring. Degraded if it cannot be read, so that revocations are not noticed.
    pub keys: Health,
    /// Seconds since the ring was last read.
    pub keys_last_look_seconds: u64,
}

impl Readiness {
    /// Returns the overall state. Without the database, sign-ins and refreshes fail: down. Without Redis, the database
    /// answers; without a readable ring, the keys in force are used: degraded.
    #[must_use]
    pub fn overall(&self) -> Health {
        match (self.database, self.redis, self.keys) {
            (Health::Down, ..) => Health::Down,
            (_, None | Some(Health::Ok), Health::Ok) => self.database,
            _ => Health::Degraded,
        }
    }
}

impl Auth {
    /// How each part is.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the client sends too many requests at once.
    pub async fn readiness(&self, client: &ClientInfo) -> Result<Readiness, Error> {
        let _admitted = self.parts.admission.enter(client, None).await?;
        let database = match self.parts.sessions.ping().await {
            Ok(()) => Health::Ok,
            Err(StoreError::Overloaded) => Health::Degraded,
            Err(_) => Health::Down,
        };
        let redis = self
            .parts
            .revocation
            .blacklist()
            .map(|blacklist| match blacklist.status() {
                BlacklistStatus {
                    reachable: false, ..
                } => Health::Down,
                BlacklistStatus { trusted: false, .. } => Health::Degraded,
                _ => Health::Ok,
            });
        let (keys, now) = (&self.parts.keys, self.parts.clock.now());
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
