//! Contract of `KeyStore`, also under concurrent changes.

use chrono::TimeDelta;
use futures_util::future::join_all;
use latchkey_domain::{
    audit::EventKind,
    keys::KeyMetadata,
    ports::{AuditQuery, AuditStore, KeyChange, KeyRecords},
};
use latchkey_service::keys::{KeysError, Rotate};
use latchkey_verifier::{Algorithm, Kind};
use secrecy::ExposeSecret as _;

use super::store::{Store, to_micros};
use crate::keys::scene::{INTERVAL, LEAD, Scene, passphrase};

fn facts(scene: &Scene, kid: &str, seconds: i64) -> KeyMetadata {
    let signs_from =
        chrono::DateTime::from_timestamp(scene.now().timestamp() + seconds, 0).unwrap();
    KeyMetadata {
        kid: kid.to_owned(),
        kind: Kind::Access,
        algorithm: Algorithm::Es256,
        signs_from,
    }
}

fn add(facts: &KeyMetadata) -> KeyChange {
    KeyChange::Add(facts.clone(), format!("the text of {}", facts.kid).into())
}

/// Applies changes to the current version.
async fn change(scene: &Scene, changes: &[KeyChange]) {
    let seen = scene.store.version().await.unwrap();
    assert!(scene.store.change(&seen, changes).await.unwrap());
}

async fn read(scene: &Scene) -> KeyRecords {
    let records = scene.store.read().await.unwrap();
    assert!(records.broken.is_empty(), "{:?}", records.broken);
    records
}

/// Returns each key with its text, in order.
async fn keys(scene: &Scene) -> Vec<(String, String)> {
    let pair = |key: latchkey_domain::ports::KeyRecord| {
        (key.facts.kid, key.text.expose_secret().to_owned())
    };
    read(scene).await.keys.into_iter().map(pair).collect()
}

fn pair(kid: &str, text: &str) -> (String, String) {
    (kid.to_owned(), text.to_owned())
}

/// Returns the private parts as stored in the database.
async fn private_parts(database: &Store) -> Vec<Option<String>> {
    database
        .column("SELECT private_key AS value FROM signing_keys")
        .await
}

/// Returns the key events of the audit trail: event, cause, kid.
async fn key_events(database: &Store) -> Vec<(String, String, String)> {
    let events = database
        .sql
        .events(&AuditQuery {
            limit: 1000,
            ..AuditQuery::default()
        })
        .await
        .unwrap();
    let kid = |details: &[(String, String)]| {
        details
            .iter()
            .find(|(name, _)| name == "kid")
            .map(|(_, kid)| kid.clone())
            .unwrap_or_default()
    };
    let line = |event: latchkey_domain::audit::AuditEntry| {
        (
            event.event,
            event.cause.unwrap_or_default(),
            kid(&event.details),
        )
    };
    events.into_iter().map(line).collect()
}

on_every_ring! {
    async fn added_keys_are_read_unchanged_in_signing_order(scene: Scene) {
        assert!(read(&scene).await.keys.is_empty());
        let refresh = KeyMetadata { kind: Kind::Refresh, algorithm: Algorithm::Hs256, ..facts(&scene, "-r-", 1) };
        let (late, early) = (facts(&scene, "a", 3), facts(&scene, "z", 0));
        change(&scene, &[add(&late), add(&refresh), add(&early)]).await;
        let records = read(&scene).await;
        let found: Vec<_> = records.keys.iter().map(|key| &key.facts).collect();
        assert_eq!(found, [&early, &refresh, &late]);
        assert_eq!(records.keys[1].text.expose_secret(), "the text of -r-");
        assert!(records.keys.iter().all(|key| key.place.contains(&key.facts.kid)), "the place names the key");
        assert_eq!(records.version, scene.store.version().await.unwrap());
    }

    async fn keys_are_rewrapped_removed_and_added_again(scene: Scene) {
        let [a, b, c] = ["a", "b", "c"].map(|kid| facts(&scene, kid, 0));
        change(&scene, &[add(&a), add(&b), add(&c)]).await;
        change(&scene, &[KeyChange::Rewrap(a.clone(), "another".to_owned().into()), KeyChange::Remove(b.clone())]).await;
        assert_eq!(keys(&scene).await, [pair("a", "another"), pair("c", "the text of c")]);
        change(&scene, &[KeyChange::Remove(b.clone())]).await;
        change(&scene, &[add(&b)]).await;
        assert_eq!(keys(&scene).await.len(), 3);
        assert!(read(&scene).await.revoked.is_empty());
    }

    async fn revoked_key_is_listed_without_its_private_part(scene: Scene) {
        let [a, b] = ["a", "b"].map(|kid| facts(&scene, kid, 0));
        change(&scene, &[add(&a), add(&b)]).await;
        change(&scene, &[KeyChange::Revoke(a.clone(), scene.now())]).await;
        assert_eq!(keys(&scene).await, [pair("b", "the text of b")]);
        let records = read(&scene).await;
        assert_eq!((records.revoked.len(), &records.revoked[0].facts), (1, &a));
        match &scene.database {
            Some(database) => {
                assert_eq!(records.revoked[0].at, to_micros(scene.now()));
                let mut parts = private_parts(database).await;
                parts.sort();
                assert_eq!(parts, [None, Some("the text of b".to_owned())]);
            }
            None => assert_eq!(std::fs::read_dir(scene.keys()).unwrap().count(), 3, "a revocation, a key and the lock"),
        }
    }

    async fn change_with_an_old_version_has_no_effect(scene: Scene) {
        let [a, b, c] = ["a", "b", "c"].map(|kid| facts(&scene, kid, 0));
        let mut seen = scene.store.version().await.unwrap();
        for step in [add(&a), KeyChange::Rewrap(a.clone(), "the text of A".to_owned().into()), KeyChange::Remove(a.clone()), add(&b)] {
            change(&scene, &[step]).await;
            let before = keys(&scene).await;
            assert!(!scene.store.change(&seen, &[add(&c), KeyChange::Remove(b.clone())]).await.unwrap());
            assert_eq!(keys(&scene).await, before);
            seen = scene.store.version().await.unwrap();
            assert_eq!(seen, read(&scene).await.version, "reading changes nothing");
        }
        assert!(!scene.store.change("no version of any store", &[add(&c)]).await.unwrap());
    }

    async fn concurrent_changes_of_one_version_succeed_once(scene: Scene) {
        for round in 0..8 {
            let seen = scene.store.version().await.unwrap();
            let tries = (0..8).map(|number| {
                let (store, seen) = (scene.store.clone(), seen.clone());
                // Two changes each: both are applied or none.
                let changes = ["x", "y"].map(|part| add(&facts(&scene, &format!("{round}-{number}-{part}"), 0)));
                tokio::spawn(async move { store.change(&seen, &changes).await.unwrap() })
            });
            let done = join_all(tries).await.into_iter().filter(|done| *done.as_ref().unwrap()).count();
            assert_eq!((done, keys(&scene).await.len()), (1, 2 * (round + 1)));
        }
    }

    async fn concurrent_first_starts_create_one_key_ring(scene: Scene) {
        let starts = (0..8).map(|_| {
            let manager = scene.manager();
            tokio::spawn(async move {
                let created = manager.ensure().await.unwrap().len();
                let mut kids: Vec<_> = manager.ring().await.unwrap().keys().map(|key| key.facts.kid.clone()).collect();
                kids.sort();
                (created, kids)
            })
        });
        let seen: Vec<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(seen.iter().map(|(created, _)| created).sum::<usize>(), 2, "one access key and one refresh secret");
        assert!(seen.iter().all(|(_, kids)| kids.len() == 2 && *kids == seen[0].1), "{seen:?}");
    }

    async fn concurrent_due_rotations_and_prunes_happen_once(scene: Scene) {
        scene.first().await;
        scene.advance(INTERVAL);
        let due = (0..8).map(|_| {
            let manager = scene.manager();
            tokio::spawn(async move { manager.rotate_due().await.unwrap().len() })
        });
        assert_eq!(join_all(due).await.into_iter().map(Result::unwrap).sum::<usize>(), 2);
        assert_eq!(scene.states().await, ["signing", "published", "signing", "published"]);
        scene.advance(LEAD + TimeDelta::days(2));
        let prunes = (0..8).map(|_| {
            let manager = scene.manager();
            tokio::spawn(async move { manager.prune().await.unwrap().len() })
        });
        assert_eq!(join_all(prunes).await.into_iter().map(Result::unwrap).sum::<usize>(), 2);
        assert_eq!(scene.states().await, ["signing", "signing"]);
    }

    /// Concurrent rotations and a revocation: each is applied as a whole, one after the other.
    async fn concurrent_operator_commands_all_succeed(scene: Scene) {
        let (access, _) = scene.first().await;
        let rotations = (0..4).map(|_| {
            let manager = scene.manager();
            let order = Rotate { kind: Kind::Access, algorithm: None, now: false };
            tokio::spawn(async move { manager.rotate(order).await.unwrap().kid })
        });
        let manager = scene.manager();
        let kid = access.kid.clone();
        let revocation = tokio::spawn(async move { manager.revoke(&kid).await.unwrap() });
        let mut created: Vec<_> = join_all(rotations).await.into_iter().map(Result::unwrap).collect();
        revocation.await.unwrap();
        created.sort();
        let mut kids: Vec<_> = scene.ring().await.keys().filter(|key| key.facts.kind == Kind::Access).map(|key| key.facts.kid.clone()).collect();
        kids.sort();
        assert_eq!(kids, created);
    }

    async fn revoked_key_is_never_restored(scene: Scene) {
        let (access, _) = scene.first().await;
        scene.manager().revoke(&access.kid).await.unwrap();
        assert!(matches!(scene.manager().revoke(&access.kid).await, Err(KeysError::Revoked(kid)) if kid == access.kid));
        assert!(matches!(scene.manager().prepare_revocation(&access.kid).await, Err(KeysError::Revoked(_))));
        let created = scene.manager().ensure().await.unwrap();
        assert_eq!(created.len(), 1);
        assert_ne!(created[0].kid, access.kid);
        assert_eq!(read(&scene).await.revoked.len(), 1);
    }
}

on_both_databases! {
    async fn private_parts_in_the_database_are_always_encrypted(store: Store) {
        let mut scene = Scene::database(store);
        let (access, _) = scene.first().await;
        scene.rotate(Kind::Access).await;
        scene.manager().prepare_revocation(&access.kid).await.unwrap();
        let encrypted = async |scene: &Scene, count: usize| {
            let parts = private_parts(scene.database.as_ref().unwrap()).await;
            assert_eq!(parts.len(), count);
            assert!(parts.iter().flatten().all(|part| part.starts_with("-----BEGIN ENCRYPTED ")), "{parts:?}");
            parts
        };
        let before = encrypted(&scene, 3).await;
        let new = scene.write("new", "another passphrase of the test");
        assert_eq!(scene.manager().rewrap(Some(&passphrase(&new))).await.unwrap(), 3);
        let after = encrypted(&scene, 3).await;
        assert!(before.iter().all(|part| !after.contains(part)));
        scene.passphrase = Some(new);
        assert_eq!(scene.kids().await.len(), 3);

        assert!(matches!(scene.manager().rewrap(None).await, Err(KeysError::Unprotected)));
        scene.passphrase = None;
        assert!(scene.manager().ring().await.is_err(), "unreadable without the passphrase");
        let mut empty = Scene::database(Store::sqlite().await);
        empty.passphrase = None;
        assert!(matches!(empty.manager().ensure().await, Err(KeysError::Unprotected)));
        assert!(private_parts(empty.database.as_ref().unwrap()).await.is_empty());
    }

    async fn row_of_a_later_version_is_reported_and_others_are_read(store: Store) {
        let scene = Scene::database(store);
        scene.first().await;
        let database = scene.database.as_ref().unwrap();
        let columns = "kid, token_type, algorithm, signs_from, private_key";
        let values = "'strange', 'access', 'ML-DSA-65', '2026-01-01 00:00:00', 'x'";
        database.execute(&format!("INSERT INTO signing_keys ({columns}) VALUES ({values})")).await.unwrap();
        let records = scene.store.read().await.unwrap();
        assert_eq!(records.keys.len(), 2);
        assert_eq!(records.broken, ["the key strange in the database: cannot be read: was it written by a later version?"]);
    }

    async fn key_changes_are_in_the_audit_trail(store: Store) {
        let scene = Scene::database(store);
        let (access, refresh) = scene.first().await;
        let rotated = scene.rotate(Kind::Access).await;
        scene.manager().revoke(&rotated.kid).await.unwrap();
        let event = |kind: EventKind, cause: &str, facts: &KeyMetadata| (kind.as_str().to_owned(), cause.to_owned(), facts.kid.clone());
        assert_eq!(
            key_events(scene.database.as_ref().unwrap()).await,
            [
                event(EventKind::KeyCreated, "first", &access),
                event(EventKind::KeyCreated, "first", &refresh),
                event(EventKind::KeyCreated, "rotated", &rotated),
                event(EventKind::KeyRevoked, "", &rotated),
            ]
        );
    }
}
