//! Responses to a refresh that leaves the session's row unchanged.

use std::sync::Arc;

use super::{
    refusal::blacklisted,
    reuse::{Presented, ReuseDetection},
    stored::StoredSessions,
    successors::Successors,
};
use crate::{Error, TokenPair};
use latchkey_domain::{
    decision::{Decision, Purpose},
    ports::Repeat,
    reuse::{Consequence, REPEATS},
    session::{ReuseGrace, SessionState, TokenStatus},
};

/// Responses to a refresh that leaves the session's row unchanged: because a concurrent one changed
/// it, because the token is refused, or because the service does not rotate tokens.
pub(crate) struct Unrotated {
    pub(crate) reuse: Arc<ReuseDetection>,
    pub(crate) sessions: Arc<StoredSessions>,
    pub(crate) successors: Arc<Successors>,
}

impl Unrotated {
    /// Determines the reason for which a rotation did not change the row, and responds accordingly.
    pub(super) async fn resolve_lost_race(
        &self,
        presented: &Presented<'_>,
    ) -> Result<TokenPair, Error> {
        let state = self.sessions.find(presented.token).await?;
        self.resolve_status(&state, presented).await
    }

    /// Issues only an access token and leaves the row unchanged, like simplejwt with
    /// `ROTATE_REFRESH_TOKENS = False`.
    pub(super) async fn refresh_without_rotation(
        &self,
        presented: &Presented<'_>,
    ) -> Result<TokenPair, Error> {
        let request = presented.request;
        let (state, now) = (self.sessions.find(presented.token).await?, request.now);
        let status = self.sessions.status(&state, presented.generation, now);
        match (status, &state.user) {
            (TokenStatus::Current | TokenStatus::Grace, Some(user)) => self
                .successors
                .issue_access(&state.session, user, &request.client, now),
            _ => self.resolve_status(&state, presented).await,
        }
    }

    async fn resolve_status(
        &self,
        state: &SessionState,
        presented: &Presented<'_>,
    ) -> Result<TokenPair, Error> {
        let (purpose, session, now) = (Purpose::Refresh, &state.session, presented.request.now);
        let status = self.sessions.status(state, presented.generation, now);
        match purpose.decide(status) {
            Decision::Refuse(refused) => {
                Err(self.sessions.refuse(purpose, refused, state, now).await)
            }
            Decision::Spent => match self.reuse.consequence(purpose, status, session, presented) {
                Consequence::Successor => self.repeat(state, presented),
                Consequence::CountedSuccessor => self.repeat_counted(state, presented).await,
                Consequence::Logout | Consequence::Refusal | Consequence::Reuse => {
                    self.reuse.end_session(presented, session, None).await?;
                    Err(blacklisted("reuse"))
                }
            },
            // The token is unspent: the obstacle of the statement no longer exists. For example,
            // the user was activated in between, or the database delayed the statement. A ping
            // reads the time of the database again, in case its clock was set.
            Decision::Accept => {
                let _ = self.sessions.store.ping().await;
                Err(Error::Unavailable(
                    "the session changed meanwhile".to_owned(),
                ))
            }
        }
    }

    /// Issues the same successor again. If the grace is unlimited, there is no holder.
    fn repeat(&self, state: &SessionState, presented: &Presented<'_>) -> Result<TokenPair, Error> {
        let other_client = presented.difference(&state.session).any()
            && self.sessions.grace != ReuseGrace::Unlimited;
        self.successors.repeat(state, presented, other_client)
    }

    /// Issues the same successor again to a client that differs from the holder, up to the limit of
    /// repeats.
    async fn repeat_counted(
        &self,
        state: &SessionState,
        presented: &Presented<'_>,
    ) -> Result<TokenPair, Error> {
        let session = &state.session;
        let repeat = Repeat {
            id: session.id,
            generation: session.generation,
            limit: REPEATS,
        };
        if self.sessions.store.count_repeat(repeat).await? {
            return self.repeat(state, presented);
        }
        let after = self.sessions.find(presented.token).await?;
        if after.session.generation == session.generation && after.session.revoked.is_none() {
            self.reuse
                .end_session(presented, session, Some(REPEATS))
                .await?;
            return Err(blacklisted("reuse"));
        }
        // The session was rotated or revoked meanwhile, so the grace is over.
        Box::pin(self.resolve_status(&after, presented)).await
    }
}
