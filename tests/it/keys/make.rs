//! New keys: the first ones, those that an operator asks for, and when they sign.

use chrono::{SubsecRound as _, TimeDelta};
use latchkey::{
    domain::keys::PROPAGATION,
    service::keys::{KeysError, Rotate},
};
use latchkey_verifier::{Algorithm, Kind, MAX_KEYS};

use super::scene::{INTERVAL, LEAD, Scene, line};

#[tokio::test]
async fn the_first_keys_sign_at_once_and_are_made_once() {
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
        "there is nothing to do"
    );
    scene.advance(TimeDelta::days(1000));
    assert!(
        scene.manager().ensure().await.unwrap().is_empty(),
        "however old they are"
    );
}

#[tokio::test]
async fn what_is_missing_is_made_and_nothing_else() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    std::fs::remove_file(scene.file_of(&refresh.kid)).unwrap();
    let made = scene.manager().ensure().await.unwrap();
    assert_eq!(
        (made.len(), made[0].kind, made[0].signs_from),
        (1, Kind::Refresh, scene.now().trunc_subsecs(0))
    );
    assert!(scene.kids().await.contains(&access.kid));
}

#[tokio::test]
async fn another_algorithm_comes_as_a_later_key_and_is_not_made_again_at_each_start() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    scene.advance(TimeDelta::hours(1));
    let other = || scene.manager_with(|rules| rules.algorithm = Algorithm::EdDsa);
    let made = other().ensure().await.unwrap();
    assert_eq!(
        (made.len(), made[0].kind, made[0].algorithm),
        (1, Kind::Access, Algorithm::EdDsa)
    );
    assert!(other().ensure().await.unwrap().is_empty());
    assert_eq!(scene.signer(Kind::Access).await, access.kid);
    scene.advance(LEAD + TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, made[0].kid);
}

#[tokio::test]
async fn a_key_that_is_asked_for_waits_until_verifiers_have_seen_it() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    let made = scene.rotate(Kind::Access).await;
    // A name has whole seconds, and it is never earlier than was promised.
    assert_eq!(
        made.signs_from,
        scene.now().trunc_subsecs(0) + LEAD + TimeDelta::seconds(1)
    );
    assert_eq!(scene.states().await, ["signing", "published", "signing"]);
    scene.advance(LEAD);
    assert_eq!(
        scene.signer(Kind::Access).await,
        access.kid,
        "a quarter of a second is missing"
    );
    scene.advance(TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, made.kid);
    assert_eq!(scene.states().await, ["verifying", "signing", "signing"]);
    assert_eq!(
        scene.signer(Kind::Refresh).await,
        refresh.kid,
        "the secret has nothing to do with it"
    );
}

#[tokio::test]
async fn a_key_that_is_to_sign_now_waits_for_the_other_instances_alone() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let order = Rotate {
        kind: Kind::Access,
        algorithm: Some(Algorithm::Rs256),
        now: true,
    };
    let made = scene.manager().rotate(order).await.unwrap();
    assert_eq!(made.algorithm, Algorithm::Rs256);
    assert!(
        made.signs_from - scene.now() >= PROPAGATION
            && made.signs_from - scene.now() < PROPAGATION + TimeDelta::seconds(1)
    );
    assert_eq!(scene.signer(Kind::Access).await, access.kid);
    scene.advance(PROPAGATION + TimeDelta::seconds(1));
    assert_eq!(scene.signer(Kind::Access).await, made.kid);
}

#[tokio::test]
async fn the_first_key_of_its_kind_signs_at_once_although_it_was_asked_for() {
    let scene = Scene::directory();
    let made = scene.rotate(Kind::Access).await;
    assert_eq!(made.signs_from, scene.now().trunc_subsecs(0));
    assert_eq!(
        scene.manager().ensure().await.unwrap().len(),
        1,
        "the secret is missing yet"
    );
}

#[tokio::test]
async fn a_secret_of_refresh_tokens_is_of_one_algorithm_whatever_is_asked_for() {
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
async fn nothing_is_made_beside_a_key_that_cannot_be_used() {
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

/// Operators cannot fill the ring so that the service itself finds no room.
#[tokio::test]
async fn there_is_an_end_to_what_operators_add_and_room_for_what_the_service_needs() {
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
            .ends_with("remove those that are over with latchkey keys prune"),
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
        "another algorithm than the newest"
    );
    scene.advance(INTERVAL + TimeDelta::minutes(1));
    assert_eq!(scene.manager().rotate_due().await.unwrap().len(), 2);
    assert!(scene.ring().await.key_set().is_ok());
}
