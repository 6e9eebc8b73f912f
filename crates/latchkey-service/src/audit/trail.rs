//! Queries of the audit trail by operators: events, and the history of a token, a session or a
//! user.

use std::sync::Arc;

use chrono::TimeDelta;

mod search;

pub use search::Search;

use self::search::Found;
use crate::Error;
use latchkey_domain::{
    audit::{AuditEntry, EventKind},
    ids::{SessionId, UserId},
    ports::{AuditQuery, AuditStore, Clock, SessionStore, UserStore},
    session::{ReuseGrace, SessionState, TokenStatus},
    time::Moment,
    user::User,
    username::Username,
};

/// Events or sessions per query.
const PAGE: i64 = 1000;

/// Read access to the audit trail.
pub struct Trail {
    /// Audit events.
    pub audit: Arc<dyn AuditStore>,
    /// Clock of this process.
    pub clock: Arc<dyn Clock>,
    /// Session store.
    pub sessions: Arc<dyn SessionStore>,
    /// User store.
    pub users: Arc<dyn UserStore>,
}

/// History of a session, or of one of its tokens.
#[derive(Clone, Debug)]
pub struct History {
    /// Facts about the token, if the query was for a token.
    pub token: Option<TokenHistory>,
    /// Session and user, unless the row was deleted.
    pub state: Option<SessionState>,
    /// Present status of a token of the latest generation.
    pub standing: Option<TokenStatus>,
    /// Events of the session, and those that revoked all sessions of the user since it began.
    /// Oldest first.
    pub events: Vec<AuditEntry>,
}

/// Result of a query.
#[derive(Clone, Debug)]
pub enum Answer {
    /// History of a session or a token.
    Story(Box<History>),
    /// The id is unknown.
    Unknown,
    /// History of a user.
    User(Box<UserHistory>),
    /// Not found within the limits of the search: see [`Search`].
    Stopped,
}

/// Recent refusals and revocations of a user.
#[derive(Clone, Debug)]
pub struct UserHistory {
    /// User id.
    pub id: UserId,
    /// User, or `None` if deleted.
    pub user: Option<User>,
    /// Number of live sessions.
    pub sessions: usize,
    /// Latest events, at most [`UserHistory::EVENTS`], oldest first.
    pub events: Vec<AuditEntry>,
}

impl UserHistory {
    /// Maximum number of events.
    pub const EVENTS: usize = 30;

    /// Period of the events, in days.
    pub const DAYS: i64 = 7;
}

/// Origin of the knowledge about a token, found by its `jti`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenHistory {
    /// An audit event has the `jti`.
    Noted,
    /// The `jti` is that of the refresh token of this generation.
    Refresh(u32),
}

impl From<Option<History>> for Answer {
    fn from(history: Option<History>) -> Self {
        history.map_or(Self::Unknown, |history| Self::Story(Box::new(history)))
    }
}

impl Trail {
    /// Returns the id of the user of this name, ignoring case.
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

    /// Returns the user with this id, or `None` if deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn user(&self, id: &UserId) -> Result<Option<User>, Error> {
        Ok(self.users.find_by_id(id).await?)
    }

    /// Returns the present time.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Returns one page of events, oldest first, or an empty one at the end. The next page starts
    /// after the last event.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn page(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.audit.events(query).await?)
    }

    /// Returns the history of a session (`sid`), a user (name or id) or a token (`jti`), within the
    /// limits of `search`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn why(&self, id: &str, search: &mut Search<'_>) -> Result<Answer, Error> {
        if let Some(session) = SessionId::parse(id)
            && let Some(history) = self.history(session, None).await?
        {
            return Ok(Answer::Story(Box::new(history)));
        }
        if let Some(history) = self.of_user(id).await? {
            return Ok(Answer::User(Box::new(history)));
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
            let since = state
                .as_ref()
                .map(|state| state.session.created_at)
                .or(events.first().map(|event| event.at));
            // These events name the session of the request, which may be another one, or no session
            // and user at all.
            let revoke_all = AuditQuery {
                since,
                kinds: vec![EventKind::AllSessionsRevoked],
                ..AuditQuery::default()
            };
            let all_users = AuditQuery {
                kinds: vec![EventKind::AllUsersSignedOut],
                ..revoke_all.clone()
            };
            let of_user = self
                .all(AuditQuery {
                    user: Some(user),
                    ..revoke_all
                })
                .await?;
            events.extend(
                of_user
                    .into_iter()
                    .filter(|event| event.session != Some(id)),
            );
            events.extend(self.all(all_users).await?);
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
        let all_users = vec![EventKind::AllUsersSignedOut];
        events.extend(
            self.all(AuditQuery {
                since,
                kinds: all_users,
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
