//! A ring that is empty, a clock that stands still, and as many managers as a story needs.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::TimeDelta;
use latchkey::{
    crypto::{
        key_ring::KeyRing,
        passphrase::{Passphrase, WrappingCost},
    },
    domain::{
        audit::Actor,
        keys::{KeyMetadata, KeyState, MaxLifetimes},
        time::Moment,
    },
    ports::{AuditStore, Clock as _, KeyStore},
    service::keys::{KeyManager, KeyRules, KeysError, OpenedKeys, Rotate},
    store::key_directory::KeyDirectory,
};
use latchkey_verifier::{Algorithm, Kind};
use tempfile::TempDir;

use crate::{contract::store::Store, support::ManualClock};

pub const LEAD: TimeDelta = TimeDelta::minutes(15);
pub const INTERVAL: TimeDelta = TimeDelta::days(90);
pub const LIVES: MaxLifetimes = MaxLifetimes {
    access: TimeDelta::minutes(5),
    refresh: TimeDelta::days(1),
};

/// A low cost, for tests that encrypt many keys.
const CHEAP: WrappingCost = WrappingCost::new(10);

/// A ring of its own for one test.
pub struct Scene {
    pub clock: Arc<ManualClock>,
    pub database: Option<Store>,
    pub passphrase: Option<PathBuf>,
    pub rules: KeyRules,
    pub store: Arc<dyn KeyStore>,
    folder: TempDir,
}

impl Scene {
    /// Files that are not encrypted.
    pub fn directory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(KeyDirectory::new(&folder.path().join("keys")));
        Self::new(folder, store, None)
    }

    /// Rows that are encrypted.
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
            wrapping: CHEAP,
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

    /// From now on, keys are encrypted with this.
    pub fn encrypt(&mut self, text: &str) {
        self.passphrase = Some(self.write("passphrase", text));
    }

    /// Puts this into a file beside the keys.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Another process that changes the ring.
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

    /// A manager with other settings.
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

    /// The first keys.
    pub async fn first(&self) -> (KeyMetadata, KeyMetadata) {
        let made = self.manager().ensure().await.unwrap();
        let [access, refresh] = <[KeyMetadata; 2]>::try_from(made).unwrap();
        assert_eq!((access.kind, refresh.kind), (Kind::Access, Kind::Refresh));
        (access, refresh)
    }

    pub async fn ring(&self) -> KeyRing {
        self.manager().ring().await.unwrap()
    }

    /// All kids, sorted.
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

    /// The key that signs now.
    pub async fn signer(&self, kind: Kind) -> String {
        self.ring()
            .await
            .signer(kind, self.now())
            .unwrap()
            .kid()
            .to_owned()
    }

    /// What each key does now, access before refresh, the oldest first.
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

    /// The file of this key, whatever it is called.
    pub fn file_of(&self, kid: &str) -> PathBuf {
        let entries = fs::read_dir(self.keys())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .into_iter()
            .find(|path| path.to_str().unwrap().ends_with(&format!("{kid}.pem")))
            .unwrap()
    }

    /// What the ring would be without the file of this key, and the key again.
    pub fn break_file(&self, kid: &str) -> Broken {
        let path = self.file_of(kid);
        let text = fs::read(&path).unwrap();
        fs::write(&path, "nonsense").unwrap();
        Broken { path, text }
    }
}

/// A file that holds nonsense, for now.
pub struct Broken {
    path: PathBuf,
    text: Vec<u8>,
}

impl Broken {
    pub fn repair(self) {
        fs::write(self.path, self.text).unwrap();
    }
}

/// The passphrase in a file.
pub fn passphrase(path: &Path) -> Passphrase {
    Passphrase::from_file_to_open(path).unwrap().at(CHEAP)
}

/// The one line of an error.
#[track_caller]
pub fn line<T>(outcome: Result<T, KeysError>) -> String {
    let line = outcome.err().expect("it was not refused").to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}
