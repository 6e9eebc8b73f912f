//! Input and result of one rotation.

use chrono::NaiveDateTime;
use diesel::{
    Queryable,
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue, data_types::PgTimestamp},
    sql_types::{Bool, Nullable, Text, Timestamp},
};

use crate::sql::rows::{counter, number, stored};
use latchkey_domain::{
    ports::{Rotation, StoreError},
    session::{Session, SessionState},
    time::Moment,
    user::User,
};

/// Rotation at a fixed time, in the types of the columns.
pub(super) struct Attempt {
    pub id: String,
    pub session_epoch: i32,
    pub generation: i32,
    pub now: NaiveDateTime,
    pub rotation: Rotation,
}

/// Columns returned by a rotation, limited to unknown values because each column costs server and
/// client a microsecond.
///
/// Values are kept undecoded: a value that cannot be decoded must fail its own session only, not
/// the whole batch.
#[derive(Queryable)]
pub(super) struct RotatedRow {
    created_at: PgTimestamp,
    expires_at: PgTimestamp,
    username: RawText,
    email: RawText,
    first_name: RawText,
    last_name: RawText,
    is_staff: bool,
    user_created_at: PgTimestamp,
    last_login: Option<PgTimestamp>,
}

/// Undecoded text column.
#[derive(Debug, FromSqlRow)]
pub(super) struct RawText(Vec<u8>);

/// SQL types of [`RotatedRow`], column by column.
pub(super) type RotatedTypes = (
    Timestamp,
    Timestamp,
    Text,
    Text,
    Text,
    Text,
    Bool,
    Timestamp,
    Nullable<Timestamp>,
);

impl Attempt {
    pub(super) fn new(rotation: Rotation, now: Moment) -> Self {
        Self {
            id: rotation.id.to_string(),
            session_epoch: counter(rotation.session_epoch),
            generation: counter(rotation.generation),
            now: stored(now),
            rotation,
        }
    }

    /// Returns the session and its user after the rotation, from the compared, the written and the
    /// returned values.
    pub(super) fn into_state(self, row: RotatedRow) -> Result<SessionState, StoreError> {
        let Rotation {
            id,
            user,
            ip,
            user_agent,
            ..
        } = self.rotation;
        let session_epoch = number(self.session_epoch)?;
        let session = Session {
            id,
            user_id: user.clone(),
            session_epoch,
            generation: number(self.generation)? + 1,
            created_at: moment(row.created_at)?,
            rotated_at: self.now.and_utc(),
            expires_at: moment(row.expires_at)?,
            revoked: None,
            last_ip: ip,
            user_agent,
        };
        let user = User {
            id: user,
            username: row.username.read()?,
            email: row.email.read()?,
            first_name: row.first_name.read()?,
            last_name: row.last_name.read()?,
            is_active: true,
            is_staff: row.is_staff,
            session_epoch,
            created_at: moment(row.user_created_at)?,
            last_login: row.last_login.map(moment).transpose()?,
        };
        Ok(SessionState {
            session,
            user: Some(user),
        })
    }
}

impl FromSql<Text, Pg> for RawText {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(value.as_bytes().to_vec()))
    }
}

impl RawText {
    fn read(self) -> Result<String, StoreError> {
        String::from_utf8(self.0)
            .map_err(|_| StoreError::Failed("a text of a user is not UTF-8".to_owned()))
    }
}

/// Converts a timestamp. Postgres counts from the year 2000 and has infinite values.
fn moment(PgTimestamp(microseconds): PgTimestamp) -> Result<Moment, StoreError> {
    const YEAR_2000: i64 = 946_684_800_000_000;
    microseconds
        .checked_add(YEAR_2000)
        .and_then(Moment::from_timestamp_micros)
        .ok_or_else(|| StoreError::Failed("a timestamp in a row is out of range".to_owned()))
}
