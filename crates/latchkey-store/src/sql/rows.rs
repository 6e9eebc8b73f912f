//! Conversion between rows and domain types.

use chrono::NaiveDateTime;
use diesel::{AsChangeset, Insertable, Queryable, Selectable, pg::Pg, sqlite::Sqlite};

use super::schema::{sessions, users};
use latchkey_domain::{
    email::EmailAddress,
    ids::{SessionId, UserId},
    ports::StoreError,
    session::{RevokedReason, Session, SessionState},
    time::{Moment, truncate_to_micros},
    user::{NewUser, PersonName, User, UserChanges},
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(Pg, Sqlite))]
pub(super) struct UserRow {
    id: String,
    username: String,
    email: String,
    first_name: String,
    last_name: String,
    is_active: bool,
    is_staff: bool,
    session_epoch: i32,
    created_at: NaiveDateTime,
    last_login: Option<NaiveDateTime>,
    deleted_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = users)]
pub(super) struct NewUserRow {
    id: String,
    username: String,
    username_key: Option<String>,
    email: String,
    email_key: Option<String>,
    password_hash: String,
    first_name: String,
    last_name: String,
    is_active: bool,
    is_staff: bool,
    session_epoch: i32,
    created_at: NaiveDateTime,
}

#[derive(AsChangeset)]
#[diesel(table_name = users)]
#[expect(
    clippy::option_option,
    reason = "to diesel, the outer one means no change and the inner one NULL"
)]
pub(super) struct UserChangesRow {
    email: Option<String>,
    email_key: Option<Option<String>>,
    first_name: Option<String>,
    last_name: Option<String>,
    is_staff: Option<bool>,
}

impl From<&UserChanges> for UserChangesRow {
    fn from(changes: &UserChanges) -> Self {
        let UserChanges {
            email,
            first_name,
            last_name,
            is_staff,
        } = changes;
        let name = |name: &Option<PersonName>| name.as_ref().map(|name| name.as_str().to_owned());
        Self {
            email: email.as_ref().map(|email| {
                email
                    .as_ref()
                    .map(|email| email.as_str().to_owned())
                    .unwrap_or_default()
            }),
            email_key: email
                .as_ref()
                .map(|email| email.as_ref().map(EmailAddress::key)),
            first_name: name(first_name),
            last_name: name(last_name),
            is_staff: *is_staff,
        }
    }
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(Pg, Sqlite))]
pub(super) struct SessionRow {
    pub id: String,
    pub user_id: String,
    pub session_epoch: i32,
    pub generation: i32,
    pub created_at: NaiveDateTime,
    pub rotated_at: NaiveDateTime,
    pub expires_at: NaiveDateTime,
    pub revoked_at: Option<NaiveDateTime>,
    pub revoked_reason: Option<String>,
    pub last_ip: Option<String>,
    pub user_agent: Option<String>,
}

/// Returns a time in the form of both databases: UTC without a zone, in microseconds.
pub(super) fn stored(moment: Moment) -> NaiveDateTime {
    truncate_to_micros(moment).naive_utc()
}

/// Returns a counter in the form of both databases, limited to `i32::MAX`.
pub(super) fn counter(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn number(counter: i32) -> Result<u32, StoreError> {
    u32::try_from(counter).map_err(|_| StoreError::Failed("a counter is negative".to_owned()))
}

impl UserRow {
    /// Returns the user, or `None` if deleted.
    pub(super) fn into_user(self) -> Result<Option<User>, StoreError> {
        if self.deleted_at.is_some() {
            return Ok(None);
        }
        Ok(Some(User {
            id: UserId::new(self.id),
            username: self.username,
            email: self.email,
            first_name: self.first_name,
            last_name: self.last_name,
            is_active: self.is_active,
            is_staff: self.is_staff,
            session_epoch: number(self.session_epoch)?,
            created_at: self.created_at.and_utc(),
            last_login: self.last_login.map(|moment| moment.and_utc()),
        }))
    }
}

impl From<NewUser> for NewUserRow {
    fn from(user: NewUser) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.as_str().to_owned(),
            username_key: Some(user.username.key()),
            email: user
                .email
                .as_ref()
                .map(|email| email.as_str().to_owned())
                .unwrap_or_default(),
            email_key: user.email.as_ref().map(EmailAddress::key),
            password_hash: user.password_hash.expose().to_owned(),
            first_name: String::new(),
            last_name: String::new(),
            is_active: true,
            is_staff: user.is_staff,
            session_epoch: 0,
            created_at: stored(user.created_at),
        }
    }
}

impl From<&Session> for SessionRow {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.to_string(),
            user_id: session.user_id.to_string(),
            session_epoch: counter(session.session_epoch),
            generation: counter(session.generation),
            created_at: stored(session.created_at),
            rotated_at: stored(session.rotated_at),
            expires_at: stored(session.expires_at),
            revoked_at: session.revoked.map(|(at, _)| stored(at)),
            revoked_reason: session
                .revoked
                .map(|(_, reason)| reason.as_str().to_owned()),
            last_ip: session.last_ip.clone(),
            user_agent: session.user_agent.clone(),
        }
    }
}

impl SessionRow {
    pub(super) fn into_session(self) -> Result<Session, StoreError> {
        let id = SessionId::parse(&self.id)
            .ok_or_else(|| StoreError::Failed("a session has a bad id".to_owned()))?;
        let revoked = match (self.revoked_at, self.revoked_reason) {
            (None, _) => None,
            // An unknown reason of a later version is still a revocation.
            (Some(at), reason) => Some((
                at.and_utc(),
                reason
                    .as_deref()
                    .and_then(RevokedReason::parse)
                    .unwrap_or(RevokedReason::Operator),
            )),
        };
        Ok(Session {
            id,
            user_id: UserId::new(self.user_id),
            session_epoch: number(self.session_epoch)?,
            generation: number(self.generation)?,
            created_at: self.created_at.and_utc(),
            rotated_at: self.rotated_at.and_utc(),
            expires_at: self.expires_at.and_utc(),
            revoked,
            last_ip: self.last_ip,
            user_agent: self.user_agent,
        })
    }
}

pub(super) fn state(
    session: SessionRow,
    user: Option<UserRow>,
) -> Result<SessionState, StoreError> {
    let user = match user {
        None => None,
        Some(row) => row.into_user()?,
    };
    Ok(SessionState {
        session: session.into_session()?,
        user,
    })
}
