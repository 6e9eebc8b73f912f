//! One rotation: what the database is asked, and what is known once it was done.

use chrono::NaiveDateTime;
use diesel::{
    Queryable,
    sql_types::{Bool, Nullable, Text, Timestamp},
};

use crate::{
    domain::{
        session::{Session, SessionState},
        time::Moment,
        user::User,
    },
    ports::{Rotation, StoreError},
    store::sql::rows::{counter, number, stored},
};

/// A rotation at a moment, in the types of the columns.
pub(super) struct Attempt {
    pub id: String,
    pub version: i32,
    pub generation: i32,
    pub now: NaiveDateTime,
    pub rotation: Rotation,
}

/// What comes back of a rotation: what is not known yet. Each column costs the server and us a microsecond.
#[derive(Queryable)]
pub(super) struct Rotated {
    created_at: NaiveDateTime,
    expires_at: NaiveDateTime,
    username: String,
    email: String,
    first_name: String,
    last_name: String,
    is_staff: bool,
    user_created_at: NaiveDateTime,
    last_login: Option<NaiveDateTime>,
}

/// The types of [`Rotated`], column by column.
pub(super) type RotatedTypes = (Timestamp, Timestamp, Text, Text, Text, Text, Bool, Timestamp, Nullable<Timestamp>);

impl Attempt {
    pub(super) fn new(rotation: Rotation, now: Moment) -> Self {
        Self {
            id: rotation.id.to_string(),
            version: counter(rotation.version),
            generation: counter(rotation.generation),
            now: stored(now),
            rotation,
        }
    }

    /// The session and its user as they are after it: what was compared, what was written, and what came back.
    pub(super) fn done(self, row: Rotated) -> Result<SessionState, StoreError> {
        let Rotation { id, user, ip, user_agent, .. } = self.rotation;
        let version = number(self.version)?;
        let session = Session {
            id,
            user_id: user.clone(),
            user_version: version,
            generation: number(self.generation)? + 1,
            created_at: row.created_at.and_utc(),
            rotated_at: self.now.and_utc(),
            expires_at: row.expires_at.and_utc(),
            revoked: None,
            last_ip: ip,
            user_agent,
        };
        let user = User {
            id: user,
            username: row.username,
            email: row.email,
            first_name: row.first_name,
            last_name: row.last_name,
            is_active: true,
            is_staff: row.is_staff,
            version,
            created_at: row.user_created_at.and_utc(),
            last_login: row.last_login.map(|moment| moment.and_utc()),
        };
        Ok(SessionState { session, user: Some(user) })
    }
}
