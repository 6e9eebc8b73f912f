//! Time of a revocation, by the stamping clock.

use chrono::NaiveDateTime;
use diesel::{
    AppearsOnTable, Expression, QueryResult, SelectableExpression,
    expression::{ValidGrouping, is_aggregate},
    pg::Pg,
    query_builder::{AstPass, QueryFragment, QueryId},
    sql_types::{Nullable, Timestamp},
    sqlite::Sqlite,
};

use super::rows::stored;
use latchkey_domain::time::Moment;

/// Time of Postgres' clock, which is the same for all processes. On SQLite, the caller's time,
/// because all processes that use the file run on one machine.
#[derive(Clone, Copy, Debug, QueryId)]
pub(super) struct ServerTime(NaiveDateTime);

impl ServerTime {
    pub(super) fn new(ours: Moment) -> Self {
        Self(stored(ours))
    }
}

impl Expression for ServerTime {
    type SqlType = Nullable<Timestamp>;
}

impl<T> ValidGrouping<T> for ServerTime {
    type IsAggregate = is_aggregate::Never;
}

impl<T> SelectableExpression<T> for ServerTime {}

impl<T> AppearsOnTable<T> for ServerTime {}

impl QueryFragment<Pg> for ServerTime {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The start of the transaction would be too early: it may have waited for a row.
        out.push_sql("(clock_timestamp() AT TIME ZONE 'UTC')");
        Ok(())
    }
}

impl QueryFragment<Sqlite> for ServerTime {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_bind_param::<Timestamp, _>(&self.0)
    }
}
