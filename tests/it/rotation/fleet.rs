//! Three servers over one Postgres, one Redis and one ring of keys.

use std::{fs, os::unix::fs::PermissionsExt as _};

use chrono::TimeDelta;
use latchkey::{
    domain::{keys::KeyMetadata, time::Moment},
    ports::{Clock as _, KeyRecords},
    service::keys::Rotate,
};
use latchkey_verifier::{Algorithm, Kind};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Backend, TestApp, servers::eventually};

#[derive(Clone, Copy, Debug)]
pub enum KeysIn {
    Directory,
    Database,
}

pub struct Fleet {
    pub apps: [TestApp; 3],
    _passphrase: TempDir,
}

impl Fleet {
    pub async fn start(place: KeysIn, flags: &[&str]) -> Self {
        let passphrase = tempfile::tempdir().unwrap();
        let file = passphrase.path().join("passphrase");
        fs::write(&file, "a passphrase of these stories\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut all: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        if let KeysIn::Database = place {
            all.push("--keys=database".to_owned());
            all.push(format!("--keys-passphrase-file={}", file.display()));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let first = TestApp::start_with(Backend::PostgresAndRedis, &all).await;
        let (second, third) = (first.twin().await, first.twin().await);
        Self {
            apps: [first, second, third],
            _passphrase: passphrase,
        }
    }

    pub fn now(&self) -> Moment {
        self.apps[0].clock.now()
    }

    /// Moves the clock to a millisecond before or after `moment`, or to it.
    pub fn advance_to(&self, moment: Moment, milliseconds: i64) {
        let span = moment + TimeDelta::milliseconds(milliseconds) - self.now();
        assert!(
            span >= TimeDelta::zero(),
            "back to {moment} from {}",
            self.now()
        );
        self.apps[0].clock.advance_ms(span.num_milliseconds());
    }

    /// A new key, which signs after the lead.
    pub async fn rotate(&self, kind: Kind, algorithm: Algorithm) -> KeyMetadata {
        let order = Rotate {
            kind,
            algorithm: Some(algorithm),
            now: false,
        };
        self.apps[0].keys().await.rotate(order).await.unwrap()
    }

    /// A new key that everybody has noticed and that signs from now on.
    pub async fn rotated(&self, kind: Kind, algorithm: Algorithm) -> KeyMetadata {
        let made = self.rotate(kind, algorithm).await;
        self.noticed().await;
        self.advance_to(made.signs_from, 0);
        made
    }

    /// What lies in the store.
    pub async fn records(&self) -> KeyRecords {
        self.apps[0].keys().await.store.read().await.unwrap()
    }

    /// Waits until each server has as many keys in force as lie in the store.
    pub async fn noticed(&self) {
        let number = self.records().await.keys.len();
        self.have(number).await;
    }

    /// Waits until each server has so many keys in force.
    pub async fn have(&self, number: usize) {
        self.say("latchkey_keys", number).await;
    }

    /// Waits until each server gives this number under this name.
    pub async fn say(&self, name: &str, number: usize) {
        for app in &self.apps {
            let what = format!("{name} is {number}");
            eventually(&what, async || gauge(app, name).await == number).await;
        }
    }

    /// The entity tag of the published keys, which is the same on all of them.
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

pub async fn gauge(app: &TestApp, name: &str) -> usize {
    let text = app.get("/metrics").await.text;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .unwrap()
}

/// The name of the key that signed this token.
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
