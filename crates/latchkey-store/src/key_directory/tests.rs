//! Tests of the key directory: changes, revocations and concurrent access.
//!
//! The store does not parse keys, so any text serves as one.

mod files;

use std::{fs::Permissions, sync::Barrier, thread};

use chrono::TimeDelta;
use latchkey_verifier::{Algorithm, Kind};
use secrecy::SecretString;
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn directory(folder: &TempDir) -> KeyDirectory {
    KeyDirectory::new(&folder.path().join("keys"))
}

fn facts(kid: &str) -> KeyMetadata {
    let signs_from = Moment::from_timestamp(1_800_000_000, 0).unwrap();
    KeyMetadata {
        kid: kid.to_owned(),
        kind: Kind::Access,
        algorithm: Algorithm::Es256,
        signs_from,
    }
}

fn add(kid: &str) -> KeyChange {
    KeyChange::Add(facts(kid), SecretString::from(format!("the text of {kid}")))
}

/// Applies changes to the current version.
#[track_caller]
fn change(directory: &KeyDirectory, changes: &[KeyChange]) {
    assert!(
        directory
            .change_now(&directory.version_now().unwrap(), changes)
            .unwrap()
    );
}

/// Returns each key with its text.
#[track_caller]
fn keys(directory: &KeyDirectory) -> Vec<(String, String)> {
    let records = directory.read_now().unwrap();
    assert!(records.broken.is_empty(), "{:?}", records.broken);
    let pair = |key: KeyRecord| (key.facts.kid, key.text.expose_secret().to_owned());
    records.keys.into_iter().map(pair).collect()
}

fn revoked(directory: &KeyDirectory) -> Vec<String> {
    directory
        .read_now()
        .unwrap()
        .revoked
        .into_iter()
        .map(|revoked| revoked.facts.kid)
        .collect()
}

fn path(directory: &KeyDirectory, kid: &str) -> PathBuf {
    directory.path(&facts(kid), name::KEY)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(directory: &KeyDirectory) -> Vec<String> {
    let entries = fs::read_dir(&directory.0).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn missing_directory_has_no_keys_and_reading_creates_nothing() {
    let folder = folder();
    let records = directory(&folder).read_now().unwrap();
    assert!(records.keys.is_empty() && records.revoked.is_empty() && records.broken.is_empty());
    assert!(!folder.path().join("keys").exists());
}

#[test]
fn added_keys_are_ordered_and_readable_by_their_owner_only() {
    let folder = folder();
    let directory = directory(&folder);
    let later = KeyMetadata {
        signs_from: facts("a").signs_from + TimeDelta::seconds(1),
        ..facts("a-later")
    };
    let refresh = KeyMetadata {
        kind: Kind::Refresh,
        algorithm: Algorithm::Hs256,
        ..facts("-of-refresh-")
    };
    let add =
        |facts: &KeyMetadata| KeyChange::Add(facts.clone(), SecretString::from(facts.kid.clone()));
    change(&directory, &[add(&later), add(&facts("z")), add(&refresh)]);
    let records = directory.read_now().unwrap();
    let found: Vec<_> = records.keys.iter().map(|key| &key.facts).collect();
    assert_eq!(found, [&refresh, &facts("z"), &later]);
    assert!(
        records
            .keys
            .iter()
            .all(|key| key.text.expose_secret() == key.facts.kid),
        "each file keeps its own text"
    );
    assert_eq!(mode(&directory.0), 0o700);
    assert_eq!(
        names(&directory).len(),
        4,
        "three keys and the lock: {:?}",
        names(&directory)
    );
    for name in names(&directory) {
        assert_eq!(mode(&directory.0.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn rewrapped_key_has_its_new_text_and_removed_key_is_deleted() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("a"), add("b"), add("c")]);
    change(
        &directory,
        &[
            KeyChange::Rewrap(facts("a"), "another text".into()),
            KeyChange::Remove(facts("b")),
        ],
    );
    let pair = |kid: &str, text: &str| (kid.to_owned(), text.to_owned());
    assert_eq!(
        keys(&directory),
        [pair("a", "another text"), pair("c", "the text of c")]
    );
    assert_eq!(mode(&path(&directory, "a")), 0o600);
    assert!(
        revoked(&directory).is_empty(),
        "a removed key may be added again"
    );
    change(&directory, &[KeyChange::Remove(facts("b"))]);
}

#[test]
fn revocation_outlives_the_key_and_overrides_every_copy() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("a"), add("b")]);
    let copy = fs::read(path(&directory, "a")).unwrap();
    change(
        &directory,
        &[KeyChange::Revoke(facts("a"), facts("a").signs_from)],
    );
    assert!(!path(&directory, "a").exists());
    assert_eq!(
        (keys(&directory).len(), revoked(&directory)),
        (1, vec!["a".to_owned()])
    );
    let revocation = directory.path(&facts("a"), name::REVOKED);
    assert_eq!(
        (mode(&revocation), fs::metadata(&revocation).unwrap().len()),
        (0o600, 0),
        "the file is empty"
    );

    // Restored from a backup, also with another time in the name.
    fs::write(path(&directory, "a"), &copy).unwrap();
    let other_time = KeyMetadata {
        signs_from: facts("a").signs_from + TimeDelta::days(1),
        ..facts("a")
    };
    fs::write(directory.path(&other_time, name::KEY), &copy).unwrap();
    assert_eq!(
        (keys(&directory).len(), revoked(&directory)),
        (1, vec!["a".to_owned()])
    );
}

/// A directory takes the place of a file that cannot be removed, because the test may run as root.
#[test]
fn revocation_holds_if_the_file_cannot_be_removed() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("b")]);
    fs::create_dir(path(&directory, "a")).unwrap();
    let seen = directory.version_now().unwrap();
    directory
        .change_now(
            &seen,
            &[KeyChange::Revoke(facts("a"), facts("a").signs_from)],
        )
        .unwrap_err();
    assert!(path(&directory, "a").exists());
    assert_eq!(
        (keys(&directory).len(), revoked(&directory)),
        (1, vec!["a".to_owned()])
    );
}

#[test]
fn change_with_an_old_version_has_no_effect() {
    let folder = folder();
    let directory = directory(&folder);
    let empty = directory.version_now().unwrap();
    change(&directory, &[add("a")]);
    assert!(!directory.change_now(&empty, &[add("b")]).unwrap());
    let one = directory.version_now().unwrap();
    assert_eq!(
        one,
        directory.version_now().unwrap(),
        "reading changes nothing"
    );
    assert_eq!(one, directory.read_now().unwrap().version);
    // Same length, and possibly the same clock reading.
    change(
        &directory,
        &[KeyChange::Rewrap(facts("a"), "the text of A".into())],
    );
    assert!(!directory.change_now(&one, &[add("b")]).unwrap());
    let two = directory.version_now().unwrap();
    fs::set_permissions(path(&directory, "a"), Permissions::from_mode(0o640)).unwrap();
    assert!(!directory.change_now(&two, &[add("b")]).unwrap());
    assert_eq!(
        directory.read_now().unwrap().keys.len() + directory.read_now().unwrap().broken.len(),
        1
    );
}

#[test]
fn concurrent_changes_of_one_version_succeed_once() {
    let folder = folder();
    let directory = directory(&folder);
    for round in 0..10 {
        let (seen, barrier) = (directory.version_now().unwrap(), Barrier::new(8));
        let done: usize = thread::scope(|scope| {
            let change = |number| {
                let (directory, seen, barrier) = (&directory, &seen, &barrier);
                move || {
                    barrier.wait();
                    directory
                        .change_now(seen, &[add(&format!("{round}-{number}"))])
                        .unwrap()
                }
            };
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(change(number))).collect();
            threads
                .into_iter()
                .map(|thread| usize::from(thread.join().unwrap()))
                .sum()
        });
        assert_eq!((done, keys(&directory).len()), (1, round + 1));
    }
}

/// A concurrent reader sees the state before or after a change, and never an error for a file just
/// removed.
#[test]
fn concurrent_reader_never_sees_a_broken_ring() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("stays")]);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..200 {
                change(&directory, &[add("comes")]);
                change(&directory, &[KeyChange::Remove(facts("comes"))]);
            }
        });
        while !writer.is_finished() {
            assert!(keys(&directory).iter().any(|(kid, _)| kid == "stays"));
        }
    });
}
