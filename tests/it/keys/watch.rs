//! A process that follows the ring while it runs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use latchkey::service::{
    active_keys::ActiveKeys,
    keys::{KeysError, watch::KeyWatch},
};
use latchkey_verifier::{Kind, Policy};

use super::scene::{INTERVAL, LEAD, LIVES, Scene, line, passphrase};

/// One process: what is in force in it, and what looks after that.
struct Process {
    in_force: Arc<ActiveKeys>,
    watch: KeyWatch,
}

impl Process {
    async fn start(scene: &Scene) -> Self {
        let ring = scene.ring().await;
        let in_force =
            Arc::new(ActiveKeys::new(ring, Policy::new("https://auth.test"), 16).unwrap());
        let process = Self {
            watch: KeyWatch::new(scene.manager(), Arc::clone(&in_force)),
            in_force,
        };
        process.watch.poll().await.unwrap();
        process
    }

    /// The kids in force, sorted.
    fn kids(&self) -> Vec<String> {
        let mut kids: Vec<_> = self
            .in_force
            .current()
            .ring
            .keys()
            .map(|key| key.facts.kid.clone())
            .collect();
        kids.sort();
        kids
    }

    fn publishes(&self, kid: &str) -> bool {
        self.in_force
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
async fn what_others_change_is_in_force_after_the_next_look() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let process = Process::start(&scene).await;
    let made = scene.rotate(Kind::Access).await;
    assert!(!process.publishes(&made.kid), "it has not looked yet");
    process.watch.poll().await.unwrap();
    assert_eq!(process.kids(), scene.kids().await);
    assert!(process.publishes(&made.kid) && process.publishes(&access.kid));
    scene.manager().revoke(&access.kid).await.unwrap();
    process.watch.poll().await.unwrap();
    assert_eq!(process.kids(), scene.kids().await);
    assert!(!process.publishes(&access.kid));
}

#[tokio::test]
async fn a_broken_file_changes_nothing_until_it_is_repaired() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let process = Process::start(&scene).await;
    let kids = process.kids();
    let broken = scene.break_file(&access.kid);
    scene.write("keys/mine.pem", "another nuisance");
    for _ in 0..2 {
        let refused = line(process.watch.poll().await);
        assert!(
            refused.starts_with("LATCHKEY_KEYS_DIR: ") && refused.contains("/keys/"),
            "{refused}"
        );
        assert_eq!(process.kids(), kids);
        assert!(process.in_force.is_broken() && process.publishes(&access.kid));
    }
    broken.repair();
    fs::remove_file(scene.keys().join("mine.pem")).unwrap();
    process.watch.poll().await.unwrap();
    assert!(!process.in_force.is_broken());
    assert_eq!(process.kids(), kids);
}

#[tokio::test]
async fn a_revocation_is_in_force_whatever_else_is_wrong() {
    let mut scene = Scene::directory();
    scene.encrypt("the passphrase of a test");
    let (access, refresh) = scene.first().await;
    let made = scene.rotate(Kind::Access).await;
    let process = Process::start(&scene).await;

    // Another key is broken.
    let broken = scene.break_file(&refresh.kid);
    scene.manager().revoke(&access.kid).await.unwrap();
    assert!(matches!(
        process.watch.poll().await,
        Err(KeysError::Broken(..))
    ));
    let mut left = vec![refresh.kid.clone(), made.kid.clone()];
    left.sort();
    assert_eq!(process.kids(), left);
    broken.repair();
    process.watch.poll().await.unwrap();

    // The passphrase is away.
    fs::remove_file(scene.passphrase.as_ref().unwrap()).unwrap();
    scene.manager().revoke(&made.kid).await.unwrap();
    let refused = line(process.watch.poll().await);
    assert!(
        refused.starts_with("LATCHKEY_KEYS_PASSPHRASE_FILE: ")
            && refused.contains("cannot be read"),
        "{refused}"
    );
    assert!(process.in_force.is_broken());
    assert_eq!(process.kids(), [refresh.kid]);
}

#[tokio::test]
async fn an_emptied_or_vanished_directory_takes_no_key_away() {
    let scene = Scene::directory();
    let (_, refresh) = scene.first().await;
    let process = Process::start(&scene).await;
    let kids = process.kids();
    let aside = scene.keys().with_extension("aside");
    fs::rename(scene.file_of(&refresh.kid), &aside).unwrap();
    assert!(
        line(process.watch.poll().await)
            .contains("there is no key to sign with: put the keys back")
    );
    assert_eq!(process.kids(), kids);
    fs::remove_dir_all(scene.keys()).unwrap();
    assert!(line(process.watch.poll().await).contains("there is no key to sign with"));
    assert_eq!((process.kids(), process.in_force.is_broken()), (kids, true));
}

#[tokio::test]
async fn a_directory_that_everybody_can_write_to_is_not_followed() {
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
async fn a_new_passphrase_is_taken_over_when_its_file_is_exchanged() {
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
        line(process.watch.poll().await)
            .contains("cannot be decrypted with the passphrase that was given")
    );
    assert_eq!(process.kids(), kids);
    // As a secret manager does it: another file under the same name.
    fs::rename(&new, scene.passphrase.as_ref().unwrap()).unwrap();
    process.watch.poll().await.unwrap();
    assert_eq!(
        (process.kids(), process.in_force.is_broken()),
        (kids, false)
    );
    let made = scene.rotate(Kind::Access).await;
    process.watch.poll().await.unwrap();
    assert!(process.publishes(&made.kid));
}

#[tokio::test]
async fn what_is_due_is_made_and_removed_by_the_processes_themselves_once() {
    let scene = Scene::directory();
    let (access, _) = scene.first().await;
    let processes = [Process::start(&scene).await, Process::start(&scene).await];
    let look = async || {
        for process in processes.iter().chain(&processes) {
            process.watch.poll().await.unwrap();
            process.watch.keep().await.unwrap();
            process.watch.poll().await.unwrap();
        }
    };
    look().await;
    assert_eq!(scene.kids().await.len(), 2);
    scene.advance(INTERVAL - LEAD + TimeDelta::seconds(1));
    look().await;
    assert_eq!(
        scene.states().await,
        ["signing", "published", "signing", "published"]
    );
    assert!(
        processes.iter().all(|process| process.kids().len() == 4),
        "and all have it long before it signs"
    );
    scene.advance(LEAD + LIVES.refresh + TimeDelta::days(1) + TimeDelta::minutes(3));
    look().await;
    assert_eq!(scene.states().await, ["signing", "signing"]);
    assert!(
        processes
            .iter()
            .all(|process| process.kids().len() == 2 && !process.publishes(&access.kid))
    );
}
