//! A new secret for refresh tokens.

use latchkey_verifier::{Algorithm, Kind};

use super::{Fleet, KeysIn, fleet::kid, on_both_places};

on_both_places! {
    async fn a_new_secret_signs_nobody_out(place: KeysIn) {
        let fleet = Fleet::start(place, &[]).await;
        let [first, second, third] = &fleet.apps;
        let old = first.signed_in("ada").await;
        let made = fleet.rotated(Kind::Refresh, Algorithm::Hs256).await;
        second.verify(&old.refresh).await.expect(200, "{}");
        let new = third.refresh(&old.refresh).await.pair();
        assert_eq!((kid(&new.refresh) == kid(&old.refresh), kid(&new.refresh)), (false, made.kid));
        for app in &fleet.apps {
            app.live(&new).await;
        }
        first.blacklist(&new.refresh).await.expect(200, "{}");
        second.dead(&new).await;
    }

    /// The retry of a client whose answer was lost, on another server and with another secret in force: the identical bytes.
    async fn a_retry_gets_the_same_successor_whichever_secret_signs_meanwhile(place: KeysIn) {
        let fleet = Fleet::start(place, &[]).await;
        let [first, second, third] = &fleet.apps;
        let pair = first.signed_in("ada").await;
        let made = fleet.rotate(Kind::Refresh, Algorithm::Hs256).await;
        fleet.noticed().await;
        fleet.advance_to(made.signs_from, -1);
        let successor = first.refresh(&pair.refresh).await.pair().refresh;
        assert_ne!(kid(&successor), made.kid);
        for seconds in [0, 1, 9] {
            fleet.advance_to(made.signs_from + chrono::TimeDelta::seconds(seconds), 0);
            for app in [second, third, first] {
                assert_eq!(app.refresh(&pair.refresh).await.pair().refresh, successor, "{seconds} s later");
            }
        }
        let next = third.refresh(&successor).await.pair();
        assert_eq!(kid(&next.refresh), made.kid);
        second.live(&next).await;
    }
}
