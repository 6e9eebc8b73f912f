//! Revocations: first the database, which is the truth, then the marks. With no blacklist, only the database: the
//! same path, there is no second set of rules.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{
    sampled::Sampled,
    write_behind::{self, EntryQueue, EntryWriter},
};
use crate::{
    domain::{
        ids::UserId,
        session::{Session, SessionState},
        time::Moment,
    },
    ports::{
        Blacklist, BlacklistEntry, Lookup, Revoke, SessionStore, StoreError, TokenRef,
        blacklist::MARGIN,
    },
};

static WRITE_FAILED: Sampled = Sampled::new();

/// How long marks are kept.
#[derive(Clone, Copy, Debug)]
pub struct EntryLifetimes {
    /// The longest life of a refresh token: older generations are dead by themselves after it.
    pub refresh: TimeDelta,
    /// The longest life of a session: no token outlives it.
    pub session: TimeDelta,
}

/// The database and, in front of it, perhaps a blacklist. Cloning shares both.
#[derive(Clone)]
pub struct Revocation {
    blacklist: Option<Arc<dyn Blacklist>>,
    write_behind: Option<EntryQueue>,
    lifetimes: EntryLifetimes,
    sessions: Arc<dyn SessionStore>,
}

/// How long a cut-off is remembered at the least. Tokens may have been signed under longer lifetimes than today's, and a
/// cut-off is one small key.
const EPOCH_LIFETIME: TimeDelta = TimeDelta::days(400);

impl Revocation {
    /// Over `sessions`, with `blacklist` in front if there is one.
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

    /// With what writes the marks of rotations, if there is a blacklist: it has to run beside the server. Without it,
    /// rotations leave no marks.
    #[must_use]
    pub fn with_write_behind(mut self) -> (Self, Option<EntryWriter>) {
        let Some(blacklist) = &self.blacklist else {
            return (self, None);
        };
        let (queue, writer) = write_behind::channel(Arc::clone(blacklist));
        self.write_behind = Some(queue);
        (self, Some(writer))
    }

    /// The blacklist, if there is one.
    #[must_use]
    pub fn blacklist(&self) -> Option<&Arc<dyn Blacklist>> {
        self.blacklist.as_ref()
    }

    pub(super) async fn check(&self, token: &TokenRef) -> Lookup {
        match &self.blacklist {
            Some(blacklist) => blacklist.check(token).await,
            None => Lookup::Unknown,
        }
    }

    /// Ends a session. Whether it was this call that did; `None` when there is no such session.
    pub(super) async fn revoke(&self, revoke: Revoke) -> Result<Option<bool>, StoreError> {
        let now = revoke.now;
        let Some((session, by_us)) = self.sessions.revoke(revoke).await? else {
            return Ok(None);
        };
        self.record_revoked(&[session], now).await;
        Ok(Some(by_us))
    }

    /// Says again what the database knows, before somebody hears that a session is over. Who ended it may have died
    /// before its mark, or never have heard that it did; from the answer on, it is over for everybody.
    pub(super) async fn record_over(&self, state: &SessionState, now: Moment) {
        let SessionState { session, user } = state;
        let revoked = session
            .revoked
            .is_some()
            .then(|| Self::session_entry(session, now));
        let cut_off = user
            .as_ref()
            .filter(|user| user.session_epoch > session.session_epoch);
        let cut_off = cut_off.map(|user| self.epoch_entry(user.id.clone(), user.session_epoch));
        let marks: Vec<_> = revoked.into_iter().chain(cut_off).collect();
        if !marks.is_empty() {
            self.write(marks).await;
        }
    }

    pub(super) async fn record_revoked(&self, sessions: &[Session], now: Moment) {
        let revoked = sessions.iter().filter(|session| session.revoked.is_some());
        let marks: Vec<_> = revoked
            .map(|session| Self::session_entry(session, now))
            .collect();
        if !marks.is_empty() {
            self.write(marks).await;
        }
    }

    /// Not waited for: the database is asked about every refresh token anyway.
    pub(super) fn enqueue_rotated(&self, session: &Session) {
        if let Some(queue) = &self.write_behind {
            let mark = BlacklistEntry::GenerationRotated {
                session: session.id,
                user: session.user_id.clone(),
                generation: session.generation,
            };
            queue.enqueue(mark, self.lifetimes.refresh + MARGIN);
        }
    }

    pub(super) async fn record_epoch(&self, user: &UserId, version: u32) {
        self.write(vec![self.epoch_entry(user.clone(), version)])
            .await;
    }

    pub(super) async fn record_epochs(&self, users: &[(UserId, u32)]) {
        self.write(
            users
                .iter()
                .map(|(user, version)| self.epoch_entry(user.clone(), *version))
                .collect(),
        )
        .await;
    }

    /// The mark of a session that was revoked, unless its last token has ended.
    pub(super) fn entry_of(session: &Session, now: Moment) -> Option<(BlacklistEntry, TimeDelta)> {
        let ended = session.expires_at + MARGIN <= now;
        (session.revoked.is_some() && !ended).then(|| Self::entry(session, now))
    }

    pub(super) fn epoch_entry(&self, user: UserId, version: u32) -> (BlacklistEntry, TimeDelta) {
        (
            BlacklistEntry::SessionEpoch {
                user,
                session_epoch: version,
            },
            self.epoch_lifetime(),
        )
    }

    /// How far back a cut-off still matters.
    pub(super) fn epoch_lifetime(&self) -> TimeDelta {
        self.lifetimes.session.max(EPOCH_LIFETIME) + MARGIN
    }

    /// Returns the mark of a revoked session. Its life starts at the moment of the revocation or at `now`, whichever is
    /// earlier: the caller's clock may be ahead.
    fn session_entry(session: &Session, now: Moment) -> (BlacklistEntry, TimeDelta) {
        Self::entry(session, session.revoked.map_or(now, |(at, _)| at.min(now)))
    }

    fn entry(session: &Session, now: Moment) -> (BlacklistEntry, TimeDelta) {
        let mark = BlacklistEntry::SessionRevoked {
            session: session.id,
            user: session.user_id.clone(),
        };
        (
            mark,
            (session.expires_at - now).max(TimeDelta::zero()) + MARGIN,
        )
    }

    /// The database knows already, so a blacklist that cannot be written to fails no request: it says `Unknown`
    /// until it was rebuilt, and the database answers.
    async fn write(&self, marks: Vec<(BlacklistEntry, TimeDelta)>) {
        if let Some(blacklist) = &self.blacklist
            && let Err(error) = blacklist.write(&marks).await
            && let Some(suppressed) = WRITE_FAILED.due()
        {
            tracing::warn!(%error, suppressed, "Redis did not take a mark: the database answers until the blacklist \
                 is rebuilt");
        }
    }
}
