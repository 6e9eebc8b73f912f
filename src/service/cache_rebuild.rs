//! Filling a blacklist that lost its memory: in pages, from where the last attempt came to.

use super::janitor::{Maintenance, PAGE_SIZE};
use crate::{
    domain::{
        ids::{SessionId, UserId},
        time::Moment,
    },
    ports::{Blacklist, StoreError},
};

/// Rounds that are left out at the most after failures.
const MAX_SKIPPED_ROUNDS: u32 = 8;

/// How far a rebuild has come.
pub(super) struct Rebuild {
    pub ticket: u64,
    /// The time of the stamping clock. Later revocations are searched for again.
    pub began: Moment,
    sessions: Progress<(Moment, SessionId)>,
    users: Progress<(Moment, UserId)>,
}

enum Progress<T> {
    Begun,
    After(T),
    Done,
}

/// How many rounds are left out after how many failures: none after the first.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    rounds: u32,
}

impl Backoff {
    /// Whether this round is left out.
    pub(super) fn should_skip(&mut self) -> bool {
        let rests = self.rounds > 0;
        self.rounds = self.rounds.saturating_sub(1);
        rests
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
    pub(super) const fn new(ticket: u64, began: Moment) -> Self {
        Self {
            ticket,
            began,
            sessions: Progress::Begun,
            users: Progress::Begun,
        }
    }
}

impl Maintenance {
    /// Writes the marks of all sessions that are revoked and not over, and of all cut-offs that still matter. Of
    /// sessions that were rotated the database is asked anyway.
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
                .write_best_effort(&self.session_entries(&page, rebuild.began))
                .await?;
            rebuild.sessions = Progress::to(
                page.last()
                    .and_then(|last| Some((last.revoked?.0, last.id))),
            );
        }
        let since = rebuild.began - self.revocation.epoch_lifetime();
        while let Some(after) = rebuild.users.after() {
            let page = self
                .users
                .epochs_raised_since(since, after.cloned(), PAGE_SIZE)
                .await?;
            blacklist
                .write_best_effort(&self.epoch_entries(&page))
                .await?;
            rebuild.users =
                Progress::to(page.into_iter().next_back().map(|(at, user, _)| (at, user)));
        }
        Ok(())
    }
}

impl<T> Progress<T> {
    /// `None` when nothing is left, else after what to go on.
    #[expect(
        clippy::option_option,
        reason = "the outer says whether, the inner after what"
    )]
    const fn after(&self) -> Option<Option<&T>> {
        match self {
            Self::Begun => Some(None),
            Self::After(last) => Some(Some(last)),
            Self::Done => None,
        }
    }

    fn to(last: Option<T>) -> Self {
        last.map_or(Self::Done, Self::After)
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn more_rounds_are_left_out_after_each_failure_and_none_after_the_first() {
        let mut rest = Backoff::default();
        let mut rested = Vec::new();
        for _ in 0..40 {
            rest.record_failure();
            rested.push((0..100).take_while(|_| rest.should_skip()).count());
        }
        assert_eq!(rested[..7], [0, 1, 2, 4, 8, 8, 8]);
        assert_eq!(rested.last(), Some(&8));
    }
}
