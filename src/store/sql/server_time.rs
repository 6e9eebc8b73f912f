//! The time of a revocation or a cut-off.

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
use crate::domain::time::Moment;

/// The time of Postgres' clock, which is the same for all processes. For SQLite, it is the caller's time, because all
/// processes that use the file are on one machine.
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
        // Not the start of the transaction, which may have waited for a row.
        out.push_sql("(clock_timestamp() AT TIME ZONE 'UTC')");
        Ok(())
    }
}

impl QueryFragment<Sqlite> for ServerTime {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_bind_param::<Timestamp, _>(&self.0)
    }
}
