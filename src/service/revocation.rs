//! Revocations: first the database, which is the truth, then the marks. With no blacklist, only the database: the
//! same path, there is no second set of rules.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{
    hints::{self, HintWriter, Hints},
    sampled::Sampled,
};
use crate::{
    domain::{
        ids::UserId,
        session::{Session, SessionState},
        time::Moment,
    },
    ports::{
        Blacklist, Mark, Revoke, SessionStore, StoreError, TokenRef, Verdict, blacklist::MARGIN,
    },
};

static NOT_TAKEN: Sampled = Sampled::new();

/// How long marks are kept.
#[derive(Clone, Copy, Debug)]
pub struct MarkLifetimes {
    /// The longest life of a refresh token: older generations are dead by themselves after it.
    pub refresh: TimeDelta,
    /// The longest life of a session: no token outlives it.
    pub session: TimeDelta,
}

/// The database and, in front of it, perhaps a blacklist. Cloning shares both.
#[derive(Clone)]
pub struct Revocation {
    blacklist: Option<Arc<dyn Blacklist>>,
    hints: Option<Hints>,
    lifetimes: MarkLifetimes,
    sessions: Arc<dyn SessionStore>,
}

/// How long a cut-off is remembered at the least. Tokens may have been signed under longer lifetimes than today's, and a
/// cut-off is one small key.
const CUT_OFF: TimeDelta = TimeDelta::days(400);

impl Revocation {
    /// Over `sessions`, with `blacklist` in front if there is one.
    #[must_use]
    pub fn new(
        sessions: Arc<dyn SessionStore>,
        blacklist: Option<Arc<dyn Blacklist>>,
        lifetimes: MarkLifetimes,
    ) -> Self {
        Self {
            blacklist,
            hints: None,
            lifetimes,
            sessions,
        }
    }

    /// With what writes the marks of rotations, if there is a blacklist: it has to run beside the server. Without it,
    /// rotations leave no marks.
    #[must_use]
    pub fn with_hints(mut self) -> (Self, Option<HintWriter>) {
        let Some(blacklist) = &self.blacklist else {
            return (self, None);
        };
        let (hints, writer) = hints::channel(Arc::clone(blacklist));
        self.hints = Some(hints);
        (self, Some(writer))
    }

    /// The blacklist, if there is one.
    #[must_use]
    pub fn blacklist(&self) -> Option<&Arc<dyn Blacklist>> {
        self.blacklist.as_ref()
    }

    pub(super) async fn check(&self, token: &TokenRef) -> Verdict {
        match &self.blacklist {
            Some(blacklist) => blacklist.check(token).await,
            None => Verdict::Unknown,
        }
    }

    /// Ends a session. Whether it was this call that did; `None` when there is no such session.
    pub(super) async fn revoke(&self, revoke: Revoke) -> Result<Option<bool>, StoreError> {
        let now = revoke.now;
        let Some((session, by_us)) = self.sessions.revoke(revoke).await? else {
            return Ok(None);
        };
        self.mark_revoked(&[session], now).await;
        Ok(Some(by_us))
    }

    /// Says again what the database knows, before somebody hears that a session is over. Who ended it may have died
    /// before its mark, or never have heard that it did; from the answer on, it is over for everybody.
    pub(super) async fn mark_over(&self, state: &SessionState, now: Moment) {
        let SessionState { session, user } = state;
        let revoked = session
            .revoked
            .is_some()
            .then(|| Self::revoked(session, now));
        let cut_off = user
            .as_ref()
            .filter(|user| user.version > session.user_version);
        let cut_off = cut_off.map(|user| self.cut_off(user.id.clone(), user.version));
        let marks: Vec<_> = revoked.into_iter().chain(cut_off).collect();
        if !marks.is_empty() {
            self.write(marks).await;
        }
    }

    pub(super) async fn mark_revoked(&self, sessions: &[Session], now: Moment) {
        let revoked = sessions.iter().filter(|session| session.revoked.is_some());
        let marks: Vec<_> = revoked.map(|session| Self::revoked(session, now)).collect();
        if !marks.is_empty() {
            self.write(marks).await;
        }
    }

    /// Not waited for: the database is asked about every refresh token anyway.
    pub(super) fn mark_rotated(&self, session: &Session) {
        if let Some(hints) = &self.hints {
            let mark = Mark::Rotated {
                session: session.id,
                user: session.user_id.clone(),
                generation: session.generation,
            };
            hints.give(mark, self.lifetimes.refresh + MARGIN);
        }
    }

    pub(super) async fn mark_cut_off(&self, user: &UserId, version: u32) {
        self.write(vec![self.cut_off(user.clone(), version)]).await;
    }

    pub(super) async fn mark_cut_offs(&self, users: &[(UserId, u32)]) {
        self.write(
            users
                .iter()
                .map(|(user, version)| self.cut_off(user.clone(), *version))
                .collect(),
        )
        .await;
    }

    /// The mark of a session that was revoked, unless its last token has ended.
    pub(super) fn mark_of(session: &Session, now: Moment) -> Option<(Mark, TimeDelta)> {
        let ended = session.expires_at + MARGIN <= now;
        (session.revoked.is_some() && !ended).then(|| Self::entry(session, now))
    }

    pub(super) fn cut_off(&self, user: UserId, version: u32) -> (Mark, TimeDelta) {
        (Mark::CutOff { user, version }, self.longest())
    }

    /// How far back a cut-off still matters.
    pub(super) fn longest(&self) -> TimeDelta {
        self.lifetimes.session.max(CUT_OFF) + MARGIN
    }

    /// Returns the mark of a revoked session. Its life starts at the moment of the revocation or at `now`, whichever is
    /// earlier: the caller's clock may be ahead.
    fn revoked(session: &Session, now: Moment) -> (Mark, TimeDelta) {
        Self::entry(session, session.revoked.map_or(now, |(at, _)| at.min(now)))
    }

    fn entry(session: &Session, now: Moment) -> (Mark, TimeDelta) {
        let mark = Mark::Revoked {
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
    async fn write(&self, marks: Vec<(Mark, TimeDelta)>) {
        if let Some(blacklist) = &self.blacklist
            && let Err(error) = blacklist.write(&marks).await
            && let Some(suppressed) = NOT_TAKEN.due()
        {
            tracing::warn!(%error, suppressed, "Redis did not take a mark: the database answers until the blacklist \
                 is rebuilt");
        }
    }
}
