//! The two statements that Postgres can do in one round trip and diesel's DSL cannot write.
//!
//! Each is a diesel query node, not `sql_query`: it has a static id, so each connection prepares it once.

use chrono::NaiveDateTime;
use diesel::{
    QueryResult, RunQueryDsl,
    helper_types::{AsSelect, SqlTypeOf},
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Integer, Nullable, Text, Timestamp},
};

use super::{
    audit::NewAuditRow,
    rows::{SessionRow, UserRow, counter, stored},
};
use crate::{domain::time::Moment, ports::Rotation};

/// Rotation: the condition and the write are one statement, and what the new tokens need of the user comes back
/// with it. Of two at once, the second waits for the row, finds the generation changed, and changes nothing.
///
/// A server that stood still (its machine was paused, its disk hung) may find the statement in its socket long after the
/// client was told 503. It must not rotate then: the moment would be an old one, and the retry would look like reuse.
#[derive(QueryId)]
pub(super) struct Rotate {
    id: String,
    user: String,
    version: i32,
    generation: i32,
    now: NaiveDateTime,
    deadline: NaiveDateTime,
    ip: Option<String>,
    user_agent: Option<String>,
}

impl Rotate {
    /// At `now`, unless it is `deadline` by the clock of the database.
    pub(super) fn new(rotation: Rotation, now: Moment, deadline: Moment) -> Self {
        Self {
            id: rotation.id.to_string(),
            user: rotation.user.to_string(),
            version: counter(rotation.version),
            generation: counter(rotation.generation),
            now: stored(now),
            deadline: stored(deadline),
            ip: rotation.ip,
            user_agent: rotation.user_agent,
        }
    }
}

impl Query for Rotate {
    type SqlType = (SqlTypeOf<AsSelect<SessionRow, Pg>>, SqlTypeOf<AsSelect<UserRow, Pg>>);
}

impl<C> RunQueryDsl<C> for Rotate {}

impl QueryFragment<Pg> for Rotate {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("UPDATE sessions AS s SET generation = s.generation + 1, rotated_at = ");
        out.push_bind_param::<Timestamp, _>(&self.now)?;
        out.push_sql(", last_ip = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.ip)?;
        out.push_sql(", user_agent = ");
        out.push_bind_param::<Nullable<Text>, _>(&self.user_agent)?;
        out.push_sql(" FROM users AS u WHERE s.id = ");
        out.push_bind_param::<Text, _>(&self.id)?;
        out.push_sql(" AND s.user_id = ");
        out.push_bind_param::<Text, _>(&self.user)?;
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
             RETURNING s.id, s.user_id, s.user_version, s.generation, s.created_at, s.rotated_at, s.expires_at, \
             s.revoked_at, s.revoked_reason, s.last_ip, s.user_agent, \
             u.id, u.username, u.email, u.first_name, u.last_name, u.is_active, u.is_staff, u.version, \
             u.created_at, u.last_login, u.deleted_at",
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
