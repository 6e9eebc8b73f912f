//! PgBouncer between the service and Postgres, and databases that are permanently unusable.

use super::{PASSWORD, postgres_refusals::line};
use latchkey_testkit::{
    Place,
    servers::own::{OwnPooler, OwnPostgres},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_in_session_mode_serves_and_keeps_no_lock() {
    let postgres = OwnPostgres::start_with(&[]).await;
    for lines in ["", "ignore_startup_parameters = options"] {
        let pooler = OwnPooler::start(&postgres, &format!("pool_mode = session\n{lines}")).await;
        let place = Place::new().with("DATABASE_URL", &pooler.url());
        place.run("migrate run").done();
        assert_eq!(
            postgres
                .number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
                .await,
            0
        );
        let name = if lines.is_empty() { "ada" } else { "grace" };
        place.user(name, PASSWORD);
        let server = place.serve("");
        let pair = server.pair(name, PASSWORD).await;
        server.refresh(&pair.refresh).await.pair();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_that_loses_prepared_statements_ends_the_start_with_advice() {
    let postgres = OwnPostgres::start_with(&[]).await;
    let pooler = OwnPooler::start(&postgres, "pool_mode = transaction").await;
    let line = line(&pooler.url());
    assert!(
        line.ends_with("or pool_mode = session, or connect to Postgres directly"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_of_wrong_encoding_or_foreign_tables_ends_the_start() {
    let postgres = OwnPostgres::start_with(&[]).await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = encoding.to_lowercase();
        postgres
            .execute(&format!(
                "CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
            ))
            .await;
        let line = line(&format!(
            "postgres://postgres@127.0.0.1:{}/{name}",
            postgres.port
        ));
        assert!(
            line.contains(&format!(
                "its encoding is {encoding}: name a database created with"
            )),
            "{line}"
        );
    }
    postgres.execute("CREATE TABLE users (id int)").await;
    let line = line(&postgres.url());
    assert!(
        line.contains("it has tables of another application: name an empty database"),
        "{line}"
    );
}
