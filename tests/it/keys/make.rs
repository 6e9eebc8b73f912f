//! Creation of keys: first keys, rotation by an operator, and the time at which they sign.

use chrono::{SubsecRound as _, TimeDelta};
use latchkey_domain::keys::PROPAGATION;
use latchkey_service::keys::{KeysError, Rotate};
use latchkey_verifier::{Algorithm, Kind, MAX_KEYS};

use super::scene::{INTERVAL, LEAD, Scene, line};

#[tokio::test]
async fn first_keys_are_created_once_and_sign_immediately() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    for facts in [&access, &refresh] {
        assert_eq!(facts.signs_from, scene.now().trunc_subsecs(0));
    }
    assert_eq!(
        (access.algorithm, refresh.algorithm),
        (Algorithm::Es256, Algorithm::Hs256)
    );
    assert_eq!(
        (
            scene.signer(Kind::Access).await,
            scene.signer(Kind::Refresh).await
        ),
        (access.kid, refresh.kid)
    );
    assert!(
        scene.manager().ensure().await.unwrap().is_empty(),
        "no key is missing"
    );
    scene.advance(TimeDelta::days(1000));
    assert!(
        scene.manager().ensure().await.unwrap().is_empty(),
        "the age of the keys does not matter"
    );
}

#[tokio::test]
async fn only_a_missing_key_is_created() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    std::fs::remove_file(scene.file_of(&refresh.kid)).unwrap();
    let created = scene.manager().ensure().await.unwrap();
    assert_eq!(
        (created.len(), created[0].kind, created[0].signs_from),
        (1, Kind::Refresh, scene.now().trunc_subsecs(0))
    );
    assert!(scene.kids().await.contains(&access.kid));
}

#[tokio::test]
async fn new_algorithm_gets_one_successor() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    scene.advance(TimeDelta::hours(1));
    let other = || scene.manager_with(|rules| rules.algorithm = Algorithm::EdDsa);
    let created = other().ensure().await.unwrap();
    assert_eq!(
        (created.len(), created[0].kind, created[0].algorithm),
        (1, Kind::Access, Algorithm::EdDsa)
    );
    assert!(other().ensure().await.unwrap().is_empty());
    assert_eq!(scene.signer(Kind::Access).await, access.kid);
    scene.advance(LEAD + TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, created[0].kid);
}

#[tokio::test]
async fn rotated_key_signs_after_the_publish_lead() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    let created = scene.rotate(Kind::Access).await;
    // Key names have whole seconds, so the time is rounded up.
    assert_eq!(
        created.signs_from,
        scene.now().trunc_subsecs(0) + LEAD + TimeDelta::seconds(1)
    );
    assert_eq!(scene.states().await, ["signing", "published", "signing"]);
    scene.advance(LEAD);
    assert_eq!(
        scene.signer(Kind::Access).await,
        access.kid,
        "the key signs a quarter of a second later"
    );
    scene.advance(TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, created.kid);
    assert_eq!(scene.states().await, ["verifying", "signing", "signing"]);
    assert_eq!(
        scene.signer(Kind::Refresh).await,
        refresh.kid,
        "the refresh secret is unchanged"
    );
}

#[tokio::test]
async fn immediate_rotation_waits_only_for_other_instances() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let order = Rotate {
        kind: Kind::Access,
        algorithm: Some(Algorithm::Rs256),
        now: true,
    };
    let created = scene.manager().rotate(order).await.unwrap();
    assert_eq!(created.algorithm, Algorithm::Rs256);
    assert!(
        created.signs_from - scene.now() >= PROPAGATION
            && created.signs_from - scene.now() < PROPAGATION + TimeDelta::seconds(1)
    );
    assert_eq!(scene.signer(Kind::Access).await, access.kid);
    scene.advance(PROPAGATION + TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, created.kid);
}

#[tokio::test]
async fn rotation_without_a_key_signs_immediately() {
    let scene = Scene::directory();
    let created = scene.rotate(Kind::Access).await;
    assert_eq!(created.signs_from, scene.now().trunc_subsecs(0));
    assert_eq!(
        scene.manager().ensure().await.unwrap().len(),
        1,
        "the refresh secret is still missing"
    );
}

#[tokio::test]
async fn refresh_secret_has_a_fixed_algorithm() {
    let scene = Scene::directory();
    scene.first().await;
    let order = Rotate {
        kind: Kind::Refresh,
        algorithm: Some(Algorithm::EdDsa),
        now: false,
    };
    assert_eq!(
        scene.manager().rotate(order).await.unwrap().algorithm,
        Algorithm::Hs256
    );
    assert!(scene.manager().ensure().await.unwrap().is_empty());
}

#[tokio::test]
async fn no_key_is_created_beside_a_broken_key() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let broken = scene.break_file(&access.kid);
    let manager = scene.manager();
    let expected = format!(
        "LATCHKEY_KEYS_DIR: {}: is not a PEM file",
        scene.file_of(&access.kid).display()
    );
    for refused in [
        line(manager.ensure().await),
        line(manager.rotate_due().await),
        line(manager.prune().await),
        line(manager.ring().await),
        line(
            manager
                .rotate(Rotate {
                    kind: Kind::Access,
                    algorithm: None,
                    now: true,
                })
                .await,
        ),
    ] {
        assert!(refused.starts_with(&expected), "{refused}");
    }
    broken.repair();
    assert_eq!(scene.kids().await.len(), 2);
}

/// Operators cannot fill the key ring completely. The service reserves places for its own keys.
#[tokio::test]
async fn full_key_ring_has_room_for_the_services_keys() {
    let scene = Scene::directory();
    let (_, refresh) = scene.first().await;
    let order = Rotate {
        kind: Kind::Access,
        algorithm: Some(Algorithm::EdDsa),
        now: false,
    };
    let full = loop {
        match scene.manager().rotate(order).await {
            Ok(_) => assert!(scene.kids().await.len() < MAX_KEYS),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, KeysError::Full(_)), "{full}");
    assert!(
        full.to_string()
            .ends_with("remove expired keys with latchkey keys prune"),
        "{full}"
    );
    scene
        .manager()
        .prepare_revocation(&refresh.kid)
        .await
        .unwrap();
    assert_eq!(
        scene.manager().ensure().await.unwrap().len(),
        1,
        "the newest key has another algorithm"
    );
    scene.advance(INTERVAL + TimeDelta::minutes(1));
    assert_eq!(scene.manager().rotate_due().await.unwrap().len(), 2);
    assert!(scene.ring().await.key_set().is_ok());
}
