//! `latchkey sessions` and `latchkey flush-expired`.

use latchkey_testkit::{Backend, Forge, PASSWORD, Place, on_both_backends, servers, sid};

on_both_backends! {
    async fn revoke_by_user_ends_the_listed_sessions(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        place.user("bob", PASSWORD);
        let server = place.serve("");
        assert_eq!(place.run("sessions list --user ada").done(), "ada has no live sessions\n");
        assert_eq!(place.run("sessions list --user ada --json").json().as_array().unwrap().len(), 0);
        let pairs = [server.pair("ada", PASSWORD).await, server.pair("ada", PASSWORD).await];
        let other = server.pair("bob", PASSWORD).await;

        let listed = place.run("sessions list --user ada --json").json();
        let mut ids: Vec<_> = listed.as_array().unwrap().iter().map(|session| session["id"].clone()).collect();
        let mut of_tokens: Vec<_> = pairs.iter().map(|pair| Forge::claims_of(&pair.refresh)["sid"].clone()).collect();
        ids.sort_by_key(ToString::to_string);
        of_tokens.sort_by_key(ToString::to_string);
        assert_eq!(ids, of_tokens);
        assert_eq!(listed[0]["ip"], "127.0.0.1");
        let table = place.run("sessions list --user ada").done().to_owned();
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.starts_with("SESSION ") && table.contains("127.0.0.1"), "{table}");

        assert!(place.run("sessions revoke --user ada").done().starts_with("revoked all sessions of ada\n"));
        for pair in &pairs {
            assert_eq!(server.verify(&pair.access).await.status, 400);
            assert_eq!(server.refresh(&pair.refresh).await.status, 401);
        }
        assert_eq!(server.verify(&other.access).await.status, 200, "the session of another user is live");
        assert_eq!(place.run("sessions list --user ada").done(), "ada has no live sessions\n");
        server.pair("ada", PASSWORD).await;
    }

    async fn flush_keeps_live_sessions(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        assert_eq!(place.run("flush-expired").done(), "removed 0 sessions, 0 deleted users and 0 audit events\n");
        assert_eq!(server.verify(&pair.access).await.status, 200);
        server.refresh(&pair.refresh).await.pair();
    }

    async fn revoke_by_id_ends_one_session(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let (ended, kept) = (server.pair("ada", PASSWORD).await, server.pair("ada", PASSWORD).await);
        let id = sid(&ended.access);
        assert!(place.run(&format!("sessions revoke --session {id}")).done().starts_with(&format!("revoked session {id}\n")));
        assert_eq!(server.verify(&ended.access).await.status, 400);
        assert_eq!(server.refresh(&ended.refresh).await.status, 401);
        server.refresh(&kept.refresh).await.pair();
        let again = place.run(&format!("sessions revoke --session {id}"));
        assert!(again.done().starts_with(&format!("session {id} was revoked before\n")));
        let unknown = "00000000-0000-4000-8000-000000000000";
        assert_eq!(place.run(&format!("sessions revoke --session {unknown}")).refused(1), format!("there is no session {unknown}"));
        for wrong in [id.to_uppercase(), "all".to_owned(), id.replace('-', "")] {
            assert_eq!(place.run(&format!("sessions revoke --session {wrong}")).code, Some(2), "{wrong}");
        }
    }

    async fn revoke_all_ends_all_sessions_and_permits_sign_ins(backend: Backend) {
        let place = Place::on(backend).await;
        let names = ["ada", "bob", "eve"];
        for name in names {
            place.user(name, PASSWORD);
        }
        let server = place.serve("");
        // The embedded backend has the first user as well.
        let users = place.run("users list --json").json().as_array().unwrap().len();
        let mut pairs = Vec::new();
        for name in names {
            pairs.push(server.pair(name, PASSWORD).await);
        }
        assert!(place.run("sessions revoke --all").done().starts_with(&format!("revoked all sessions of {users} users\n")));
        for (pair, name) in pairs.iter().zip(names) {
            assert_eq!(server.verify(&pair.access).await.status, 400);
            assert_eq!(server.refresh(&pair.refresh).await.status, 401);
            let again = server.pair(name, PASSWORD).await;
            assert_eq!(server.verify(&again.access).await.status, 200);
            server.refresh(&again.refresh).await.pair();
        }
        for both in ["--all --user ada", "", "--all --session 00000000-0000-4000-8000-000000000000"] {
            assert_eq!(place.run(&format!("sessions revoke {both}")).code, Some(2), "{both}");
        }
    }
}

/// The times of one session are moved into the past, in place of a wait.
#[tokio::test]
async fn flush_removes_only_expired_sessions() {
    let url = servers::fresh_database().await;
    let place = Place::new().with("DATABASE_URL", &url);
    place.user("ada", PASSWORD);
    let server = place.serve("");
    let (old, new) = (
        server.pair("ada", PASSWORD).await,
        server.pair("ada", PASSWORD).await,
    );
    let id = Forge::claims_of(&old.refresh)["sid"]
        .as_str()
        .unwrap()
        .to_owned();
    let moved: Vec<_> = ["created_at", "rotated_at", "expires_at"]
        .map(|name| format!("{name} = {name} - interval '60 days'"))
        .into();
    let update = format!("UPDATE sessions SET {} WHERE id = '{id}'", moved.join(", "));
    servers::execute(url.rsplit('/').next().unwrap(), &update).await;

    assert_eq!(
        place
            .run("sessions list --user ada --json")
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        place.run("flush-expired").done(),
        "removed 1 session, 0 deleted users and 0 audit events\n"
    );
    assert_eq!(
        place.run("flush-expired").done(),
        "removed 0 sessions, 0 deleted users and 0 audit events\n"
    );
    assert_eq!(server.refresh(&old.refresh).await.status, 401);
    server.refresh(&new.refresh).await.pair();
}

#[test]
fn sessions_of_an_unknown_user_are_refused() {
    let place = Place::new().migrated();
    for command in ["list", "list --json", "revoke"] {
        let outcome = place.run(&format!("sessions {command} --user nobody"));
        assert_eq!(outcome.refused(1), "there is no user nobody", "{command}");
    }
}
