//! The two statements that Postgres can do in one round trip and diesel's DSL cannot write.
//!
//! Each is a diesel query node, not `sql_query`: it has a static id, so each connection prepares it once.

use chrono::NaiveDateTime;
use diesel::{
    QueryResult, Queryable, RunQueryDsl,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamp},
};

use super::{
    audit::NewAuditRow,
    rows::{SessionRow, counter, number, stored},
};
use crate::{
    domain::{
        session::{Session, SessionState},
        time::Moment,
        user::User,
    },
    ports::{Rotation, StoreError},
};

/// Rotation: the condition and the write are one statement, and what the new tokens need of the user comes back
/// with it. Of two at once, the second waits for the row, finds the generation changed, and changes nothing.
///
/// A server that stood still (its machine was paused, its disk hung) may find the statement in its socket long after the
/// client was told 503. It must not rotate then: the moment would be an old one, and the retry would look like reuse.
#[derive(QueryId)]
pub(super) struct Rotate {
    id: String,
    version: i32,
    generation: i32,
    now: NaiveDateTime,
    deadline: NaiveDateTime,
    rotation: Rotation,
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

impl Rotate {
    /// At `now`, unless it is `deadline` by the clock of the database.
    pub(super) fn new(rotation: Rotation, now: Moment, deadline: Moment) -> Self {
        Self {
            id: rotation.id.to_string(),
            version: counter(rotation.version),
            generation: counter(rotation.generation),
            now: stored(now),
            deadline: stored(deadline),
            rotation,
        }
    }

    /// The session and its user as they are after it: what was compared, what was written, and what came back.
    pub(super) fn into_state(self, row: Rotated) -> Result<SessionState, StoreError> {
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

impl Query for Rotate {
    type SqlType = (Timestamp, Timestamp, Text, Text, Text, Text, Bool, Timestamp, Nullable<Timestamp>);
}

impl<C> RunQueryDsl<C> for Rotate {}

impl QueryFragment<Pg> for Rotate {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("UPDATE sessions AS s SET generation = s.generation + 1, rotated_at = ");
        out.push_bind_param::<Timestamp, _>(&self.now)?;
        out.push_sql(", last_ip = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.rotation.ip)?;
        out.push_sql(", user_agent = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.rotation.user_agent)?;
        out.push_sql(" FROM users AS u WHERE s.id = ");
        out.push_bind_param::<Text, _>(&self.id)?;
        out.push_sql(" AND s.user_id = ");
        out.push_bind_param::<Text, _>(self.rotation.user.as_str())?;
        out.push_sql(" AND s.user_version = ");
        out.push_bind_param::<Integer, _>(&self.version)?;
        out.push_sql(" AND s.generation = ");
        out.push_bind_param::<Integer, _>(&self.generation)?;
        out.push_sql(" AND s.revoked_at IS NULL AND s.expires_at > ");
        out.push_bind_param::<Timestamp, _>(&self.now)?;
        out.push_sql(" AND clock_timestamp() AT TIME ZONE 'UTC' < ");
        out.push_bind_param::<Timestamp, _>(&self.deadline)?;
        out.push_sql(
            " AND u.id = s.user_id AND u.version = s.user_version AND u.is_active AND u.deleted_at IS NULL \
             RETURNING s.created_at, s.expires_at, u.username, u.email, u.first_name, u.last_name, u.is_staff, \
             u.created_at, u.last_login",
        );
        Ok(())
    }
}

/// Sign-in: makes the session if the user is still the one whose password was checked, notes it at the user and in the
/// audit trail, and brings back how many other live sessions the user has.
///
/// The two forms have ids of their own: `NOTED` decides on the text.
pub(super) struct InsertSession<const NOTED: bool>(pub SessionRow, pub NewAuditRow);

impl<const NOTED: bool> QueryId for InsertSession<NOTED> {
    type QueryId = InsertSession<NOTED>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const NOTED: bool> Query for InsertSession<NOTED> {
    type SqlType = BigInt;
}

impl<C, const NOTED: bool> RunQueryDsl<C> for InsertSession<NOTED> {}

impl<const NOTED: bool> QueryFragment<Pg> for InsertSession<NOTED> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self(row, audit) = self;
        if NOTED {
            out.push_sql("WITH u AS (UPDATE users SET last_login = ");
            out.push_bind_param::<Timestamp, _>(&row.created_at)?;
        } else {
            out.push_sql("WITH u AS (SELECT id FROM users");
        }
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<Text, _>(&row.user_id)?;
        out.push_sql(" AND version = ");
        out.push_bind_param::<Integer, _>(&row.user_version)?;
        out.push_sql(" AND is_active AND deleted_at IS NULL");
        out.push_sql(if NOTED { " RETURNING id)" } else { ")" });
        out.push_sql(
            ", s AS (INSERT INTO sessions (id, user_id, user_version, generation, created_at, rotated_at, expires_at, \
             last_ip, user_agent) SELECT ",
        );
        out.push_bind_param::<Text, _>(&row.id)?;
        out.push_sql(", u.id, ");
        out.push_bind_param::<Integer, _>(&row.user_version)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&row.generation)?;
        for moment in [&row.created_at, &row.rotated_at, &row.expires_at] {
            out.push_sql(", ");
            out.push_bind_param::<Timestamp, _>(moment)?;
        }
        for text in [&row.last_ip, &row.user_agent] {
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(text)?;
        }
        out.push_sql(
            " FROM u RETURNING user_id), a AS (INSERT INTO audit_events \
             (at, event, cause, actor, user_id, session_id, jti, ip, user_agent, details, times) SELECT ",
        );
        out.push_bind_param::<Timestamp, _>(&audit.at)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(audit.event)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&audit.cause)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&audit.actor)?;
        for text in [&audit.user_id, &audit.session_id, &audit.jti, &audit.ip, &audit.user_agent] {
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(text)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&audit.details)?;
        // The live sessions as they were before this statement: it does not see its own row.
        out.push_sql(
            ", 1 FROM s) SELECT (SELECT count(*) FROM sessions AS o WHERE o.user_id = s.user_id \
             AND o.revoked_at IS NULL AND o.user_version = ",
        );
        out.push_bind_param::<Integer, _>(&row.user_version)?;
        out.push_sql(" AND o.expires_at > ");
        out.push_bind_param::<Timestamp, _>(&row.created_at)?;
        out.push_sql(") FROM s");
        Ok(())
    }
}
