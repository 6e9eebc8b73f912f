//! What has to be done because its time has come: successors, and the end of keys whose tokens have all expired.

use chrono::TimeDelta;
use latchkey_verifier::Kind;

use super::scene::{INTERVAL, LEAD, LIVES, Scene};

/// Tokens that began in the last second, clocks that differ, names with whole seconds: a key stays a little longer.
const MARGIN: TimeDelta = TimeDelta::minutes(2);
const SECOND: TimeDelta = TimeDelta::seconds(1);

#[tokio::test]
async fn a_successor_is_made_so_early_that_it_signs_when_the_interval_is_over() {
    let scene = Scene::directory();
    let (access, refresh) = scene.first().await;
    scene.advance(INTERVAL - LEAD - SECOND);
    assert!(!scene.manager().is_due(&scene.ring().await));
    assert!(scene.manager().rotate_due().await.unwrap().is_empty());
    scene.advance(SECOND);
    assert!(scene.manager().is_due(&scene.ring().await));
    let made = scene.manager().rotate_due().await.unwrap();
    assert_eq!(
        made.iter().map(|made| made.kind).collect::<Vec<_>>(),
        [Kind::Access, Kind::Refresh]
    );
    for (made, old) in made.iter().zip([&access, &refresh]) {
        let late = made.signs_from - (old.signs_from + INTERVAL);
        assert!(late >= TimeDelta::zero() && late <= SECOND, "{late}");
    }
    assert!(
        !scene.manager().is_due(&scene.ring().await),
        "once is enough"
    );
    assert!(scene.manager().rotate_due().await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_kind_that_is_due_gets_a_successor() {
    let scene = Scene::directory();
    scene.first().await;
    scene.advance(INTERVAL / 2);
    scene.rotate(Kind::Refresh).await;
    scene.advance(INTERVAL / 2);
    let made = scene.manager().rotate_due().await.unwrap();
    assert_eq!(
        made.iter().map(|made| made.kind).collect::<Vec<_>>(),
        [Kind::Access]
    );
}

#[tokio::test]
async fn who_slept_through_several_intervals_makes_one_key_and_not_several() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    scene.advance(INTERVAL * 5);
    assert_eq!(scene.manager().rotate_due().await.unwrap().len(), 2);
    assert!(scene.manager().rotate_due().await.unwrap().is_empty());
    assert_eq!(
        scene.signer(Kind::Access).await,
        access.kid,
        "verifiers have not seen the new one yet"
    );
}

#[tokio::test]
async fn without_an_interval_nothing_is_due_and_nothing_goes_by_itself() {
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
        "unless somebody asks for it"
    );
}

#[tokio::test]
async fn a_key_goes_when_its_last_token_has_expired_and_not_before() {
    for (kind, life) in [(Kind::Access, LIVES.access), (Kind::Refresh, LIVES.refresh)] {
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
            "it signs"
        );
        scene.advance(successor.signs_from - scene.now() + life + MARGIN - SECOND);
        assert!(
            scene.manager().prune().await.unwrap().is_empty(),
            "its tokens live"
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
async fn the_service_itself_waits_a_day_longer() {
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
