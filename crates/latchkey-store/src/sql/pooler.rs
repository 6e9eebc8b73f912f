//! Check for poolers that change the server connection of a client and lose its prepared
//! statements.

use std::time::Duration;

use diesel::{IntoSql as _, sql_types::Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};

use super::{connect_error::ConnectError, connector::PgConnector};

const REMEDY: &str = "the pooler does not support prepared statements in its pool mode: set max_prepared_statements in \
                      PgBouncer 1.21 or later, or pool_mode = session, or connect to Postgres directly";

/// Checks that a prepared statement survives a change of the server connection.
pub(super) async fn check(driver: &PgConnector, timeout: Duration) -> Result<(), ConnectError> {
    let (mut client, mut other) = (driver.connect().await?, driver.connect().await?);
    // With a single server connection, the second client waits until the timeout. The server
    // connection then never changes.
    tokio::time::timeout(timeout, survives(&mut client, &mut other))
        .await
        .unwrap_or(Ok(()))
}

async fn survives(
    client: &mut AsyncPgConnection,
    other: &mut AsyncPgConnection,
) -> Result<(), ConnectError> {
    run_prepared(client).await?;
    // In transaction mode, this takes the server connection that the first client used last.
    other
        .batch_execute("BEGIN")
        .await
        .map_err(|error| ConnectError::Unreachable(error.to_string()))?;
    run_prepared(client).await
}

async fn run_prepared(client: &mut AsyncPgConnection) -> Result<(), ConnectError> {
    let result = diesel::select(1.into_sql::<Integer>())
        .get_result::<i32>(client)
        .await;
    result.map(drop).map_err(|error| match error.to_string() {
        text if text.contains("prepared statement") => ConnectError::Refused(REMEDY.to_owned()),
        text => ConnectError::Unreachable(text),
    })
}
