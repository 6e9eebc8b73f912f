//! Decision on a presented token: the table from the purpose of a request and the status of its
//! token to what follows.

use super::session::{RevokedReason, TokenStatus};

/// Purpose for which a token is presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Exchange for the successor.
    Refresh,
    /// Log-out.
    Logout,
    /// Verification.
    Verify,
    /// Access to a protected view.
    Authenticate,
}

/// Decision on a presented token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// The request is performed.
    Accept,
    /// The token is refused.
    Refuse(Refused),
    /// The token is spent. [`Purpose::consequence`] decides by the grace and the client.
    Spent,
}

/// Reason of a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// The session was revoked.
    Revoked(RevokedReason),
    /// The session epoch was raised after the sign-in.
    StaleEpoch,
    /// The user is inactive or was deleted.
    NoActiveUser,
    /// The session expired.
    Ended,
    /// The generation was never issued.
    UnknownGeneration,
}

impl Purpose {
    /// Decides by the status of the token.
    #[must_use]
    pub const fn decide(self, status: TokenStatus) -> Decision {
        match (status, self) {
            (TokenStatus::Revoked(reason), _) => Decision::Refuse(Refused::Revoked(reason)),
            (TokenStatus::StaleEpoch, _) => Decision::Refuse(Refused::StaleEpoch),
            (TokenStatus::Ended, _) => Decision::Refuse(Refused::Ended),
            (TokenStatus::UnknownGeneration, _) => Decision::Refuse(Refused::UnknownGeneration),
            (TokenStatus::Grace | TokenStatus::Spent, _) => Decision::Spent,
            // A log-out grants nothing, so an inactive user may log out.
            (TokenStatus::NoActiveUser, Self::Logout) | (TokenStatus::Current, _) => {
                Decision::Accept
            }
            (TokenStatus::NoActiveUser, _) => Decision::Refuse(Refused::NoActiveUser),
        }
    }
}

impl Refused {
    /// Returns true if the blacklist should have an entry for the refusal.
    #[must_use]
    pub const fn has_entry(self) -> bool {
        matches!(
            self,
            Self::Revoked(_) | Self::StaleEpoch | Self::NoActiveUser
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Decision::{Accept, Refuse, Spent},
        Purpose::{Authenticate, Logout, Refresh, Verify},
        Refused, RevokedReason, TokenStatus,
    };

    #[test]
    fn decision_depends_on_status_and_purpose() {
        let revoked = Refused::Revoked(RevokedReason::Operator);
        for (status, [refresh, logout, verify, authenticate]) in [
            (TokenStatus::Current, [Accept; 4]),
            (TokenStatus::Grace, [Spent; 4]),
            (TokenStatus::Spent, [Spent; 4]),
            (
                TokenStatus::Revoked(RevokedReason::Operator),
                [Refuse(revoked); 4],
            ),
            (TokenStatus::StaleEpoch, [Refuse(Refused::StaleEpoch); 4]),
            (TokenStatus::Ended, [Refuse(Refused::Ended); 4]),
            (
                TokenStatus::UnknownGeneration,
                [Refuse(Refused::UnknownGeneration); 4],
            ),
            (
                TokenStatus::NoActiveUser,
                [
                    Refuse(Refused::NoActiveUser),
                    Accept,
                    Refuse(Refused::NoActiveUser),
                    Refuse(Refused::NoActiveUser),
                ],
            ),
        ] {
            let decisions = [Refresh, Logout, Verify, Authenticate].map(|it| it.decide(status));
            assert_eq!(
                decisions,
                [refresh, logout, verify, authenticate],
                "{status:?}"
            );
        }
    }
}
