//! A file that is no key, beside keys that are.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use latchkey_verifier::{Algorithm, Kind};

use super::{Fleet, KeysIn, Traffic, fleet::kid};
use crate::support::servers::eventually;

/// Puts a file where the keys are.
fn put(fleet: &Fleet, name: &str, text: &str) -> PathBuf {
    let file = fleet.apps[0].config.keys.keys_dir.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_key_is_told_and_stops_nothing_not_even_a_revocation() {
    let fleet = Fleet::start(KeysIn::Directory, &[]).await;
    let mut traffic = Traffic::start(&fleet).await;
    let dead = fleet.rotated(Kind::Access, Algorithm::Es256).await;
    let published = fleet.apps[0].kids().await;
    fleet.say("latchkey_keys_broken", 0).await;

    let name = "20270101T120000Z-access-ES256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.pem";
    for (name, text) in [(name, "no key"), ("key.pem", "a name that says nothing")] {
        let file = put(&fleet, name, text);
        fleet.say("latchkey_keys_broken", 1).await;
        traffic.flow(&fleet).await;
        traffic.sign_in(&fleet).await;
        assert_eq!(fleet.apps[2].kids().await, published);
        fs::remove_file(file).unwrap();
        fleet.say("latchkey_keys_broken", 0).await;
    }

    let pair = fleet.apps[1].signed_in("ada").await;
    assert_eq!(kid(&pair.access), dead.kid);
    let file = put(&fleet, name, "no key");
    fleet.say("latchkey_keys_broken", 1).await;
    fleet.apps[0].keys().await.revoke(&dead.kid).await.unwrap();
    for app in &fleet.apps {
        eventually("its tokens are refused", async || {
            app.verify(&pair.access).await.status == 401
        })
        .await;
        assert!(!app.kids().await.contains(&dead.kid));
    }
    fleet.say("latchkey_keys_broken", 1).await;
    traffic.sign_in(&fleet).await;
    assert_ne!(traffic.kids().0, dead.kid);
    fs::remove_file(file).unwrap();
    fleet.say("latchkey_keys_broken", 0).await;
    for app in &fleet.apps {
        assert_eq!(app.verify(&pair.access).await.status, 401);
        app.refresh(&pair.refresh).await.pair();
    }
}
