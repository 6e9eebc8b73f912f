//! What operators ask the audit trail: what happened, and why a token or a session is as it is.

use std::sync::Arc;

use super::Error;
use crate::{
    domain::{
        audit::{AuditEntry, EventKind},
        ids::{SessionId, UserId},
        session::{Grace, SessionState, Standing},
        time::Moment,
        username::Username,
    },
    ports::{AuditQuery, AuditStore, Clock, SessionStore, UserStore},
};

/// Events and sessions at a time.
const PAGE: i64 = 1000;

/// Reads the trail. It changes nothing.
pub struct Trail {
    /// Events.
    pub audit: Arc<dyn AuditStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Users.
    pub users: Arc<dyn UserStore>,
}

/// The story of a session, or of a token of it.
#[derive(Clone, Debug)]
pub struct Story {
    /// Whether the question was about a token, and what is known of it.
    pub token: Option<TokenStory>,
    /// The session and its user, while the row is there.
    pub state: Option<SessionState>,
    /// What a token of the live generation is worth now.
    pub standing: Option<Standing>,
    /// What happened to the session, and to the whole account since it began; the oldest first.
    pub events: Vec<AuditEntry>,
}

/// What is known of a token by its `jti`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenStory {
    /// An event names it.
    Noted,
    /// It is the refresh token of this generation.
    Refresh(u32),
}

impl Trail {
    /// The id of the user of this name, without regard to case.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn user_named(&self, name: &str) -> Result<Option<UserId>, Error> {
        Ok(match Username::parse(name) {
            Ok(name) => self.users.find_by_username(&name).await?.map(|user| user.id),
            Err(_) => None,
        })
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// One page of events, the oldest first; empty at the end. The next one begins after the last.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn page(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.audit.events(query).await?)
    }

    /// The story of a session (`sid`) or of a token (`jti`); `None` when nothing is known of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn why(&self, id: &str) -> Result<Option<Story>, Error> {
        if let Some(session) = SessionId::parse(id) {
            return self.story(session, None).await;
        }
        let query = AuditQuery { jti: Some(id.to_owned()), limit: 1, ..AuditQuery::default() };
        let noted = self.audit.events(&query).await?.first().and_then(|event| event.session);
        if let Some((session, generation)) = self.find_refresh(id, noted).await? {
            return self.story(session, Some(TokenStory::Refresh(generation))).await;
        }
        match noted {
            Some(session) => self.story(session, Some(TokenStory::Noted)).await,
            None => Ok(None),
        }
    }

    async fn story(&self, id: SessionId, token: Option<TokenStory>) -> Result<Option<Story>, Error> {
        let state = self.sessions.find(id).await?;
        let mut events = self.all(AuditQuery { session: Some(id), ..AuditQuery::default() }).await?;
        if state.is_none() && events.is_empty() {
            return Ok(None);
        }
        let user = state.as_ref().map(|state| state.session.user_id.clone());
        if let Some(user) = user.or_else(|| events.iter().find_map(|event| event.user.clone())) {
            let began = state.as_ref().map(|state| state.session.created_at).or(events.first().map(|event| event.at));
            // A cut-off names the session that asked for it, which may be another one; that of everybody names nobody.
            let cut_off = AuditQuery { since: began, kind: Some(EventKind::CutOff), ..AuditQuery::default() };
            let everybody = AuditQuery { kind: Some(EventKind::EverybodyCutOff), ..cut_off.clone() };
            let of_user = self.all(AuditQuery { user: Some(user), ..cut_off }).await?;
            events.extend(of_user.into_iter().filter(|event| event.session != Some(id)));
            events.extend(self.all(everybody).await?);
        }
        events.sort_by_key(|event| (event.at, event.id));
        let now = self.clock.now();
        let standing = state.as_ref().map(|state| state.standing(state.session.generation, now, Grace::Endless));
        Ok(Some(Story { token, state, standing, events }))
    }

    async fn all(&self, mut query: AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        let mut all: Vec<AuditEntry> = Vec::new();
        query.limit = PAGE;
        loop {
            let page = self.audit.events(&query).await?;
            let Some(last) = page.last() else { return Ok(all) };
            query.after = Some((last.at, last.id));
            all.extend(page);
        }
    }

    /// A refresh token's id follows from session and generation, and nothing else keeps it: the sessions are gone
    /// through, unless an event says which one to look at.
    async fn find_refresh(&self, jti: &str, noted: Option<SessionId>) -> Result<Option<(SessionId, u32)>, Error> {
        let generation_of = |id: SessionId, latest: u32| (0..=latest).rev().find(|n| id.refresh_jti(*n) == jti);
        if let Some(id) = noted {
            let latest = self.sessions.find(id).await?.map(|state| state.session.generation);
            return Ok(latest.and_then(|latest| generation_of(id, latest)).map(|generation| (id, generation)));
        }
        let mut after = None;
        loop {
            let page = self.sessions.page(after, PAGE).await?;
            for session in &page.sessions {
                if let Some(generation) = generation_of(session.id, session.generation) {
                    return Ok(Some((session.id, generation)));
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }
}
