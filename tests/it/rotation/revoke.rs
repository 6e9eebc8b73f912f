//! Revocation of a leaked access key.

use latchkey_service::keys::Successor;
use latchkey_verifier::{Algorithm, Kind};

use super::{KeyFleet, KeysIn, Traffic, fleet::kid};
use latchkey_testkit::{TestApp, servers::eventually};

/// Waits until no server publishes the key.
async fn wait_until_unpublished(fleet: &KeyFleet, revoked: &str) {
    for app in &fleet.apps {
        eventually("the key is no longer published", async || {
            !app.kids().await.contains(&revoked.to_owned())
        })
        .await;
    }
}

async fn assert_refused(app: &TestApp, token: &str) {
    assert_eq!(app.verify(token).await.status, 401);
    assert_eq!(app.me(&format!("Bearer {token}")).await.status, 401);
    assert_eq!(app.log_out_everywhere(token).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn previous_key_signs_until_the_successor_does() {
    let fleet = KeyFleet::start(KeysIn::Database, &[]).await;
    let mut traffic = Traffic::start(&fleet).await;
    let first = kid(&fleet.apps[0].signed_in("ada").await.access);
    let revoked = fleet.rotated(Kind::Access, Algorithm::EdDsa).await;
    let mut pairs = Vec::new();
    for app in &fleet.apps {
        pairs.push(
            app.signed_in(&format!("user-of-{}", app.address.port()))
                .await,
        );
    }
    assert!(pairs.iter().all(|pair| kid(&pair.access) == revoked.kid));
    let tag = fleet.tag().await;

    let manager = &fleet.manager;
    let Successor::Later(successor) = manager.prepare_revocation(&revoked.kid).await.unwrap()
    else {
        panic!("the first key can sign");
    };
    assert_eq!(
        manager.revoke(&revoked.kid).await.unwrap().facts.kid,
        revoked.kid
    );
    wait_until_unpublished(&fleet, &revoked.kid).await;
    // Servers remove the revoked key before they add the successor.
    fleet.noticed().await;
    assert_ne!(fleet.tag().await, tag);
    for app in &fleet.apps {
        for pair in &pairs {
            assert_refused(app, &pair.access).await;
        }
    }

    // The session is live, because another key signed its refresh token. Verifiers know the
    // current signing key.
    for (app, pair) in fleet.apps.iter().zip(&pairs) {
        let next = app.refresh(&pair.refresh).await.pair();
        assert_eq!(kid(&next.access), first);
        app.live(&next).await;
    }
    for signs_from in [fleet.now(), successor.signs_from] {
        fleet.advance_to(signs_from, 0);
        traffic.flow(&fleet).await;
    }
    assert_eq!(traffic.kids().0, successor.kid);
    assert_refused(&fleet.apps[1], &pairs[0].access).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_key_is_followed_by_a_known_successor() {
    let fleet = KeyFleet::start(KeysIn::Database, &[]).await;
    let pair = fleet.apps[0].signed_in("ada").await;
    let revoked = kid(&pair.access);
    let manager = &fleet.manager;
    let Successor::AtOnce(successor) = manager.prepare_revocation(&revoked).await.unwrap() else {
        panic!("the only key needs an immediate successor");
    };
    fleet.noticed().await;
    assert_eq!(
        kid(&fleet.apps[1].refresh(&pair.refresh).await.pair().access),
        revoked
    );
    manager.revoke(&revoked).await.unwrap();
    wait_until_unpublished(&fleet, &revoked).await;
    for app in &fleet.apps {
        assert_refused(app, &pair.access).await;
        let next = app.refresh(&pair.refresh).await.pair();
        assert_eq!(kid(&next.access), successor.kid);
        for app in &fleet.apps {
            app.live(&next).await;
        }
    }
}
