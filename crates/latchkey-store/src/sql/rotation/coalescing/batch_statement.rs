//! Rotation of many sessions on Postgres in one statement that waits for no row lock.

use chrono::NaiveDateTime;
use diesel::{
    QueryResult, RunQueryDsl,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamp},
};

use super::super::attempt::{Attempt, RotatedTypes};
use crate::sql::rows::stored;
use latchkey_domain::time::Moment;

/// Rotates each session by its own condition, the one of
/// [`RotateOne`](super::super::single_statement::RotateOne). A successful attempt returns one row,
/// with the number of the attempt in the batch (the first is 1). A failed attempt returns no row.
///
/// Rows locked by other transactions are skipped: a long lock would delay the whole batch, and two
/// batches could deadlock. A row is changed in the version that was locked, or not at all.
///
/// At most one of two attempts on one session succeeds: a statement changes a row once, and
/// returns the attempt.
pub(super) struct RotateBatch<'a> {
    ids: Vec<&'a str>,
    users: Vec<&'a str>,
    session_epochs: Vec<i32>,
    generations: Vec<i32>,
    moments: Vec<NaiveDateTime>,
    ips: Vec<Option<&'a str>>,
    user_agents: Vec<Option<&'a str>>,
    deadline: NaiveDateTime,
}

impl<'a> RotateBatch<'a> {
    /// Creates a statement that changes nothing after `deadline` by the clock of the database.
    pub(super) fn new(attempts: &'a [Attempt], deadline: Moment) -> Self {
        let column = attempts.iter();
        Self {
            ids: column.clone().map(|attempt| attempt.id.as_str()).collect(),
            users: column
                .clone()
                .map(|attempt| attempt.rotation.user.as_str())
                .collect(),
            session_epochs: column
                .clone()
                .map(|attempt| attempt.session_epoch)
                .collect(),
            generations: column.clone().map(|attempt| attempt.generation).collect(),
            moments: column.clone().map(|attempt| attempt.now).collect(),
            ips: column
                .clone()
                .map(|attempt| attempt.rotation.ip.as_deref())
                .collect(),
            user_agents: column
                .map(|attempt| attempt.rotation.user_agent.as_deref())
                .collect(),
            deadline: stored(deadline),
        }
    }
}

impl QueryId for RotateBatch<'_> {
    type QueryId = RotateBatch<'static>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for RotateBatch<'_> {
    type SqlType = (BigInt, RotatedTypes);
}

impl<C> RunQueryDsl<C> for RotateBatch<'_> {}

impl QueryFragment<Pg> for RotateBatch<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // `(SELECT …)` hides the array lengths from the planner, which would else plan small
        // batches on each call.
        out.push_sql(
            "WITH w AS (SELECT a.place, a.now, a.ip, a.user_agent, l.* FROM unnest((SELECT ",
        );
        out.push_bind_param::<Array<Text>, _>(&self.ids)?;
        out.push_sql("), ");
        out.push_bind_param::<Array<Text>, _>(&self.users)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Integer>, _>(&self.session_epochs)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Integer>, _>(&self.generations)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Timestamp>, _>(&self.moments)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.ips)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.user_agents)?;
        out.push_sql(
            ") WITH ORDINALITY AS a (id, user_id, session_epoch, generation, now, ip, user_agent, place) CROSS JOIN LATERAL \
             (SELECT s.tableoid AS part, s.ctid AS tid, s.created_at, s.expires_at, u.username, u.email, u.first_name, \
             u.last_name, u.is_staff, u.created_at AS user_created_at, u.last_login \
             FROM sessions AS s JOIN users AS u ON u.id = a.user_id WHERE s.id = a.id \
             AND (s.user_id = a.user_id) IS TRUE AND (s.session_epoch = a.session_epoch) IS TRUE \
             AND (s.generation = a.generation) IS TRUE AND (s.revoked_at IS NULL) IS TRUE \
             AND (s.expires_at > a.now) IS TRUE AND clock_timestamp() AT TIME ZONE 'UTC' < ",
        );
        out.push_bind_param::<Timestamp, _>(&self.deadline)?;
        // `LATERAL` locks row by row. `w.place + 0` lowers the planner's estimate of rows, so that
        // it looks up each row by `ctid` and scans no table that has no statistics yet.
        out.push_sql(
            " AND (u.session_epoch = s.session_epoch) IS TRUE AND u.is_active AND u.deleted_at IS NULL \
             FOR NO KEY UPDATE OF s SKIP LOCKED) AS l) \
             UPDATE sessions AS s SET generation = s.generation + 1, rotated_at = w.now, last_ip = w.ip, \
             user_agent = w.user_agent FROM w \
             WHERE s.ctid = w.tid AND s.tableoid = w.part AND w.place = w.place + 0 \
             RETURNING w.place, w.created_at, w.expires_at, w.username, w.email, w.first_name, w.last_name, \
             w.is_staff, w.user_created_at, w.last_login",
        );
        Ok(())
    }
}
