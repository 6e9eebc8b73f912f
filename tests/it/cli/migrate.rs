//! `latchkey migrate`.

use latchkey_testkit::{Backend, Place, on_both_backends, servers};

on_both_backends! {
    async fn status_lists_pending_migrations_and_run_applies_them_once(backend: Backend) {
        let place = Place::on(backend).await;
        if backend == Backend::Embedded {
            assert!(place.run("migrate status").refused(2).contains("data/latchkey.db, which does not exist"));
            place.write("data/latchkey.db", "");
        }
        let before = place.run("migrate status");
        assert_eq!((before.code, before.err.as_str()), (Some(1), ""), "{before:?}");
        let names: Vec<_> = before.out.lines().map(|line| line.strip_prefix("pending  ").unwrap()).collect();
        assert!(!names.is_empty());
        assert!(place.files().iter().all(|name| name == "data/latchkey.db"), "status creates no files: {:?}", place.files());

        let ran: Vec<_> = names.iter().map(|name| format!("applied {name}")).collect();
        assert_eq!(place.run("migrate run").done().lines().collect::<Vec<_>>(), ran);
        assert_eq!(place.run("migrate run").done(), "nothing to do: the database is at this version\n");
        let after = place.run("migrate status").done().to_owned();
        assert_eq!(after.lines().count(), names.len());
        assert!(after.lines().all(|line| line.starts_with("applied  ")), "{after}");
    }
}

#[tokio::test]
async fn database_of_a_newer_version_is_refused() {
    let url = servers::fresh_database().await;
    let place = Place::new().with("DATABASE_URL", &url);
    place.run("migrate run").done();
    let insert = "INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ('9999', now())";
    servers::execute(url.rsplit('/').next().unwrap(), insert).await;
    let status = place.run("migrate status");
    assert_eq!(status.code, Some(1));
    assert!(status.out.ends_with("unknown  9999\n"), "{status:?}");
    let newer = "the database was migrated by a newer version of latchkey (it has 9999, unknown here): start that version";
    assert_eq!(place.run("migrate run").refused(1), newer);
    assert_eq!(place.run("serve --bind 127.0.0.1:0").refused(1), newer);
    assert!(
        place
            .run("doctor")
            .out
            .contains("FAIL  migrations     9999 unknown here: a newer version of latchkey has migrated the database\n")
    );
}

#[test]
fn file_that_is_not_a_database_is_refused() {
    let place = Place::new();
    place.write("notes.txt", &"this is not a database\n".repeat(100));
    let outcome = place.run("migrate run --database-url sqlite://notes.txt");
    assert!(outcome.refused(1).contains("not a database"), "{outcome:?}");
}
