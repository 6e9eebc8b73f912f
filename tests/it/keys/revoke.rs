//! Emergency: who signs when a key is gone, and what is no obstacle.

use std::fs;

use chrono::TimeDelta;
use latchkey::{crypto::key_ring::KeyRing, service::keys::Successor};
use latchkey_verifier::{Algorithm, Kind};

use super::scene::{LEAD, LIVES, Scene, line};

#[tokio::test]
async fn the_last_key_gets_a_successor_that_signs_as_soon_as_every_instance_has_seen_it() {
    for kind in [Kind::Access, Kind::Refresh] {
        let scene = Scene::directory();
        let (access, refresh) = scene.first().await;
        let old = if kind == Kind::Access {
            access
        } else {
            refresh
        };
        let Successor::AtOnce(made) = scene.manager().prepare_revocation(&old.kid).await.unwrap()
        else {
            panic!("a key that signs alone has a successor")
        };
        assert!(
            made.signs_from - scene.now() < TimeDelta::seconds(7),
            "{made:?}"
        );
        assert_eq!((made.kind, made.algorithm), (old.kind, old.algorithm));
        assert_eq!(scene.signer(kind).await, old.kid, "it is not revoked yet");
        assert_eq!(scene.manager().revoke(&old.kid).await.unwrap().facts, old);
        assert_eq!(scene.signer(kind).await, made.kid, "there is no other");
        assert!(scene.manager().ensure().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_older_key_signs_again_until_a_new_one_has_been_published_long_enough() {
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
        panic!("there is an older key")
    };
    scene.manager().revoke(&second.kid).await.unwrap();
    assert_eq!(scene.signer(Kind::Access).await, first.kid);
    assert_eq!(scene.states().await, ["signing", "published", "signing"]);
    scene.advance(LEAD + TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, third.kid);
    // And what the old one signed in between lives as long as any other token.
    assert!(scene.manager().prune().await.unwrap().is_empty());
    scene.advance(LIVES.access + TimeDelta::minutes(2));
    assert_eq!(scene.manager().prune().await.unwrap(), [first]);
}

#[tokio::test]
async fn a_key_that_does_not_sign_or_has_a_successor_needs_none() {
    let scene = Scene::directory();
    let (first, _) = scene.first().await;
    let second = scene.rotate(Kind::Access).await;
    let prepared = async |kid: &str| scene.manager().prepare_revocation(kid).await.unwrap();
    assert_eq!(
        prepared(&second.kid).await,
        Successor::NotNeeded,
        "it does not sign yet"
    );
    assert_eq!(
        prepared(&first.kid).await,
        Successor::NotNeeded,
        "its successor is published"
    );
    scene.advance(LEAD + TimeDelta::seconds(1));
    assert_eq!(
        prepared(&first.kid).await,
        Successor::NotNeeded,
        "it signs no more"
    );
    assert_eq!(scene.kids().await.len(), 3);

    let scene = Scene::directory();
    let (first, _) = scene.first().await;
    let pending = scene.rotate(Kind::Access).await;
    scene.manager().revoke(&first.kid).await.unwrap();
    assert_eq!(
        scene.signer(Kind::Access).await,
        pending.kid,
        "before its time: there is no other"
    );
}

#[tokio::test]
async fn of_two_keys_that_begin_in_the_same_second_the_one_that_signs_is_known() {
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
        "the other does"
    );
    scene.manager().revoke(&signs).await.unwrap();
    assert_eq!(scene.signer(Kind::Access).await, idle);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_named() {
    let scene = Scene::directory();
    scene.first().await;
    for kid in ["nobody", "-nobody", ""] {
        let expected = format!("there is no key {kid}: latchkey keys list shows them");
        assert_eq!(line(scene.manager().revoke(kid).await), expected);
        assert_eq!(
            line(scene.manager().prepare_revocation(kid).await),
            expected
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_another_key_is_no_reason_not_to_revoke() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    let broken = scene.break_file(&refresh.kid);
    let prepared = scene.manager().prepare_revocation(&access.kid).await;
    let Ok(Successor::AtOnce(made)) = prepared else {
        panic!("{prepared:?}")
    };
    scene.manager().revoke(&access.kid).await.unwrap();
    broken.repair();
    let mut left = [made.kid, refresh.kid];
    left.sort();
    assert_eq!(scene.kids().await, left);
}

/// Nothing has to be decrypted to throw it away.
#[tokio::test]
async fn a_key_is_revoked_without_its_passphrase() {
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
async fn a_key_that_is_copied_back_stays_revoked() {
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
    let made = scene.manager().ensure().await.unwrap();
    assert_eq!((made.len(), made[0].algorithm), (1, Algorithm::Es256));
}
