//! Rotation of the refresh secret.

use latchkey_verifier::{Algorithm, Kind};

use super::{Fleet, KeysIn, fleet::kid, on_both_places};

on_both_places! {
    async fn new_secret_revokes_no_session(place: KeysIn) {
        let fleet = Fleet::start(place, &[]).await;
        let [first, second, third] = &fleet.apps;
        let old = first.signed_in("ada").await;
        let created = fleet.rotated(Kind::Refresh, Algorithm::Hs256).await;
        second.verify(&old.refresh).await.expect(200, "{}");
        let new = third.refresh(&old.refresh).await.pair();
        assert_eq!((kid(&new.refresh) == kid(&old.refresh), kid(&new.refresh)), (false, created.kid));
        for app in &fleet.apps {
            app.live(&new).await;
        }
        first.blacklist(&new.refresh).await.expect(200, "{}");
        second.dead(&new).await;
    }

    /// A retry after a lost answer returns identical bytes, on another server and with another
    /// secret.
    async fn retry_during_rotation_gets_the_same_successor(place: KeysIn) {
        let fleet = Fleet::start(place, &[]).await;
        let [first, second, third] = &fleet.apps;
        let pair = first.signed_in("ada").await;
        let created = fleet.rotate(Kind::Refresh, Algorithm::Hs256).await;
        fleet.noticed().await;
        fleet.advance_to(created.signs_from, -1);
        let successor = first.refresh(&pair.refresh).await.pair().refresh;
        assert_ne!(kid(&successor), created.kid);
        for seconds in [0, 1, 9] {
            fleet.advance_to(created.signs_from + chrono::TimeDelta::seconds(seconds), 0);
            for app in [second, third, first] {
                assert_eq!(app.refresh(&pair.refresh).await.pair().refresh, successor, "{seconds} s later");
            }
        }
        let next = third.refresh(&successor).await.pair();
        assert_eq!(kid(&next.refresh), created.kid);
        second.live(&next).await;
    }
}
