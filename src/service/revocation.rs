//! Revocations: first the database, which is the truth, then the marks. With no blacklist, only the database: the
//! same path, there is no second set of rules.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::{
    domain::{
        ids::{SessionId, UserId},
        session::{RevokedReason, Session},
        time::Moment,
    },
    ports::{Blacklist, Mark, SessionStore, StoreError, TokenRef, Verdict},
};

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
    lifetimes: MarkLifetimes,
    sessions: Arc<dyn SessionStore>,
}

/// How long a cut-off is remembered at the least. Tokens may have been signed under longer lifetimes than today's, and a
/// cut-off is one small key.
const CUT_OFF: TimeDelta = TimeDelta::days(400);

/// Longer than any leeway and any difference between two clocks.
const MARGIN: TimeDelta = TimeDelta::minutes(2);

impl Revocation {
    /// Over `sessions`, with `blacklist` in front if there is one.
    #[must_use]
    pub fn new(
        sessions: Arc<dyn SessionStore>,
        blacklist: Option<Arc<dyn Blacklist>>,
        lifetimes: MarkLifetimes,
    ) -> Self {
        Self { blacklist, lifetimes, sessions }
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

    /// Ends a session. Whether it was this call that did.
    pub(super) async fn revoke(&self, id: SessionId, reason: RevokedReason, now: Moment) -> Result<bool, StoreError> {
        let Some((session, by_us)) = self.sessions.revoke(id, reason, now).await? else { return Ok(false) };
        self.write(vec![Self::revoked(&session, now)]).await;
        Ok(by_us)
    }

    /// Says again what the database knows. Who ended the session may have died before its mark, or never have heard
    /// that it did: the caller is about to be told that the session is over, so from then on it is for everybody.
    pub(super) async fn mark_revoked(&self, session: &Session, now: Moment) {
        self.write(vec![Self::revoked(session, now)]).await;
    }

    pub(super) async fn mark_rotated(&self, session: &Session) {
        self.write(vec![self.rotated(session)]).await;
    }

    pub(super) async fn mark_cut_off(&self, user: &UserId, version: u32) {
        self.write(vec![self.cut_off(user.clone(), version)]).await;
    }

    /// The mark that a session's row asks for, if any.
    pub(super) fn mark_of(&self, session: &Session, now: Moment) -> Option<(Mark, TimeDelta)> {
        if session.expires_at + MARGIN <= now {
            return None;
        }
        if session.revoked.is_some() {
            return Some(Self::revoked(session, now));
        }
        (session.generation > 0).then(|| self.rotated(session))
    }

    pub(super) fn cut_off(&self, user: UserId, version: u32) -> (Mark, TimeDelta) {
        (Mark::CutOff { user, version }, self.longest())
    }

    /// How far back a cut-off still matters.
    pub(super) fn longest(&self) -> TimeDelta {
        self.lifetimes.session.max(CUT_OFF) + MARGIN
    }

    fn revoked(session: &Session, now: Moment) -> (Mark, TimeDelta) {
        let mark = Mark::Revoked { session: session.id, user: session.user_id.clone() };
        (mark, (session.expires_at - now).max(TimeDelta::zero()) + MARGIN)
    }

    fn rotated(&self, session: &Session) -> (Mark, TimeDelta) {
        let (id, user) = (session.id, session.user_id.clone());
        (Mark::Rotated { session: id, user, generation: session.generation }, self.lifetimes.refresh + MARGIN)
    }

    /// The database knows already, so a blacklist that cannot be written to fails no request: it says `Unknown`
    /// until it was rebuilt, and the database answers.
    async fn write(&self, marks: Vec<(Mark, TimeDelta)>) {
        if let Some(blacklist) = &self.blacklist
            && let Err(error) = blacklist.write(&marks).await
        {
            tracing::warn!(%error, "Redis did not take a mark: the database answers until it was rebuilt");
        }
    }
}
