//! A locked embedded database: 503 with `Retry-After`, and no lost data.

use diesel::{Connection as _, SqliteConnection, connection::SimpleConnection as _};

use latchkey_testkit::{Backend, TestApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_database_serves_reads_and_returns_503_for_writes() {
    let app = TestApp::start_with(Backend::Embedded, &["--database-timeout=300ms"]).await;
    let pair = app.signed_in("ada").await;
    let path = app.config.database.data_dir.join("latchkey.db");
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let answers = futures_util::future::join_all((0..12).map(|_| app.refresh(&pair.refresh))).await;
    for answer in &answers {
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, "1"),
            "{answer:?}"
        );
        assert!(answer.json()["detail"].is_string());
    }
    app.verify(&pair.access).await.expect(200, "{}");
    other.batch_execute("ROLLBACK").unwrap();
    let next = app.refresh(&pair.refresh).await.pair();
    app.verify(&next.refresh).await.expect(200, "{}");
}
