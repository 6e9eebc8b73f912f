//! Permanent properties of a database, checked before migrations.

use diesel::{
    QueryableByName,
    sql_types::{Bool, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    ConnectError,
    migrate::{FOREIGN, MigrateError},
};

/// Oldest supported version, as in `server_version_num`.
const MIN_VERSION: i32 = 140_000;

const QUERY: &str = "SELECT current_setting('server_encoding') AS encoding, \
                     current_setting('server_version_num')::int AS version, current_schema()::text AS schema, \
                     to_regclass('__diesel_schema_migrations') IS NULL AND EXISTS (SELECT FROM pg_tables \
                     WHERE schemaname = current_schema() AND tablename IN ('users', 'sessions', 'audit_events', \
                     'signing_keys', 'signing_key_ring', 'deployment')) AS taken";

#[derive(QueryableByName)]
struct Server {
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Nullable<Text>)]
    schema: Option<String>,
    /// True if another application has tables with names of Latchkey's.
    #[diesel(sql_type = Bool)]
    taken: bool,
}

/// Checks the version and the encoding of the database, and that its schema has no tables of
/// another application.
pub(super) async fn check(connection: &mut AsyncPgConnection) -> Result<(), MigrateError> {
    let server: Server = diesel::sql_query(QUERY).get_result(connection).await?;
    server
        .wrong()
        .map_or(Ok(()), |wrong| Err(ConnectError::Refused(wrong).into()))
}

impl Server {
    fn wrong(&self) -> Option<String> {
        if self.version < MIN_VERSION {
            return Some(format!(
                "the server is Postgres {}: expected 14 or later",
                self.version / 10_000
            ));
        }
        if self.encoding != "UTF8" {
            return Some(format!(
                "its encoding is {}: name a database created with ENCODING 'UTF8' TEMPLATE template0",
                self.encoding
            ));
        }
        if self.taken {
            return Some(FOREIGN.to_owned());
        }
        self.schema.is_none().then(|| {
            "the user of the URL can use no schema of the search_path: create one, or grant the user USAGE on one"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn server_older_than_14_is_refused() {
        let wrong = |version| {
            Server {
                encoding: "UTF8".to_owned(),
                version,
                schema: Some("public".to_owned()),
                taken: false,
            }
            .wrong()
        };
        assert_eq!(
            wrong(130_022),
            Some("the server is Postgres 13: expected 14 or later".to_owned())
        );
        assert_eq!(wrong(140_000), None);
    }
}
