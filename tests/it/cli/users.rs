//! `latchkey users`.

use serde_json::json;

use latchkey_testkit::{Backend, Forge, PASSWORD, Place, on_both_backends};

on_both_backends! {
    async fn users_are_created_shown_and_deleted(backend: Backend) {
        let place = Place::on(backend).await.migrated();
        assert_eq!(place.run("users list").done(), "there are no users\n");
        let created = place.run_with_input("users create ada --password-stdin --email Ada@Example.com --staff", PASSWORD);
        let shown = place.run("users show ada --json").json();
        let id = shown["id"].as_str().unwrap();
        assert_eq!(created.done(), format!("created ada with the id {id}\n"));
        for (name, value) in [
            ("username", json!("ada")),
            ("email", json!("Ada@Example.com")),
            ("is_active", json!(true)),
            ("is_staff", json!(true)),
            ("last_login", json!(null)),
        ] {
            assert_eq!(shown[name], value, "{name}");
        }
        assert!(shown.get("password").is_none() && !shown.to_string().contains("argon2"), "{shown}");

        place.user("bob", PASSWORD);
        assert_eq!(place.run("users list --json").json().as_array().unwrap().len(), 2);
        let table = place.run("users list").done().to_owned();
        let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["USERNAME", "EMAIL", "ACTIVE", "STAFF", "ID"]);
        assert_eq!(rows[1], ["ada", "Ada@Example.com", "yes", "yes", id]);
        assert_eq!(rows[2][..3], ["bob", "yes", "no"]);
        let text = place.run("users show bob").done().to_owned();
        assert!(text.contains("username    bob\n") && text.contains("last_login  never\n"), "{text}");

        assert!(place.run("users delete bob").done().starts_with("deleted bob, and all sessions were revoked\n"));
        assert_eq!(place.run("users show bob").refused(1), "there is no user bob");
        assert_eq!(place.run("users list --json").json().as_array().unwrap().len(), 1);
    }

    async fn username_and_address_are_unique(backend: Backend) {
        let place = Place::on(backend).await.migrated();
        place.run_with_input("users create ada --password-stdin --email ada@example.com", PASSWORD).done();
        let twice = place.run_with_input("users create ada --password-stdin", PASSWORD);
        assert_eq!(twice.refused(1), "a user with that username already exists");
        let address = place.run_with_input("users create bob --password-stdin --email ada@example.com", PASSWORD);
        assert_eq!(address.refused(1), "a user with that e-mail address already exists");
        assert_eq!(place.run("users list --json").json().as_array().unwrap().len(), 1);
    }

    async fn deactivated_user_has_no_sessions_and_can_be_reactivated(backend: Backend) {
        let place = Place::on(backend).await.migrated();
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        let done = place.run("users deactivate ada");
        assert!(done.done().starts_with("ada cannot sign in, and all sessions were revoked\n"));
        assert_eq!(server.verify(&pair.access).await.status, 400);
        assert_eq!(server.refresh(&pair.refresh).await.status, 401);
        assert_eq!(server.obtain("ada", PASSWORD).await.status, 401);

        assert_eq!(place.run("users activate ada").done(), "ada can sign in\n");
        assert_eq!(server.verify(&pair.access).await.status, 400, "an earlier token remains revoked");
        assert_eq!(server.refresh(&pair.refresh).await.status, 401, "an earlier token remains revoked");
        server.pair("ada", PASSWORD).await;
    }

    async fn new_password_ends_all_sessions(backend: Backend) {
        let place = Place::on(backend).await.migrated();
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        let done = place.run_with_input("users set-password ada --password-stdin", "another long password\r\n");
        assert!(done.done().starts_with("ada has a new password, and all sessions were revoked\n"));
        assert_eq!(server.verify(&pair.access).await.status, 400);
        assert_eq!(server.refresh(&pair.refresh).await.status, 401);
        assert_eq!(server.obtain("ada", PASSWORD).await.status, 401);
        server.pair("ada", "another long password").await;
    }

    async fn deleted_user_is_refused_by_a_running_server(backend: Backend) {
        let place = Place::on(backend).await.migrated();
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        place.run("users delete ada").done();
        assert_eq!(server.verify(&pair.access).await.status, 400);
        assert_eq!(server.refresh(&pair.refresh).await.status, 401);
        assert_eq!(server.obtain("ada", PASSWORD).await.status, 401);

        // The username is available again, for another user.
        place.user("ada", "another long password");
        let other = server.pair("ada", "another long password").await;
        assert_ne!(Forge::claims_of(&other.access)["sub"], Forge::claims_of(&pair.access)["sub"]);
        assert_eq!(server.refresh(&pair.refresh).await.status, 401, "the session of the deleted user remains revoked");
    }
}

#[test]
fn unknown_user_is_one_line_and_exit_code_1() {
    let place = Place::new().migrated();
    for command in [
        "show",
        "activate",
        "deactivate",
        "delete",
        "set-password --password-stdin",
    ] {
        let outcome = place.run_with_input(&format!("users {command} nobody"), PASSWORD);
        assert_eq!(outcome.refused(1), "there is no user nobody", "{command}");
    }
}

#[test]
fn short_or_missing_password_is_refused() {
    let place = Place::new().migrated();
    let short = "a password has at least 8 characters";
    let create = |input| place.run_with_input("users create ada --password-stdin", input);
    assert_eq!(create("seven c").refused(1), short);
    assert_eq!(create("").refused(1), short);
    assert_eq!(create("\n").refused(1), short);
    assert_eq!(
        create(&"x".repeat(1025)).refused(1),
        "a password has at most 1024 bytes"
    );
    let terminal = "there is no terminal to prompt for a password: use --password-stdin";
    assert_eq!(place.run("users create ada").refused(1), terminal);
    place.user("ada", PASSWORD);
    assert_eq!(place.run("users set-password ada").refused(1), terminal);
    let set = place.run_with_input("users set-password ada --password-stdin", "seven c");
    assert_eq!(set.refused(1), short);
}

#[tokio::test]
async fn password_keeps_its_spaces_without_the_line_break() {
    let place = Place::new();
    place.user("ada", "  spaces count  \nnot this line\n");
    let server = place.serve("");
    server.pair("ada", "  spaces count  ").await;
    assert_eq!(server.obtain("ada", "spaces count").await.status, 401);
}

#[test]
fn invalid_username_or_address_is_refused_first() {
    let place = Place::new();
    let long = "x".repeat(151);
    for (words, expected) in [
        (format!("users create {long}"), "<USERNAME> is \"xxx"),
        (
            "users create ada --email nonsense".to_owned(),
            "--email is \"nonsense\", which is not valid: expected ",
        ),
    ] {
        let outcome = place.run_with_input(&format!("{words} --password-stdin"), PASSWORD);
        let line = outcome.refused(2);
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[tokio::test]
async fn hash_of_a_password_in_place_of_one_is_refused_with_a_hint() {
    let place = Place::new();
    let hash = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ=";
    place.user("bob", PASSWORD);
    for text in [
        format!("pbkdf2_sha256$870000$salt${hash}"),
        format!("pbkdf2_sha1$870000$salt${hash}"),
        format!("argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdA${hash}"),
        format!("bcrypt_sha256$$2b$12${hash}"),
        format!("bcrypt$$2b$12${hash}"),
        format!("scrypt$16384$salt$8$1${hash}"),
        format!("scrypt:32768:8:1$salt${hash}"),
        "md5$salt$0123456789abcdef0123456789abcdef".to_owned(),
        format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA${hash}"),
        format!("$2b$12${hash}"),
        format!("$2y$10${hash}"),
        format!("$6$salt${hash}"),
        format!("$y$j9T$salt${hash}"),
        "{SSHA}0123456789abcdef0123456789abcdef".to_owned(),
        format!("  $2b$12${hash}  "),
        "pbkdf2_sha256$600000$salt$cut=".to_owned(),
        "pbkdf2_sha256$\u{2026}".to_owned(),
        "scrypt$16384$salt$8$1$cut".to_owned(),
        "sha1$salt$cut".to_owned(),
    ] {
        for words in [
            "users create ada --password-stdin",
            "users set-password bob --password-stdin",
        ] {
            let outcome = place.run_with_input(words, &format!("{text}\n"));
            let line = outcome.refused(1);
            assert!(
                line.contains("hash") && !line.contains(hash),
                "{text}: {line}"
            );
        }
    }
    assert_eq!(
        place
            .run("users list --json")
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for (number, text) in [
        "$ecret pa$$word that is long",
        "scrypt$short",
        "pay 5$ to abcdefghijklmnopqrstuvwxyz",
    ]
    .iter()
    .enumerate()
    {
        place.user(&format!("user{number}"), text);
    }
    let server = place.serve("");
    server.pair("user0", "$ecret pa$$word that is long").await;
}
