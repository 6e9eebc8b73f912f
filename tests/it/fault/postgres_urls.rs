//! URLs of Postgres in the forms of libpq, against a real server.

use std::os::unix::fs::PermissionsExt as _;

use latchkey_testkit::{Place, servers::own::OwnPostgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_url_in_every_form_connects() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let directory = folder.path().display().to_string();
    let postgres =
        OwnPostgres::start_with(&["-c", &format!("unix_socket_directories={directory}")]).await;
    Place::new()
        .with("DATABASE_URL", &postgres.url())
        .run("migrate run")
        .done();
    let (port, encoded) = (postgres.port, directory.replace('/', "%2F"));
    for url in [
        format!("postgres://postgres:p@/postgres?host={directory}&port={port}"),
        format!("postgres:///postgres?host={encoded}&port={port}&user=postgres"),
        format!("postgresql://postgres@{encoded}:{port}/postgres"),
        format!("postgres://postgres@db.example:{port}/postgres?host={directory}"),
        format!("postgres://postgres@:{port}/postgres?host={directory}&sslmode=require"),
        format!(
            "postgres://?dbname=postgres&user=postgres&host={directory},{directory}&port=1,{port}"
        ),
        format!("postgres://postgres@/postgres?hostaddr=127.0.0.1&port={port}"),
        format!(
            "postgres://postgres@127.0.0.1:1,127.0.0.1:{port}/postgres?connect_timeout=2&keepalives_count=3"
        ),
        format!(
            "postgres://postgres@127.0.0.1:{port}/postgres?target_session_attrs=primary&application_name=web"
        ),
    ] {
        let outcome = Place::new().with("DATABASE_URL", &url).run("users list");
        assert_eq!(outcome.done(), "there are no users\n", "{url}");
    }
}

#[test]
fn unsupported_parameter_ends_the_start_and_is_named() {
    for (query, expected) in [
        (
            "sslcert=client.pem",
            "sslcert: Latchkey signs in with a password, and not with a client certificate",
        ),
        (
            "target_session_attrs=standby",
            "target_session_attrs: Latchkey needs a primary",
        ),
        (
            "currentSchema=auth",
            "currentSchema: name the schema by options=-csearch_path%3DSCHEMA",
        ),
    ] {
        let url = format!("postgres://u:p@h/db?{query}");
        let outcome = Place::new().with("DATABASE_URL", &url).run("serve");
        let text =
            format!("DATABASE_URL is not the URL of a database: expected no parameter {expected}");
        assert_eq!(outcome.refused(2), text);
    }
}
