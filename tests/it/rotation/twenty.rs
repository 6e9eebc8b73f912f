//! Twenty new keys, one pair after the other.

use chrono::TimeDelta;
use latchkey_verifier::{Algorithm, Kind};

use super::{Fleet, KeysIn, Traffic, on_both_places};

on_both_places! {
    /// The verifiers fetch the keys at the worst moments: just before the new key is there, and when it has been there for as
    /// long as a server may need to notice it. The lead is as short as it may be.
    async fn twenty_rotations_refuse_no_token(place: KeysIn) {
        let fleet = Fleet::start(place, &["--jwks-max-age=5m", "--key-publish-lead=305s"]).await;
        let mut traffic = Traffic::start(&fleet).await;
        let algorithms = [Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Es256, Algorithm::Es256, Algorithm::EdDsa];
        for algorithm in algorithms.into_iter().cycle().take(10) {
            traffic.offline[0].restart();
            traffic.flow(&fleet).await;
            let before = traffic.kids();
            let access = fleet.rotate(Kind::Access, algorithm).await;
            let refresh = fleet.rotate(Kind::Refresh, Algorithm::Hs256).await;
            assert_eq!(access.signs_from, refresh.signs_from);
            traffic.flow(&fleet).await;
            fleet.apps[0].clock.advance_ms(4_999);
            traffic.offline[1].restart();
            traffic.flow(&fleet).await;
            fleet.noticed().await;
            traffic.sign_in(&fleet).await;

            fleet.advance_to(access.signs_from, -1);
            traffic.flow(&fleet).await;
            assert_eq!(traffic.kids(), before, "a millisecond too early");
            fleet.advance_to(access.signs_from, 0);
            traffic.flow(&fleet).await;
            assert_eq!(traffic.kids(), (access.kid, refresh.kid));

            // The last token of the old key lives for another second, then for none.
            fleet.advance_to(access.signs_from + TimeDelta::seconds(299), -1);
            traffic.flow(&fleet).await;
            fleet.apps[0].clock.advance_ms(1);
            traffic.flow(&fleet).await;
            fleet.advance_to(access.signs_from + TimeDelta::seconds(305), 1);
            traffic.flow(&fleet).await;
        }
        assert_eq!(fleet.records().await.keys.len(), 22);
        traffic.wake_up(&fleet).await;
    }
}
