//! Revocation of a leaked refresh secret.

use latchkey_verifier::{Algorithm, Kind};

use super::{KeyFleet, KeysIn, fleet::kid};
use latchkey_testkit::{PASSWORD, servers::eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_the_revoked_secret_end() {
    let fleet = KeyFleet::start(KeysIn::Database, &[]).await;
    let [first, second, third] = fleet.apps.three();
    let earlier = first.signed_in("ada").await;
    let revoked = fleet.rotated(Kind::Refresh, Algorithm::Hs256).await;
    let pair = second.signed_in("bob").await;
    assert_eq!(kid(&pair.refresh), revoked.kid);

    let manager = &fleet.manager;
    manager.prepare_revocation(&revoked.kid).await.unwrap();
    manager.revoke(&revoked.kid).await.unwrap();
    for app in &fleet.apps {
        eventually("the secret is not active", async || {
            app.verify(&pair.refresh).await.status == 401
        })
        .await;
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
    assert_ne!(kid(&next.refresh), revoked.kid);
    // Sessions with another secret are not affected.
    let next = second.refresh(&earlier.refresh).await.pair();
    third.live(&next).await;
}
