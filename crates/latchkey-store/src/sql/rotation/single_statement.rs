//! Rotation of one session on Postgres, which waits for a lock of its row.

use chrono::NaiveDateTime;
use diesel::{
    QueryResult, RunQueryDsl,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Integer, Nullable, Text, Timestamp},
};

use super::attempt::{Attempt, RotatedTypes};
use crate::sql::rows::stored;
use latchkey_domain::time::Moment;

/// Condition and write are one statement, which also returns the user's columns for the new
/// tokens. Of two concurrent calls, the second waits for the row, finds the generation changed, and
/// changes nothing.
///
/// The statement carries a deadline. A server that was paused may receive it long after the client
/// got a 503. A rotation at that time would store an old time, and the client's retry would
/// count as reuse.
///
/// A diesel query node, not `sql_query`: it has a static id, so each connection prepares it once.
#[derive(QueryId)]
pub(super) struct RotateOne {
    pub attempt: Attempt,
    deadline: NaiveDateTime,
}

impl RotateOne {
    /// Creates a statement that changes nothing after `deadline` by the clock of the database.
    pub(super) fn new(attempt: Attempt, deadline: Moment) -> Self {
        Self {
            attempt,
            deadline: stored(deadline),
        }
    }
}

impl Query for RotateOne {
    type SqlType = RotatedTypes;
}

impl<C> RunQueryDsl<C> for RotateOne {}

impl QueryFragment<Pg> for RotateOne {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Attempt {
            id,
            session_epoch,
            generation,
            now,
            rotation,
        } = &self.attempt;
        out.push_sql("UPDATE sessions AS s SET generation = s.generation + 1, rotated_at = ");
        out.push_bind_param::<Timestamp, _>(now)?;
        out.push_sql(", last_ip = ");
        out.push_bind_param::<Nullable<Text>, _>(&rotation.ip)?;
        out.push_sql(", user_agent = ");
        out.push_bind_param::<Nullable<Text>, _>(&rotation.user_agent)?;
        // `IS TRUE` excludes all indexes but the primary key. The planner knows only the average
        // number of sessions of a user, and would sometimes scan all sessions of a user with
        // thousands.
        out.push_sql(" FROM users AS u WHERE s.id = ");
        out.push_bind_param::<Text, _>(id)?;
        out.push_sql(" AND (s.user_id = ");
        out.push_bind_param::<Text, _>(rotation.user.as_str())?;
        out.push_sql(") IS TRUE AND (s.session_epoch = ");
        out.push_bind_param::<Integer, _>(session_epoch)?;
        out.push_sql(") IS TRUE AND (s.generation = ");
        out.push_bind_param::<Integer, _>(generation)?;
        out.push_sql(") IS TRUE AND (s.revoked_at IS NULL) IS TRUE AND (s.expires_at > ");
        out.push_bind_param::<Timestamp, _>(now)?;
        out.push_sql(") IS TRUE AND clock_timestamp() AT TIME ZONE 'UTC' < ");
        out.push_bind_param::<Timestamp, _>(&self.deadline)?;
        out.push_sql(
            " AND u.id = s.user_id AND (u.session_epoch = s.session_epoch) IS TRUE AND u.is_active AND u.deleted_at IS NULL \
             RETURNING s.created_at, s.expires_at, u.username, u.email, u.first_name, u.last_name, u.is_staff, \
             u.created_at, u.last_login",
        );
        Ok(())
    }
}
