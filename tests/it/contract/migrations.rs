//! Tests of migrations: both databases get the same schema, migrations are reversible, and a newer
//! database is refused.

use std::{collections::BTreeSet, path::Path, time::Duration};

use diesel::{
    Connection as _, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _,
};
use latchkey_store::sql::{
    DatabaseUrl,
    migrate::{self, MigrateError},
};

use latchkey_testkit::servers;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Table, column, and true if nullable.
type Columns = BTreeSet<(String, String, bool)>;

#[derive(diesel::QueryableByName)]
struct Column {
    #[diesel(sql_type = diesel::sql_types::Text)]
    table: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    nullable: bool,
}

fn folder(database: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(database)
}

fn names(database: &str) -> BTreeSet<String> {
    std::fs::read_dir(folder(database))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Returns all `up.sql`, oldest first, or all `down.sql`, newest first.
fn script(database: &str, file: &str) -> String {
    let read =
        |name: &String| std::fs::read_to_string(folder(database).join(name).join(file)).unwrap();
    let scripts: Vec<String> = match file {
        "up.sql" => names(database).iter().map(read).collect(),
        _ => names(database).iter().rev().map(read).collect(),
    };
    scripts.concat()
}

struct Sqlite {
    _folder: tempfile::TempDir,
    path: String,
    url: DatabaseUrl,
}

impl Sqlite {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latchkey.db").display().to_string();
        let url = format!("sqlite://{path}?mode=rwc").parse().unwrap();
        Self {
            _folder: folder,
            path,
            url,
        }
    }

    fn execute(&self, script: &str) {
        SqliteConnection::establish(&self.path)
            .unwrap()
            .batch_execute(script)
            .unwrap();
    }

    fn columns(&self) -> Columns {
        let query = "SELECT m.name AS \"table\", c.name AS name, c.\"notnull\" = 0 AS nullable
             FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\'";
        let columns: Vec<Column> = diesel::sql_query(query)
            .load(&mut SqliteConnection::establish(&self.path).unwrap())
            .unwrap();
        columns
            .into_iter()
            .map(|column| (column.table, column.name, column.nullable))
            .collect()
    }
}

async fn postgres_columns(url: &str) -> Columns {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let query = "SELECT table_name::text, column_name::text, is_nullable::text FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%'";
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get::<_, String>(2) == "YES"))
        .collect()
}

#[test]
fn both_databases_have_the_same_migrations() {
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("postgres"), names("sqlite"));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_reversible_and_create_equal_columns() {
    let sqlite = Sqlite::new();
    let postgres = servers::fresh_database().await;
    let postgres_url: DatabaseUrl = postgres.parse().unwrap();
    let database = postgres.rsplit('/').next().unwrap().to_owned();
    for url in [&sqlite.url, &postgres_url] {
        let applied = migrate::run(url, TIMEOUT).await.unwrap();
        assert_eq!(
            applied.into_iter().collect::<BTreeSet<_>>(),
            names("sqlite")
        );
        assert_eq!(
            migrate::run(url, TIMEOUT).await.unwrap(),
            Vec::<String>::new(),
            "the second run does nothing"
        );
    }
    let up = sqlite.columns();
    assert!(
        up.contains(&("sessions".to_owned(), "revoked_at".to_owned(), true)),
        "{up:?}"
    );
    assert!(
        up.contains(&("users".to_owned(), "session_epoch".to_owned(), false)),
        "{up:?}"
    );
    assert_eq!(postgres_columns(&postgres).await, up);

    sqlite.execute(&script("sqlite", "down.sql"));
    servers::execute(&database, &script("postgres", "down.sql")).await;
    assert_eq!(
        (sqlite.columns(), postgres_columns(&postgres).await),
        (Columns::new(), Columns::new())
    );

    sqlite.execute(&script("sqlite", "up.sql"));
    servers::execute(&database, &script("postgres", "up.sql")).await;
    assert_eq!(
        (sqlite.columns(), postgres_columns(&postgres).await),
        (up.clone(), up)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn database_of_a_newer_version_is_refused() {
    let sqlite = Sqlite::new();
    let postgres = servers::fresh_database().await;
    let postgres_url: DatabaseUrl = postgres.parse().unwrap();
    let statement = "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')";
    for url in [&sqlite.url, &postgres_url] {
        migrate::run(url, TIMEOUT).await.unwrap();
    }
    sqlite.execute(statement);
    servers::execute(postgres.rsplit('/').next().unwrap(), statement).await;
    for url in [&sqlite.url, &postgres_url] {
        let error = migrate::run(url, TIMEOUT).await.unwrap_err();
        assert!(matches!(error, MigrateError::Newer(_)), "{error}");
        assert_eq!(
            error.to_string(),
            "the database was migrated by a newer version of latchkey (it has 9999, unknown here): start that version"
        );
        assert_eq!(
            migrate::status(url, TIMEOUT).await.unwrap().unknown,
            ["9999"]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_migrations_run_once() {
    let sqlite = Sqlite::new();
    let postgres: DatabaseUrl = servers::fresh_database().await.parse().unwrap();
    for url in [sqlite.url.clone(), postgres] {
        let all = (0..8).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { migrate::run(&url, TIMEOUT).await.unwrap().len() })
        });
        let mut applied = 0;
        for task in all.collect::<Vec<_>>() {
            applied += task.await.unwrap();
        }
        assert_eq!(applied, names("sqlite").len(), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_path_creates_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latchkeyy.db");
    let url: DatabaseUrl = format!("sqlite://{}", path.display()).parse().unwrap();
    assert!(migrate::run(&url, TIMEOUT).await.is_err());
    assert!(!path.exists());
}
