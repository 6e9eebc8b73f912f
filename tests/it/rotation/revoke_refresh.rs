//! A secret for refresh tokens that somebody else may have.

use latchkey_verifier::{Algorithm, Kind};

use super::{Fleet, KeysIn, fleet::kid, on_both_places};
use crate::support::{PASSWORD, servers::eventually};

on_both_places! {
    async fn whom_the_secret_signed_in_is_signed_out_and_may_come_again(place: KeysIn) {
        let fleet = Fleet::start(place, &[]).await;
        let [first, second, third] = &fleet.apps;
        let earlier = first.signed_in("ada").await;
        let dead = fleet.rotated(Kind::Refresh, Algorithm::Hs256).await;
        let pair = second.signed_in("bob").await;
        assert_eq!(kid(&pair.refresh), dead.kid);

        let manager = third.keys().await;
        manager.prepare_revocation(&dead.kid).await.unwrap();
        manager.revoke(&dead.kid).await.unwrap();
        for app in &fleet.apps {
            eventually("the secret is gone", async || app.verify(&pair.refresh).await.status == 401).await;
        }
        for app in &fleet.apps {
            assert_eq!(app.verify(&pair.refresh).await.status, 401);
            assert_eq!(app.refresh(&pair.refresh).await.status, 401);
            assert_eq!(app.blacklist(&pair.refresh).await.status, 401);
            assert_eq!(app.log_out(&pair.refresh).await.status, 401);
        }
        let again = third.obtain("bob", PASSWORD).await.pair();
        let next = first.refresh(&again.refresh).await.pair();
        for app in &fleet.apps {
            app.live(&next).await;
        }
        assert_ne!(kid(&next.refresh), dead.kid);
        // Whom another secret has signed in does not notice.
        let next = second.refresh(&earlier.refresh).await.pair();
        third.live(&next).await;
    }
}
