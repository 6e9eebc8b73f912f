//! Rebuild of the blacklist from the database. It is done in pages, and resumes after a failure.

use super::janitor::{Maintenance, PAGE_SIZE};
use latchkey_domain::{
    ids::{SessionId, UserId},
    ports::{Blacklist, StoreError},
    time::Moment,
};

/// Maximum number of rounds that are skipped after failures.
const MAX_SKIPPED_ROUNDS: u32 = 8;

/// Progress of a rebuild.
pub(super) struct Rebuild {
    pub ticket: u64,
    /// Start, by the stamping clock. The replay after the rebuild covers later revocations.
    pub started: Moment,
    sessions: Progress<(Moment, SessionId)>,
    users: Progress<(Moment, UserId)>,
}

enum Progress<T> {
    Start,
    After(T),
    Done,
}

/// Exponential back-off, counted in rounds. No round is skipped after the first failure.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    rounds: u32,
}

impl Backoff {
    /// Returns true if this round is to be skipped.
    pub(super) fn should_skip(&mut self) -> bool {
        let skip = self.rounds > 0;
        self.rounds = self.rounds.saturating_sub(1);
        skip
    }

    pub(super) fn record_failure(&mut self) {
        self.rounds = 1_u32
            .checked_shl(self.failures)
            .map_or(MAX_SKIPPED_ROUNDS, |rounds| {
                (rounds / 2).min(MAX_SKIPPED_ROUNDS)
            });
        self.failures += 1;
    }
}

impl Rebuild {
    pub(super) const fn new(ticket: u64, started: Moment) -> Self {
        Self {
            ticket,
            started,
            sessions: Progress::Start,
            users: Progress::Start,
        }
    }
}

impl Maintenance {
    /// Writes the entries of all revoked sessions that have not expired, and of all session epochs
    /// within their lifetime. Rotations have no entries here, because the database checks each
    /// refresh token anyway.
    pub(super) async fn fill(
        &self,
        blacklist: &dyn Blacklist,
        rebuild: &mut Rebuild,
    ) -> Result<(), StoreError> {
        while let Some(after) = rebuild.sessions.after() {
            let page = self
                .sessions
                .revoked_since(Moment::UNIX_EPOCH, after.copied(), PAGE_SIZE)
                .await?;
            blacklist
                .write_best_effort(&self.session_entries(&page, rebuild.started))
                .await?;
            rebuild.sessions = Progress::from_last(
                page.last()
                    .and_then(|last| Some((last.revoked?.0, last.id))),
            );
        }
        let since = rebuild.started - self.revocation.epoch_lifetime();
        while let Some(after) = rebuild.users.after() {
            let page = self
                .users
                .epochs_raised_since(since, after.cloned(), PAGE_SIZE)
                .await?;
            blacklist
                .write_best_effort(&self.epoch_entries(&page))
                .await?;
            rebuild.users =
                Progress::from_last(page.into_iter().next_back().map(|(at, user, _)| (at, user)));
        }
        Ok(())
    }
}

impl<T> Progress<T> {
    /// Returns the last row that was written, or `None` if all were. `Some(None)` is the beginning.
    #[expect(
        clippy::option_option,
        reason = "the outer option is the end, the inner one the beginning"
    )]
    const fn after(&self) -> Option<Option<&T>> {
        match self {
            Self::Start => Some(None),
            Self::After(last) => Some(Some(last)),
            Self::Done => None,
        }
    }

    fn from_last(last: Option<T>) -> Self {
        last.map_or(Self::Done, Self::After)
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn backoff_doubles_up_to_the_maximum() {
        let mut backoff = Backoff::default();
        let mut skipped = Vec::new();
        for _ in 0..40 {
            backoff.record_failure();
            skipped.push((0..100).take_while(|_| backoff.should_skip()).count());
        }
        assert_eq!(skipped[..7], [0, 1, 2, 4, 8, 8, 8]);
        assert_eq!(skipped.last(), Some(&8));
    }
}
