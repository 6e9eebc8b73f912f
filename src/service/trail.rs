//! What operators ask the audit trail: what happened, and why a token or a session is as it is.

use std::sync::Arc;

use chrono::TimeDelta;

mod search;

pub use search::Search;

use self::search::Found;
use super::Error;
use crate::{
    domain::{
        audit::{AuditEntry, EventKind},
        ids::{SessionId, UserId},
        session::{ReuseGrace, SessionState, TokenStatus},
        time::Moment,
        user::User,
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
pub struct History {
    /// Whether the question was about a token, and what is known of it.
    pub token: Option<TokenHistory>,
    /// The session and its user, while the row is there.
    pub state: Option<SessionState>,
    /// What a token of the live generation is worth now.
    pub standing: Option<TokenStatus>,
    /// What happened to the session, and to the whole account since it began; the oldest first.
    pub events: Vec<AuditEntry>,
}

/// The result of a search.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The story.
    Story(Box<History>),
    /// Unknown.
    Unknown,
    /// The story of a user.
    User(Box<UserHistory>),
    /// Not found within the limits of the search: see [`Search`].
    Stopped,
}

/// The recent refusals of a user, and the ends of sessions.
#[derive(Clone, Debug)]
pub struct UserHistory {
    /// The id.
    pub id: UserId,
    /// The user; `None` for a deleted one.
    pub user: Option<User>,
    /// The number of live sessions.
    pub sessions: usize,
    /// The latest events, up to [`UserStory::EVENTS`], the oldest first.
    pub events: Vec<AuditEntry>,
}

impl UserHistory {
    /// The largest number of events.
    pub const EVENTS: usize = 30;

    /// The number of days that are looked back.
    pub const DAYS: i64 = 7;
}

/// What is known of a token by its `jti`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenHistory {
    /// An event names it.
    Noted,
    /// It is the refresh token of this generation.
    Refresh(u32),
}

impl From<Option<History>> for Answer {
    fn from(story: Option<History>) -> Self {
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
            Ok(name) => self
                .users
                .find_by_username(&name)
                .await?
                .map(|user| user.id),
            Err(_) => None,
        })
    }

    /// The user with this id; `None` for a deleted one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn user(&self, id: &UserId) -> Result<Option<User>, Error> {
        Ok(self.users.find_by_id(id).await?)
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

    /// Returns the story of a session (`sid`), of a user (name or id) or of a token (`jti`), within the limits of `search`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn why(&self, id: &str, search: &mut Search<'_>) -> Result<Answer, Error> {
        if let Some(session) = SessionId::parse(id)
            && let Some(story) = self.history(session, None).await?
        {
            return Ok(Answer::Story(Box::new(story)));
        }
        if let Some(story) = self.of_user(id).await? {
            return Ok(Answer::User(Box::new(story)));
        }
        let query = AuditQuery {
            jti: Some(id.to_owned()),
            limit: 1,
            ..AuditQuery::default()
        };
        let noted = self
            .audit
            .events(&query)
            .await?
            .first()
            .and_then(|event| event.session);
        match (self.find_refresh(id, noted, search).await?, noted) {
            (Found::Token(session, generation), _) => Ok(self
                .history(session, Some(TokenHistory::Refresh(generation)))
                .await?
                .into()),
            (_, Some(session)) => Ok(self
                .history(session, Some(TokenHistory::Noted))
                .await?
                .into()),
            (Found::Nothing, None) => Ok(Answer::Unknown),
            (Found::Stopped, None) => Ok(Answer::Stopped),
        }
    }

    async fn history(
        &self,
        id: SessionId,
        token: Option<TokenHistory>,
    ) -> Result<Option<History>, Error> {
        let state = self.sessions.find(id).await?;
        let mut events = self
            .all(AuditQuery {
                session: Some(id),
                ..AuditQuery::default()
            })
            .await?;
        if state.is_none() && events.is_empty() {
            return Ok(None);
        }
        let user = state.as_ref().map(|state| state.session.user_id.clone());
        if let Some(user) = user.or_else(|| events.iter().find_map(|event| event.user.clone())) {
            let began = state
                .as_ref()
                .map(|state| state.session.created_at)
                .or(events.first().map(|event| event.at));
            // A cut-off names the session that asked for it, which may be another one; that of everybody names nobody.
            let cut_off = AuditQuery {
                since: began,
                kinds: vec![EventKind::AllSessionsRevoked],
                ..AuditQuery::default()
            };
            let everybody = AuditQuery {
                kinds: vec![EventKind::AllUsersSignedOut],
                ..cut_off.clone()
            };
            let of_user = self
                .all(AuditQuery {
                    user: Some(user),
                    ..cut_off
                })
                .await?;
            events.extend(
                of_user
                    .into_iter()
                    .filter(|event| event.session != Some(id)),
            );
            events.extend(self.all(everybody).await?);
        }
        events.sort_by_key(|event| (event.at, event.id));
        let now = self.clock.now();
        let standing = state
            .as_ref()
            .map(|state| state.token_status(state.session.generation, now, ReuseGrace::Unlimited));
        Ok(Some(History {
            token,
            state,
            standing,
            events,
        }))
    }

    async fn of_user(&self, name_or_id: &str) -> Result<Option<UserHistory>, Error> {
        let named = match Username::parse(name_or_id) {
            Ok(name) => self.users.find_by_username(&name).await?,
            Err(_) => return Ok(None),
        };
        let id = named
            .as_ref()
            .map_or_else(|| UserId::new(name_or_id), |user| user.id.clone());
        let user = if named.is_some() {
            named
        } else {
            self.users.find_by_id(&id).await?
        };
        let now = self.clock.now();
        let since = Some(now - TimeDelta::days(UserHistory::DAYS));
        let about = AuditQuery {
            user: Some(id.clone()),
            since,
            ..AuditQuery::default()
        };
        let of_deleted = AuditQuery {
            limit: 1,
            since: None,
            ..about.clone()
        };
        if user.is_none() && self.audit.events(&of_deleted).await?.is_empty() {
            return Ok(None);
        }
        let kinds = vec![
            EventKind::AllSessionsRevoked,
            EventKind::Reuse,
            EventKind::SessionRevoked,
            EventKind::SignInRefused,
            EventKind::TokenRefused,
        ];
        let mut events = self.all(AuditQuery { kinds, ..about }).await?;
        let everybody = vec![EventKind::AllUsersSignedOut];
        events.extend(
            self.all(AuditQuery {
                since,
                kinds: everybody,
                ..AuditQuery::default()
            })
            .await?,
        );
        events.sort_by_key(|event| (event.at, event.id));
        let events = events.split_off(events.len().saturating_sub(UserHistory::EVENTS));
        let sessions = self.sessions.list_live(&id, now).await?.len();
        Ok(Some(UserHistory {
            id,
            user,
            sessions,
            events,
        }))
    }

    async fn all(&self, mut query: AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        let mut all: Vec<AuditEntry> = Vec::new();
        query.limit = PAGE;
        loop {
            let page = self.audit.events(&query).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            query.after = Some((last.at, last.id));
            all.extend(page);
        }
    }
}
