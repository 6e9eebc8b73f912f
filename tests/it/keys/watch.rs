//! Updates of the active keys in a running process.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use latchkey_service::{
    ActiveKeys,
    keys::{KeysError, watch::KeyWatch},
};
use latchkey_verifier::{Kind, Policy};

use super::scene::{INTERVAL, LEAD, LIVES, Scene, line, passphrase};

/// Active keys of one process, and their watcher.
struct Process {
    active: Arc<ActiveKeys>,
    watch: KeyWatch,
}

impl Process {
    async fn start(scene: &Scene) -> Self {
        let ring = scene.ring().await;
        let active = Arc::new(ActiveKeys::new(ring, Policy::new("https://auth.test"), 16).unwrap());
        let process = Self {
            watch: KeyWatch::new(scene.manager(), Arc::clone(&active)),
            active,
        };
        process.watch.poll().await.unwrap();
        process
    }

    /// Returns the ids of the active keys, sorted.
    fn kids(&self) -> Vec<String> {
        let mut kids: Vec<_> = self
            .active
            .current()
            .ring
            .keys()
            .map(|key| key.facts.kid.clone())
            .collect();
        kids.sort();
        kids
    }

    fn publishes(&self, kid: &str) -> bool {
        self.active
            .current()
            .published
            .body
            .windows(kid.len())
            .any(|part| part == kid.as_bytes())
    }
}

fn chmod(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn changes_by_others_are_active_after_the_next_poll() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let process = Process::start(&scene).await;
    let created = scene.rotate(Kind::Access).await;
    assert!(
        !process.publishes(&created.kid),
        "the process has not polled yet"
    );
    process.watch.poll().await.unwrap();
    assert_eq!(process.kids(), scene.kids().await);
    assert!(process.publishes(&created.kid) && process.publishes(&access.kid));
    scene.manager().revoke(&access.kid).await.unwrap();
    process.watch.poll().await.unwrap();
    assert_eq!(process.kids(), scene.kids().await);
    assert!(!process.publishes(&access.kid));
}

#[tokio::test]
async fn broken_file_keeps_the_active_keys() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let process = Process::start(&scene).await;
    let kids = process.kids();
    let broken = scene.break_file(&access.kid);
    scene.write("keys/mine.pem", "another invalid file");
    for _ in 0..2 {
        let refused = line(process.watch.poll().await);
        assert!(
            refused.starts_with("LATCHKEY_KEYS_DIR: ") && refused.contains("/keys/"),
            "{refused}"
        );
        assert_eq!(process.kids(), kids);
        assert!(process.active.is_broken() && process.publishes(&access.kid));
    }
    broken.repair();
    fs::remove_file(scene.keys().join("mine.pem")).unwrap();
    process.watch.poll().await.unwrap();
    assert!(!process.active.is_broken());
    assert_eq!(process.kids(), kids);
}

#[tokio::test]
async fn revocation_is_active_despite_other_faults() {
    let mut scene = Scene::directory();
    scene.encrypt("the passphrase of a test");
    let (access, refresh) = scene.first().await;
    let created = scene.rotate(Kind::Access).await;
    let process = Process::start(&scene).await;

    // Another key file is invalid.
    let broken = scene.break_file(&refresh.kid);
    scene.manager().revoke(&access.kid).await.unwrap();
    assert!(matches!(
        process.watch.poll().await,
        Err(KeysError::Broken(..))
    ));
    let mut left = vec![refresh.kid.clone(), created.kid.clone()];
    left.sort();
    assert_eq!(process.kids(), left);
    broken.repair();
    process.watch.poll().await.unwrap();

    // The passphrase file does not exist.
    fs::remove_file(scene.passphrase.as_ref().unwrap()).unwrap();
    scene.manager().revoke(&created.kid).await.unwrap();
    let refused = line(process.watch.poll().await);
    assert!(
        refused.starts_with("LATCHKEY_KEYS_PASSPHRASE_FILE: ")
            && refused.contains("cannot be read"),
        "{refused}"
    );
    assert!(process.active.is_broken());
    assert_eq!(process.kids(), [refresh.kid]);
}

#[tokio::test]
async fn empty_or_missing_directory_keeps_the_active_keys() {
    let scene = Scene::directory();
    let (_, refresh) = scene.first().await;
    let process = Process::start(&scene).await;
    let kids = process.kids();
    let aside = scene.keys().with_extension("aside");
    fs::rename(scene.file_of(&refresh.kid), &aside).unwrap();
    assert!(line(process.watch.poll().await).contains("no signing key: restore the keys"));
    assert_eq!(process.kids(), kids);
    fs::remove_dir_all(scene.keys()).unwrap();
    assert!(line(process.watch.poll().await).contains("no signing key"));
    assert_eq!((process.kids(), process.active.is_broken()), (kids, true));
}

#[tokio::test]
async fn world_writable_directory_is_refused() {
    let scene = Scene::directory();
    scene.first().await;
    let process = Process::start(&scene).await;
    let kids = process.kids();
    scene.rotate(Kind::Access).await;
    chmod(&scene.keys(), 0o777);
    let refused = line(process.watch.poll().await);
    assert!(
        refused.starts_with("LATCHKEY_KEYS_DIR: ") && refused.contains("run chmod o-w"),
        "{refused}"
    );
    assert_eq!(process.kids(), kids);
    chmod(&scene.keys(), 0o700);
    process.watch.poll().await.unwrap();
    assert_eq!(process.kids(), scene.kids().await);
}

#[tokio::test]
async fn replaced_passphrase_file_is_read() {
    let mut scene = Scene::directory();
    scene.encrypt("the first passphrase");
    scene.first().await;
    let process = Process::start(&scene).await;
    let kids = process.kids();
    let new: PathBuf = scene.write("new", "the second passphrase");
    scene
        .manager()
        .rewrap(Some(&passphrase(&new)))
        .await
        .unwrap();
    assert!(
        line(process.watch.poll().await).contains("cannot be decrypted: the passphrase is wrong")
    );
    assert_eq!(process.kids(), kids);
    // Secret managers also replace the file.
    fs::rename(&new, scene.passphrase.as_ref().unwrap()).unwrap();
    process.watch.poll().await.unwrap();
    assert_eq!((process.kids(), process.active.is_broken()), (kids, false));
    let created = scene.rotate(Kind::Access).await;
    process.watch.poll().await.unwrap();
    assert!(process.publishes(&created.kid));
}

#[tokio::test]
async fn processes_rotate_and_prune_due_keys_once() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let processes = [Process::start(&scene).await, Process::start(&scene).await];
    let poll_all = async || {
        for process in processes.iter().chain(&processes) {
            process.watch.poll().await.unwrap();
            process.watch.keep().await.unwrap();
            process.watch.poll().await.unwrap();
        }
    };
    poll_all().await;
    assert_eq!(scene.kids().await.len(), 2);
    scene.advance(INTERVAL - LEAD + TimeDelta::seconds(1));
    poll_all().await;
    assert_eq!(
        scene.states().await,
        ["signing", "published", "signing", "published"]
    );
    assert!(
        processes.iter().all(|process| process.kids().len() == 4),
        "every process has the new keys before they sign"
    );
    scene.advance(LEAD + LIVES.refresh + TimeDelta::days(1) + TimeDelta::minutes(3));
    poll_all().await;
    assert_eq!(scene.states().await, ["signing", "signing"]);
    assert!(
        processes
            .iter()
            .all(|process| process.kids().len() == 2 && !process.publishes(&access.kid))
    );
}
