//! Rotation of the refresh secret between a refresh and its retry.

use latchkey_verifier::{Algorithm, Kind};

use super::{KeyFleet, KeysIn, fleet::kid};

/// A retry after a lost answer returns identical bytes, on another server and with another
/// secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_during_rotation_gets_the_same_successor() {
    let fleet = KeyFleet::start(KeysIn::Directory, &[]).await;
    let [first, second, third] = fleet.apps.three();
    let pair = first.signed_in("ada").await;
    let created = fleet.rotate(Kind::Refresh, Algorithm::Hs256).await;
    fleet.noticed().await;
    fleet.advance_to(created.signs_from, -1);
    let successor = first.refresh(&pair.refresh).await.pair().refresh;
    assert_ne!(kid(&successor), created.kid);
    for seconds in [0, 1, 9] {
        fleet.advance_to(created.signs_from + chrono::TimeDelta::seconds(seconds), 0);
        for app in [second, third, first] {
            assert_eq!(
                app.refresh(&pair.refresh).await.pair().refresh,
                successor,
                "{seconds} s later"
            );
        }
    }
    let next = third.refresh(&successor).await.pair();
    assert_eq!(kid(&next.refresh), created.kid);
    second.live(&next).await;
}
