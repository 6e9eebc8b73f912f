//! Revocation of keys: the successor that signs next, and revocation despite other faults.

use std::fs;

use chrono::TimeDelta;
use latchkey_crypto::key_ring::KeyRing;
use latchkey_service::keys::Successor;
use latchkey_verifier::{Algorithm, Kind};

use super::scene::{LEAD, LIVES, Scene, line};

#[tokio::test]
async fn only_key_gets_an_immediate_successor() {
    for kind in [Kind::Access, Kind::Refresh] {
        let scene = Scene::directory();
        let (access, refresh) = scene.first().await;
        let old = if kind == Kind::Access {
            access
        } else {
            refresh
        };
        let Successor::AtOnce(created) =
            scene.manager().prepare_revocation(&old.kid).await.unwrap()
        else {
            panic!("the only signing key needs an immediate successor")
        };
        assert!(
            created.signs_from - scene.now() < TimeDelta::seconds(7),
            "{created:?}"
        );
        assert_eq!((created.kind, created.algorithm), (old.kind, old.algorithm));
        assert_eq!(
            scene.signer(kind).await,
            old.kid,
            "the old key is not revoked yet"
        );
        assert_eq!(scene.manager().revoke(&old.kid).await.unwrap().facts, old);
        assert_eq!(
            scene.signer(kind).await,
            created.kid,
            "the successor is the only key"
        );
        assert!(scene.manager().ensure().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn older_key_signs_until_the_successor_does() {
    let scene = Scene::directory();
    let (first, _) = scene.first().await;
    let second = scene.rotate(Kind::Access).await;
    scene.advance(LEAD + TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, second.kid);
    let Successor::Later(third) = scene
        .manager()
        .prepare_revocation(&second.kid)
        .await
        .unwrap()
    else {
        panic!("an older key can sign")
    };
    scene.manager().revoke(&second.kid).await.unwrap();
    assert_eq!(scene.signer(Kind::Access).await, first.kid);
    assert_eq!(scene.states().await, ["signing", "published", "signing"]);
    scene.advance(LEAD + TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, third.kid);
    // Tokens that the older key signed meanwhile have the full lifetime.
    assert!(scene.manager().prune().await.unwrap().is_empty());
    scene.advance(LIVES.access + TimeDelta::minutes(2));
    assert_eq!(scene.manager().prune().await.unwrap(), [first]);
}

#[tokio::test]
async fn key_that_does_not_sign_needs_no_successor() {
    let scene = Scene::directory();
    let (first, _) = scene.first().await;
    let second = scene.rotate(Kind::Access).await;
    let prepared = async |kid: &str| scene.manager().prepare_revocation(kid).await.unwrap();
    assert_eq!(
        prepared(&second.kid).await,
        Successor::NotNeeded,
        "the key does not sign yet"
    );
    assert_eq!(
        prepared(&first.kid).await,
        Successor::NotNeeded,
        "the successor is published"
    );
    scene.advance(LEAD + TimeDelta::seconds(1));
    assert_eq!(
        prepared(&first.kid).await,
        Successor::NotNeeded,
        "the key no longer signs"
    );
    assert_eq!(scene.kids().await.len(), 3);

    let scene = Scene::directory();
    let (first, _) = scene.first().await;
    let pending = scene.rotate(Kind::Access).await;
    scene.manager().revoke(&first.kid).await.unwrap();
    assert_eq!(
        scene.signer(Kind::Access).await,
        pending.kid,
        "the pending key signs early as the only key"
    );
}

#[tokio::test]
async fn one_of_two_keys_of_the_same_second_signs() {
    let scene = Scene::directory();
    scene.first().await;
    let (one, other) = (
        scene.rotate(Kind::Access).await,
        scene.rotate(Kind::Access).await,
    );
    assert_eq!(one.signs_from, other.signs_from);
    scene.advance(LEAD + TimeDelta::minutes(1));
    let signs = scene.signer(Kind::Access).await;
    let idle = if signs == one.kid { other.kid } else { one.kid };
    assert_eq!(
        scene.manager().prepare_revocation(&idle).await.unwrap(),
        Successor::NotNeeded
    );
    assert_eq!(
        scene.manager().prepare_revocation(&signs).await.unwrap(),
        Successor::NotNeeded,
        "the other key can sign"
    );
    scene.manager().revoke(&signs).await.unwrap();
    assert_eq!(scene.signer(Kind::Access).await, idle);
}

#[tokio::test]
async fn unknown_key_is_named_in_the_error() {
    let scene = Scene::directory();
    scene.first().await;
    for kid in ["unknown", "-unknown", ""] {
        let expected = format!("there is no key {kid}: list the keys with latchkey keys list");
        assert_eq!(line(scene.manager().revoke(kid).await), expected);
        assert_eq!(
            line(scene.manager().prepare_revocation(kid).await),
            expected
        );
    }
}

#[tokio::test]
async fn broken_other_key_does_not_prevent_revocation() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    let broken = scene.break_file(&refresh.kid);
    let prepared = scene.manager().prepare_revocation(&access.kid).await;
    let Ok(Successor::AtOnce(created)) = prepared else {
        panic!("{prepared:?}")
    };
    scene.manager().revoke(&access.kid).await.unwrap();
    broken.repair();
    let mut left = [created.kid, refresh.kid];
    left.sort();
    assert_eq!(scene.kids().await, left);
}

/// Revocation does not decrypt the key.
#[tokio::test]
async fn key_is_revoked_without_its_passphrase() {
    let mut scene = Scene::directory();
    scene.encrypt("the passphrase of a test");
    let (access, refresh) = scene.first().await;
    let good = scene.passphrase.clone();
    for bad in [
        Some(scene.keys().join("nowhere")),
        Some(scene.write("short", "short")),
        None,
    ] {
        scene.passphrase = bad;
        assert!(
            scene
                .manager()
                .prepare_revocation(&access.kid)
                .await
                .is_err()
        );
    }
    scene.manager().revoke(&access.kid).await.unwrap();
    scene.passphrase = good;
    assert_eq!(scene.kids().await, [refresh.kid]);
}

#[tokio::test]
async fn restored_key_file_stays_revoked() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let (path, text) = (
        scene.file_of(&access.kid),
        fs::read(scene.file_of(&access.kid)).unwrap(),
    );
    scene.manager().revoke(&access.kid).await.unwrap();
    fs::write(&path, text).unwrap();
    let opened = scene.manager().open(&KeyRing::default()).await.unwrap();
    assert!(opened.ring.find(&access.kid).is_none() && opened.records.revoked[0].facts == access);
    let created = scene.manager().ensure().await.unwrap();
    assert_eq!((created.len(), created[0].algorithm), (1, Algorithm::Es256));
}
