//! Test fixture: an empty key ring, a manual clock, and any number of managers.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::TimeDelta;
use latchkey_crypto::{
    key_ring::KeyRing,
    passphrase::{Passphrase, WrappingCost},
};
use latchkey_domain::{
    audit::Actor,
    keys::{KeyMetadata, KeyState, MaxLifetimes},
    ports::{AuditStore, Clock as _, KeyStore},
    time::Moment,
};
use latchkey_service::keys::{KeyManager, KeyRules, KeysError, OpenedKeys, Rotate};
use latchkey_store::key_directory::KeyDirectory;
use latchkey_verifier::{Algorithm, Kind};
use tempfile::TempDir;

use crate::contract::store::Store;
use latchkey_testkit::ManualClock;

pub const LEAD: TimeDelta = TimeDelta::minutes(15);
pub const INTERVAL: TimeDelta = TimeDelta::days(90);
pub const LIVES: MaxLifetimes = MaxLifetimes {
    access: TimeDelta::minutes(5),
    refresh: TimeDelta::days(1),
};

/// Low cost for tests that encrypt many keys.
const LOW_COST: WrappingCost = WrappingCost::new(10);

/// Key ring of one test.
pub struct Scene {
    pub clock: Arc<ManualClock>,
    pub database: Option<Store>,
    pub passphrase: Option<PathBuf>,
    pub rules: KeyRules,
    pub store: Arc<dyn KeyStore>,
    folder: TempDir,
}

impl Scene {
    /// Creates a key ring of unencrypted files.
    pub fn directory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(KeyDirectory::new(&folder.path().join("keys")));
        Self::new(folder, store, None)
    }

    /// Creates a key ring of encrypted rows.
    pub fn database(database: Store) -> Self {
        let mut scene = Self::new(
            tempfile::tempdir().unwrap(),
            Arc::new(database.sql.clone()),
            Some(database),
        );
        scene.encrypt("the passphrase of a test");
        scene
    }

    fn new(folder: TempDir, store: Arc<dyn KeyStore>, database: Option<Store>) -> Self {
        let rules = KeyRules {
            algorithm: Algorithm::Es256,
            lead: LEAD,
            interval: Some(INTERVAL),
            lives: LIVES,
            wrapping: LOW_COST,
        };
        Self {
            clock: Arc::default(),
            database,
            passphrase: None,
            rules,
            store,
            folder,
        }
    }

    /// Sets the passphrase for keys that are written later.
    pub fn encrypt(&mut self, text: &str) {
        self.passphrase = Some(self.write("passphrase", text));
    }

    /// Writes a file beside the keys.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Returns a manager, as of another process.
    pub fn manager(&self) -> KeyManager {
        let audit = self
            .database
            .as_ref()
            .map(|database| Arc::new(database.sql.clone()) as Arc<dyn AuditStore>);
        KeyManager {
            actor: Actor::Service,
            audit,
            clock: Arc::clone(&self.clock) as Arc<_>,
            opened: OpenedKeys::default(),
            passphrase: self.passphrase.clone(),
            rules: self.rules,
            store: Arc::clone(&self.store),
        }
    }

    /// Returns a manager with other settings.
    pub fn manager_with(&self, change: impl FnOnce(&mut KeyRules)) -> KeyManager {
        let mut manager = self.manager();
        change(&mut manager.rules);
        manager
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    pub fn advance(&self, span: TimeDelta) {
        self.clock.advance_ms(span.num_milliseconds());
    }

    /// Creates the first keys.
    pub async fn first(&self) -> (KeyMetadata, KeyMetadata) {
        let created = self.manager().ensure().await.unwrap();
        let [access, refresh] = <[KeyMetadata; 2]>::try_from(created).unwrap();
        assert_eq!((access.kind, refresh.kind), (Kind::Access, Kind::Refresh));
        (access, refresh)
    }

    pub async fn ring(&self) -> KeyRing {
        self.manager().ring().await.unwrap()
    }

    /// Returns all key ids, sorted.
    pub async fn kids(&self) -> Vec<String> {
        let mut kids: Vec<_> = self
            .ring()
            .await
            .keys()
            .map(|key| key.facts.kid.clone())
            .collect();
        kids.sort();
        kids
    }

    /// Returns the id of the key that signs now.
    pub async fn signer(&self, kind: Kind) -> String {
        self.ring()
            .await
            .signer(kind, self.now())
            .unwrap()
            .kid()
            .to_owned()
    }

    /// Returns the state of each key: access before refresh, oldest first.
    pub async fn states(&self) -> Vec<&'static str> {
        self.ring()
            .await
            .states(self.now(), LIVES)
            .map(|(_, state)| KeyState::as_str(state))
            .collect()
    }

    pub async fn rotate(&self, kind: Kind) -> KeyMetadata {
        self.manager()
            .rotate(Rotate {
                kind,
                algorithm: None,
                now: false,
            })
            .await
            .unwrap()
    }

    /// Returns the file of this key.
    pub fn file_of(&self, kid: &str) -> PathBuf {
        let entries = fs::read_dir(self.keys())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .into_iter()
            .find(|path| path.to_str().unwrap().ends_with(&format!("{kid}.pem")))
            .unwrap()
    }

    /// Overwrites the file of this key with invalid data.
    pub fn break_file(&self, kid: &str) -> Broken {
        let path = self.file_of(kid);
        let text = fs::read(&path).unwrap();
        fs::write(&path, "nonsense").unwrap();
        Broken { path, text }
    }
}

/// Key file with invalid data, and its original content.
pub struct Broken {
    path: PathBuf,
    text: Vec<u8>,
}

impl Broken {
    pub fn repair(self) {
        fs::write(self.path, self.text).unwrap();
    }
}

/// Reads the passphrase in a file.
pub fn passphrase(path: &Path) -> Passphrase {
    Passphrase::from_file_to_open(path).unwrap().at(LOW_COST)
}

/// Returns the error as a line of text. Fails if there is no error, or several lines.
#[track_caller]
pub fn line<T>(outcome: Result<T, KeysError>) -> String {
    let line = outcome.err().expect("an error was expected").to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}
