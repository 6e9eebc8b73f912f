//! Automatic rotation of due keys, and removal of keys whose tokens have all expired.

use chrono::TimeDelta;
use latchkey_verifier::Kind;

use super::scene::{INTERVAL, LEAD, LIVES, Scene};

/// Additional time that a key is kept, for tokens of the last second, clock differences, and the
/// whole seconds in key names.
const MARGIN: TimeDelta = TimeDelta::minutes(2);
const SECOND: TimeDelta = TimeDelta::seconds(1);

#[tokio::test]
async fn successor_signs_at_the_end_of_the_interval() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    scene.advance(INTERVAL - LEAD - SECOND);
    assert!(!scene.manager().is_due(&scene.ring().await));
    assert!(scene.manager().rotate_due().await.unwrap().is_empty());
    scene.advance(SECOND);
    assert!(scene.manager().is_due(&scene.ring().await));
    let created = scene.manager().rotate_due().await.unwrap();
    assert_eq!(
        created
            .iter()
            .map(|created| created.kind)
            .collect::<Vec<_>>(),
        [Kind::Access, Kind::Refresh]
    );
    for (created, old) in created.iter().zip([&access, &refresh]) {
        let late = created.signs_from - (old.signs_from + INTERVAL);
        assert!(late >= TimeDelta::zero() && late <= SECOND, "{late}");
    }
    assert!(
        !scene.manager().is_due(&scene.ring().await),
        "a successor exists"
    );
    assert!(scene.manager().rotate_due().await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_due_kind_gets_a_successor() {
    let scene = Scene::directory();
    scene.first().await;
    scene.advance(INTERVAL / 2);
    scene.rotate(Kind::Refresh).await;
    scene.advance(INTERVAL / 2);
    let created = scene.manager().rotate_due().await.unwrap();
    assert_eq!(
        created
            .iter()
            .map(|created| created.kind)
            .collect::<Vec<_>>(),
        [Kind::Access]
    );
}

#[tokio::test]
async fn several_missed_intervals_create_one_key() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    scene.advance(INTERVAL * 5);
    assert_eq!(scene.manager().rotate_due().await.unwrap().len(), 2);
    assert!(scene.manager().rotate_due().await.unwrap().is_empty());
    assert_eq!(
        scene.signer(Kind::Access).await,
        access.kid,
        "verifiers have not fetched the new key yet"
    );
}

#[tokio::test]
async fn disabled_interval_rotates_and_prunes_no_key() {
    let scene = Scene::directory();
    scene.first().await;
    scene.rotate(Kind::Access).await;
    scene.advance(TimeDelta::days(10_000));
    let manager = scene.manager_with(|rules| rules.interval = None);
    let ring = scene.ring().await;
    assert!(!manager.is_due(&ring) && !manager.has_prunable(&ring));
    assert!(manager.rotate_due().await.unwrap().is_empty());
    assert_eq!(
        manager.prune().await.unwrap().len(),
        1,
        "an explicit prune removes it"
    );
}

#[tokio::test]
async fn key_is_pruned_after_its_last_token_expires() {
    for (kind, lifetime) in [(Kind::Access, LIVES.access), (Kind::Refresh, LIVES.refresh)] {
        let scene = Scene::directory();
        let (access, refresh) = scene.first().await;
        let old = if kind == Kind::Access {
            access
        } else {
            refresh
        };
        let successor = scene.rotate(kind).await;
        assert!(
            scene.manager().prune().await.unwrap().is_empty(),
            "the key signs"
        );
        scene.advance(successor.signs_from - scene.now() + lifetime + MARGIN - SECOND);
        assert!(
            scene.manager().prune().await.unwrap().is_empty(),
            "its tokens have not expired"
        );
        scene.advance(SECOND);
        let pruned = scene.manager().prune().await.unwrap();
        assert_eq!(
            pruned.iter().map(|key| &key.kid).collect::<Vec<_>>(),
            [&old.kid]
        );
        assert!(!scene.kids().await.contains(&old.kid));
        assert!(scene.manager().prune().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn automatic_prune_waits_one_more_day() {
    let scene = Scene::directory();
    scene.first().await;
    let successor = scene.rotate(Kind::Access).await;
    scene.advance(successor.signs_from - scene.now() + LIVES.access + MARGIN);
    let manager = scene.manager();
    assert!(!manager.has_prunable(&scene.ring().await));
    assert!(manager.prune_cautiously().await.unwrap().is_empty());
    scene.advance(TimeDelta::days(1));
    assert!(manager.has_prunable(&scene.ring().await));
    assert_eq!(manager.prune_cautiously().await.unwrap().len(), 1);
    assert!(!manager.has_prunable(&scene.ring().await));
}
