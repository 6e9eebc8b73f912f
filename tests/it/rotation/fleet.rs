//! Three servers with one Postgres, one Redis and one key ring.

use std::{fs, os::unix::fs::PermissionsExt as _};

use chrono::TimeDelta;
use latchkey_crypto::passphrase::{Passphrase, WrappingCost};
use latchkey_domain::{
    keys::KeyMetadata,
    ports::{Clock as _, KeyRecords},
    time::Moment,
};
use latchkey_service::keys::{KeyManager, Rotate};
use latchkey_verifier::{Algorithm, Kind};
use serde_json::Value;
use tempfile::TempDir;

use latchkey_testkit::{Backend, Fleet, TestApp, servers::eventually};

/// Low scrypt cost. With the default cost, decrypting one key takes a third of a second.
const LOW_COST: WrappingCost = WrappingCost::new(10);

#[derive(Clone, Copy, Debug)]
pub enum KeysIn {
    Directory,
    Database,
}

pub struct KeyFleet {
    pub apps: Fleet,
    /// An operator's commands.
    pub manager: KeyManager,
    _passphrase: TempDir,
}

impl KeyFleet {
    pub async fn start(place: KeysIn, flags: &[&str]) -> Self {
        let passphrase = tempfile::tempdir().unwrap();
        let file = passphrase.path().join("passphrase");
        fs::write(&file, "a passphrase of these tests\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut all: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        if let KeysIn::Database = place {
            all.push("--keys=database".to_owned());
            all.push(format!("--keys-passphrase-file={}", file.display()));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let first = TestApp::start_with(Backend::PostgresAndRedis, &all).await;
        let manager = manager_of(&first).await;
        if let KeysIn::Database = place {
            let cheap = Passphrase::from_file(&file).unwrap().at(LOW_COST);
            manager.rewrap(Some(&cheap)).await.unwrap();
        }
        Self {
            apps: Fleet::of(first, 3).await,
            manager,
            _passphrase: passphrase,
        }
    }

    pub fn now(&self) -> Moment {
        self.apps[0].clock.now()
    }

    /// Advances the clock to `moment`, plus `milliseconds`.
    pub fn advance_to(&self, moment: Moment, milliseconds: i64) {
        let span = moment + TimeDelta::milliseconds(milliseconds) - self.now();
        assert!(
            span >= TimeDelta::zero(),
            "{moment} is before the current time {}",
            self.now()
        );
        self.apps[0].clock.advance_ms(span.num_milliseconds());
    }

    /// Creates a key that signs after the publish lead.
    pub async fn rotate(&self, kind: Kind, algorithm: Algorithm) -> KeyMetadata {
        let order = Rotate {
            kind,
            algorithm: Some(algorithm),
            now: false,
        };
        self.manager.rotate(order).await.unwrap()
    }

    /// Creates a key, and waits until every server has it and it signs.
    pub async fn rotated(&self, kind: Kind, algorithm: Algorithm) -> KeyMetadata {
        let created = self.rotate(kind, algorithm).await;
        self.noticed().await;
        self.advance_to(created.signs_from, 0);
        created
    }

    /// Reads all keys in the store.
    pub async fn records(&self) -> KeyRecords {
        self.manager.store.read().await.unwrap()
    }

    /// Waits until each server has as many active keys as the store.
    pub async fn noticed(&self) {
        let number = self.records().await.keys.len();
        self.have(number).await;
    }

    /// Waits until each server has this number of active keys.
    pub async fn have(&self, number: usize) {
        self.say("latchkey_key_ring_keys", number).await;
    }

    /// Waits until this metric has this value on each server.
    pub async fn say(&self, name: &str, number: usize) {
        for app in &self.apps {
            let what = format!("{name} is {number}");
            eventually(&what, async || app.metric(name).await == number as u64).await;
        }
    }

    /// Returns the entity tag of the key set. Fails unless it is the same on all servers.
    pub async fn tag(&self) -> String {
        let mut tags = Vec::new();
        for app in &self.apps {
            tags.push(
                app.get("/.well-known/jwks.json")
                    .await
                    .header("etag")
                    .to_owned(),
            );
        }
        tags.dedup();
        assert_eq!(tags.len(), 1, "{tags:?}");
        tags.remove(0)
    }
}

/// Returns an operator's commands on the key ring of this server.
pub async fn manager_of(app: &TestApp) -> KeyManager {
    let mut manager = app.keys().await;
    manager.rules.wrapping = LOW_COST;
    manager
}

/// Returns the id of the key that signed this token.
pub fn kid(token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD
        .decode(token.split('.').next().unwrap())
        .unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"]
        .as_str()
        .unwrap()
        .to_owned()
}
