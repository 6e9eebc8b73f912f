//! Rotation of both kinds of keys: requests a millisecond before and after a new key signs and the
//! tokens of the old one expire. `scripts/rotations` rotates keys under load.

use chrono::TimeDelta;
use latchkey_verifier::{Algorithm, Kind};

use super::{KeyFleet, KeysIn, Traffic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_of_keys_in_a_directory_refuses_no_token() {
    Box::pin(assert_no_token_is_refused(KeysIn::Directory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_of_keys_in_the_database_refuses_no_token() {
    Box::pin(assert_no_token_is_refused(KeysIn::Database)).await;
}

/// Verifiers fetch the key set at the worst times: just before the new key exists, and just before
/// the servers must have noticed it. The publish lead has its minimum.
async fn assert_no_token_is_refused(place: KeysIn) {
    let fleet = KeyFleet::start(place, &["--jwks-max-age=5m", "--key-publish-lead=305s"]).await;
    let mut traffic = Traffic::start(&fleet).await;
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
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
        assert_eq!(traffic.kids(), before, "a millisecond before the rotation");
        fleet.advance_to(access.signs_from, 0);
        traffic.flow(&fleet).await;
        assert_eq!(traffic.kids(), (access.kid, refresh.kid));

        // The last token of the old key expires a second later, then now.
        fleet.advance_to(access.signs_from + TimeDelta::seconds(299), -1);
        traffic.flow(&fleet).await;
        fleet.apps[0].clock.advance_ms(1);
        traffic.flow(&fleet).await;
        fleet.advance_to(access.signs_from + TimeDelta::seconds(305), 1);
        traffic.flow(&fleet).await;
    }
    assert_eq!(fleet.records().await.keys.len(), 6);
    traffic.refresh_idle(&fleet).await;
}
