//! Whether the service can do its work, and how well.

use super::{Auth, Client, Error};
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
}

impl Readiness {
    /// Without the database nobody signs in or refreshes: down. Without Redis the database answers: degraded.
    #[must_use]
    pub fn overall(&self) -> Health {
        match (self.database, self.redis) {
            (Health::Down, _) => Health::Down,
            (_, None | Some(Health::Ok)) => self.database,
            (_, Some(_)) => Health::Degraded,
        }
    }
}

impl Auth {
    /// How each part is.
    ///
    /// # Errors
    /// [`Error::Overloaded`] for a client that asks too often at once.
    pub async fn readiness(&self, client: &Client) -> Result<Readiness, Error> {
        let _admitted = self.parts.admission.enter(client, None).await?;
        let database = match self.parts.sessions.ping().await {
            Ok(()) => Health::Ok,
            Err(StoreError::Overloaded) => Health::Degraded,
            Err(_) => Health::Down,
        };
        let redis = self.parts.revocation.blacklist().map(|blacklist| match blacklist.status() {
            BlacklistStatus { reachable: false, .. } => Health::Down,
            BlacklistStatus { believed: false, .. } => Health::Degraded,
            _ => Health::Ok,
        });
        Ok(Readiness { database, redis })
    }
}
