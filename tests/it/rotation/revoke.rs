//! A key for access tokens that somebody else may have.

use latchkey::service::keys::Successor;
use latchkey_verifier::{Algorithm, Kind};

use super::{Fleet, KeysIn, Traffic, fleet::kid, on_both_places};
use crate::support::{TestApp, servers::eventually};

/// Waits until no server publishes the key.
async fn gone(fleet: &Fleet, dead: &str) {
    for app in &fleet.apps {
        eventually("the key is not published any more", async || {
            !app.kids().await.contains(&dead.to_owned())
        })
        .await;
    }
}

async fn refuses(app: &TestApp, token: &str) {
    assert_eq!(app.verify(token).await.status, 401);
    assert_eq!(app.me(&format!("Bearer {token}")).await.status, 401);
    assert_eq!(app.log_out_everywhere(token).await.status, 401);
}

on_both_places! {
    async fn its_tokens_pass_nowhere_and_the_key_before_it_signs_until_there_is_a_new_one(place: KeysIn) {
        let fleet = Fleet::start(place, &[]).await;
        let mut traffic = Traffic::start(&fleet).await;
        let first = kid(&fleet.apps[0].signed_in("ada").await.access);
        let dead = fleet.rotated(Kind::Access, Algorithm::EdDsa).await;
        let mut pairs = Vec::new();
        for app in &fleet.apps {
            pairs.push(app.signed_in(&format!("user-of-{}", app.address.port())).await);
        }
        assert!(pairs.iter().all(|pair| kid(&pair.access) == dead.kid));
        let tag = fleet.tag().await;

        let manager = fleet.apps[0].keys().await;
        let Successor::Later(successor) = manager.prepare_revocation(&dead.kid).await.unwrap() else {
            panic!("the first key can sign meanwhile");
        };
        assert_eq!(manager.revoke(&dead.kid).await.unwrap().facts.kid, dead.kid);
        gone(&fleet, &dead.kid).await;
        // What has to go goes first; then its successor is taken in.
        fleet.noticed().await;
        assert_ne!(fleet.tag().await, tag);
        for app in &fleet.apps {
            for pair in &pairs {
                refuses(app, &pair.access).await;
            }
        }

        // The session lives: its refresh token is of another key. Verifiers know the key that signs now.
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
        refuses(&fleet.apps[1], &pairs[0].access).await;
    }

    async fn the_only_key_is_followed_by_one_that_all_of_them_know_already(place: KeysIn) {
        let fleet = Fleet::start(place, &[]).await;
        let pair = fleet.apps[0].signed_in("ada").await;
        let dead = kid(&pair.access);
        let manager = fleet.apps[0].keys().await;
        let Successor::AtOnce(successor) = manager.prepare_revocation(&dead).await.unwrap() else {
            panic!("there is no other key");
        };
        fleet.noticed().await;
        assert_eq!(kid(&fleet.apps[1].refresh(&pair.refresh).await.pair().access), dead);
        manager.revoke(&dead).await.unwrap();
        gone(&fleet, &dead).await;
        for app in &fleet.apps {
            refuses(app, &pair.access).await;
            let next = app.refresh(&pair.refresh).await.pair();
            assert_eq!(kid(&next.access), successor.kid);
            for app in &fleet.apps {
                app.live(&next).await;
            }
        }
    }
}
