//! Revocations. They are written to the database, the source of truth, and then to the blacklist,
//! if there is one. Without a blacklist the same rules apply, with the database alone.

mod cache_rebuild;
pub mod janitor;
mod operators;
mod recent_writes;
pub mod write_behind;

use std::sync::Arc;

use chrono::TimeDelta;

pub use operators::OperatorWatch;
pub(crate) use operators::REVOCATIONS;

use self::write_behind::{EntryQueue, EntryWriter};
use crate::sampled::Sampled;
use latchkey_domain::{
    ids::UserId,
    ports::{
        Blacklist, BlacklistEntry, Lookup, Revoke, SessionStore, StoreError, TokenRef,
        blacklist::MARGIN,
    },
    session::{Session, SessionState},
    time::Moment,
};

static WRITE_FAILED: Sampled = Sampled::new();

/// Lifetimes from which those of blacklist entries derive.
#[derive(Clone, Copy, Debug)]
pub struct EntryLifetimes {
    /// Maximum lifetime of a refresh token. Older generations have expired.
    pub refresh: TimeDelta,
    /// Maximum lifetime of a session. No token outlives it.
    pub session: TimeDelta,
}

/// Database with an optional blacklist in front. Clones share both.
#[derive(Clone)]
pub struct Revocation {
    blacklist: Option<Arc<dyn Blacklist>>,
    write_behind: Option<EntryQueue>,
    lifetimes: EntryLifetimes,
    sessions: Arc<dyn SessionStore>,
}

/// Minimum lifetime of the entry of a session epoch. Tokens may have been signed under longer
/// lifetimes than the present ones, and the entry is small.
const EPOCH_LIFETIME: TimeDelta = TimeDelta::days(400);

impl Revocation {
    /// Returns revocations in `sessions`, with `blacklist` in front if there is one.
    #[must_use]
    pub fn new(
        sessions: Arc<dyn SessionStore>,
        blacklist: Option<Arc<dyn Blacklist>>,
        lifetimes: EntryLifetimes,
    ) -> Self {
        Self {
            blacklist,
            write_behind: None,
            lifetimes,
            sessions,
        }
    }

    /// Adds write-behind of the entries of rotations, if there is a blacklist. The returned writer
    /// must run beside the server. Without it, rotations write no entries.
    #[must_use]
    pub fn with_write_behind(mut self) -> (Self, Option<EntryWriter>) {
        let Some(blacklist) = &self.blacklist else {
            return (self, None);
        };
        let (queue, writer) = write_behind::channel(Arc::clone(blacklist));
        self.write_behind = Some(queue);
        (self, Some(writer))
    }

    /// Returns the revocations of a worker, with its own connections. The write-behind is shared.
    #[must_use]
    pub fn for_worker(
        &self,
        sessions: Arc<dyn SessionStore>,
        blacklist: Option<Arc<dyn Blacklist>>,
    ) -> Self {
        Self {
            blacklist,
            sessions,
            ..self.clone()
        }
    }

    /// Returns the blacklist, if there is one.
    #[must_use]
    pub fn blacklist(&self) -> Option<&Arc<dyn Blacklist>> {
        self.blacklist.as_ref()
    }

    pub(crate) async fn check(&self, token: &TokenRef) -> Lookup {
        match &self.blacklist {
            Some(blacklist) => blacklist.check(token).await,
            None => Lookup::Unknown,
        }
    }

    /// Revokes a session. Returns true if this call revoked it, false if it was revoked before, and
    /// `None` if it does not exist.
    pub(crate) async fn revoke(&self, revoke: Revoke) -> Result<Option<bool>, StoreError> {
        let now = revoke.now;
        let Some((session, by_us)) = self.sessions.revoke(revoke).await? else {
            return Ok(None);
        };
        self.record_revoked(&[session], now).await;
        Ok(Some(by_us))
    }

    /// Writes the entries of a revoked session or a stale epoch again, before the response reports
    /// it. The process that revoked it may have failed before it wrote the entry. After the
    /// response, all instances agree on the revocation.
    pub(crate) async fn record_over(&self, state: &SessionState, now: Moment) {
        let SessionState { session, user } = state;
        // The row of a deleted user has no user to read the epoch from, so the session has an
        // entry.
        let revoked = (session.revoked.is_some() || user.is_none())
            .then(|| Self::session_entry(session, now));
        let stale = user
            .as_ref()
            .filter(|user| user.session_epoch > session.session_epoch);
        let stale = stale.map(|user| self.epoch_entry(user.id.clone(), user.session_epoch));
        let entries: Vec<_> = revoked.into_iter().chain(stale).collect();
        if !entries.is_empty() {
            self.write(entries).await;
        }
    }

    pub(crate) async fn record_revoked(&self, sessions: &[Session], now: Moment) {
        let revoked = sessions.iter().filter(|session| session.revoked.is_some());
        let entries: Vec<_> = revoked
            .map(|session| Self::session_entry(session, now))
            .collect();
        if !entries.is_empty() {
            self.write(entries).await;
        }
    }

    /// Enqueues the entry of a rotation. The request does not wait for it, because the database
    /// checks each refresh token anyway.
    pub(crate) fn enqueue_rotated(&self, session: &Session) {
        if let Some(queue) = &self.write_behind {
            let entry = BlacklistEntry::GenerationRotated {
                session: session.id,
                user: session.user_id.clone(),
                generation: session.generation,
            };
            queue.enqueue(entry, self.lifetimes.refresh + MARGIN);
        }
    }

    pub(crate) async fn record_epoch(&self, user: &UserId, version: u32) {
        self.write(vec![self.epoch_entry(user.clone(), version)])
            .await;
    }

    pub(crate) async fn record_epochs(&self, users: &[(UserId, u32)]) {
        self.write(
            users
                .iter()
                .map(|(user, version)| self.epoch_entry(user.clone(), *version))
                .collect(),
        )
        .await;
    }

    /// Returns the entry of a revoked session, unless all of its tokens have expired.
    pub(crate) fn entry_of(session: &Session, now: Moment) -> Option<(BlacklistEntry, TimeDelta)> {
        let ended = session.expires_at + MARGIN <= now;
        (session.revoked.is_some() && !ended).then(|| Self::entry(session, now))
    }

    pub(crate) fn epoch_entry(&self, user: UserId, version: u32) -> (BlacklistEntry, TimeDelta) {
        (
            BlacklistEntry::SessionEpoch {
                user,
                session_epoch: version,
            },
            self.epoch_lifetime(),
        )
    }

    /// Returns the time for which the entry of a session epoch is kept.
    pub(crate) fn epoch_lifetime(&self) -> TimeDelta {
        self.lifetimes.session.max(EPOCH_LIFETIME) + MARGIN
    }

    /// Returns the entry of a revoked session. Its lifetime starts at the revocation or at `now`,
    /// whichever is earlier, because the caller's clock may be ahead.
    fn session_entry(session: &Session, now: Moment) -> (BlacklistEntry, TimeDelta) {
        Self::entry(session, session.revoked.map_or(now, |(at, _)| at.min(now)))
    }

    fn entry(session: &Session, now: Moment) -> (BlacklistEntry, TimeDelta) {
        let entry = BlacklistEntry::SessionRevoked {
            session: session.id,
            user: session.user_id.clone(),
        };
        (
            entry,
            (session.expires_at - now).max(TimeDelta::zero()) + MARGIN,
        )
    }

    /// Writes entries. A failure does not fail the request, because the database has the
    /// revocation: lookups return `Unknown` until the blacklist is rebuilt, and the database is
    /// queried.
    async fn write(&self, entries: Vec<(BlacklistEntry, TimeDelta)>) {
        if let Some(blacklist) = &self.blacklist
            && let Err(error) = blacklist.write(&entries).await
            && let Some(suppressed) = WRITE_FAILED.due()
        {
            tracing::warn!(%error, suppressed, "blacklist entry not written: the database is queried until the blacklist \
                 is rebuilt");
        }
    }
}
