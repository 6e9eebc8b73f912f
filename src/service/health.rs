//! Whether the service can do its work, and how well.

use super::Auth;

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

/// The parts, each asked just now.
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
    /// Asks each part.
    pub async fn readiness(&self) -> Readiness {
        let database = match self.parts.sessions.ping().await {
            Ok(()) => Health::Ok,
            Err(_) => Health::Down,
        };
        let Some(blacklist) = self.parts.revocation.blacklist() else { return Readiness { database, redis: None } };
        let redis = match blacklist.warnings().await {
            Ok(warnings) if warnings.is_empty() => Health::Ok,
            Ok(_) => Health::Degraded,
            Err(_) => Health::Down,
        };
        Readiness { database, redis: Some(redis) }
    }
}
