//! An invalid key file beside valid ones.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use latchkey_verifier::{Algorithm, Kind};

use super::{KeyFleet, KeysIn, Traffic, fleet::kid};
use latchkey_testkit::servers::eventually;

/// Writes a file into the key directory.
fn write_key_file(fleet: &KeyFleet, name: &str, text: &str) -> PathBuf {
    let file = fleet.apps[0].config.keys.keys_dir.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_file_is_reported_and_does_not_stop_revocation() {
    let fleet = KeyFleet::start(KeysIn::Directory, &[]).await;
    let mut traffic = Traffic::start(&fleet).await;
    let revoked = fleet.rotated(Kind::Access, Algorithm::Es256).await;
    let published = fleet.apps[0].kids().await;
    fleet.say("latchkey_key_ring_unusable", 0).await;

    let name = "20270101T120000Z-access-ES256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.pem";
    for (name, text) in [(name, "no key"), ("key.pem", "an invalid name")] {
        let file = write_key_file(&fleet, name, text);
        fleet.say("latchkey_key_ring_unusable", 1).await;
        traffic.flow(&fleet).await;
        traffic.sign_in(&fleet).await;
        assert_eq!(fleet.apps[2].kids().await, published);
        fs::remove_file(file).unwrap();
        fleet.say("latchkey_key_ring_unusable", 0).await;
    }

    let pair = fleet.apps[1].signed_in("ada").await;
    assert_eq!(kid(&pair.access), revoked.kid);
    let file = write_key_file(&fleet, name, "no key");
    fleet.say("latchkey_key_ring_unusable", 1).await;
    fleet.manager.revoke(&revoked.kid).await.unwrap();
    for app in &fleet.apps {
        eventually("tokens of the revoked key are refused", async || {
            app.verify(&pair.access).await.status == 401
        })
        .await;
        assert!(!app.kids().await.contains(&revoked.kid));
    }
    fleet.say("latchkey_key_ring_unusable", 1).await;
    traffic.sign_in(&fleet).await;
    assert_ne!(traffic.kids().0, revoked.kid);
    fs::remove_file(file).unwrap();
    fleet.say("latchkey_key_ring_unusable", 0).await;
    for app in &fleet.apps {
        assert_eq!(app.verify(&pair.access).await.status, 401);
        app.refresh(&pair.refresh).await.pair();
    }
}
