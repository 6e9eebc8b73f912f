//! What operators ask the audit trail: what happened, and why a token or a session is as it is.

use std::sync::Arc;

mod search;

pub use search::Search;

use self::search::Found;
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

/// The result of a search.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The story.
    Story(Box<Story>),
    /// Unknown.
    Unknown,
    /// Not found within the limits of the search: see [`Search`].
    Stopped,
}

/// What is known of a token by its `jti`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenStory {
    /// An event names it.
    Noted,
    /// It is the refresh token of this generation.
    Refresh(u32),
}

impl From<Option<Story>> for Answer {
    fn from(story: Option<Story>) -> Self {
        story.map_or(Self::Unknown, |story| Self::Story(Box::new(story)))
    }
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

    /// Returns the story of a session (`sid`) or of a token (`jti`), within the limits of `search`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn why(&self, id: &str, search: &mut Search<'_>) -> Result<Answer, Error> {
        if let Some(session) = SessionId::parse(id) {
            return Ok(self.story(session, None).await?.into());
        }
        let query = AuditQuery { jti: Some(id.to_owned()), limit: 1, ..AuditQuery::default() };
        let noted = self.audit.events(&query).await?.first().and_then(|event| event.session);
        match (self.find_refresh(id, noted, search).await?, noted) {
            (Found::Token(session, generation), _) => {
                Ok(self.story(session, Some(TokenStory::Refresh(generation))).await?.into())
            }
            (_, Some(session)) => Ok(self.story(session, Some(TokenStory::Noted)).await?.into()),
            (Found::Nothing, None) => Ok(Answer::Unknown),
            (Found::Stopped, None) => Ok(Answer::Stopped),
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
}
