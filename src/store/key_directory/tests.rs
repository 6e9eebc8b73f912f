//! The directory: what goes round, and that nobody overwrites what another did.
//! It never looks into a key, so any text will do for one.

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

/// Changes the ring as it is now.
#[track_caller]
fn change(directory: &KeyDirectory, changes: &[KeyChange]) {
    assert!(
        directory
            .change_now(&directory.version_now().unwrap(), changes)
            .unwrap()
    );
}

/// Each key and its text.
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
        .map(|dead| dead.facts.kid)
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
fn a_directory_that_does_not_exist_has_no_keys_and_looking_makes_none() {
    let folder = folder();
    let records = directory(&folder).read_now().unwrap();
    assert!(records.keys.is_empty() && records.revoked.is_empty() && records.broken.is_empty());
    assert!(!folder.path().join("keys").exists());
}

#[test]
fn what_was_added_is_there_in_order_and_can_be_read_by_its_owner_alone() {
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
        "each has its own text"
    );
    assert_eq!(mode(&directory.0), 0o700);
    assert_eq!(
        names(&directory).len(),
        4,
        "and the lock: {:?}",
        names(&directory)
    );
    for name in names(&directory) {
        assert_eq!(mode(&directory.0.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn what_was_wrapped_anew_or_removed_is_so() {
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
        "who is removed may come back"
    );
    change(&directory, &[KeyChange::Remove(facts("b"))]);
}

#[test]
fn of_a_revoked_key_only_the_mark_stays_and_it_beats_every_copy() {
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
    let mark = directory.path(&facts("a"), name::REVOKED);
    assert_eq!(
        (mode(&mark), fs::metadata(&mark).unwrap().len()),
        (0o600, 0),
        "it holds nothing"
    );

    // Out of a backup, also under another time.
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

/// A directory stands in for what cannot be removed, for a test that may run as root.
#[test]
fn a_revocation_that_could_not_remove_the_file_is_one_all_the_same() {
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
fn who_has_seen_an_older_ring_changes_nothing() {
    let folder = folder();
    let directory = directory(&folder);
    let empty = directory.version_now().unwrap();
    change(&directory, &[add("a")]);
    assert!(!directory.change_now(&empty, &[add("b")]).unwrap());
    let one = directory.version_now().unwrap();
    assert_eq!(
        one,
        directory.version_now().unwrap(),
        "to look changes nothing"
    );
    assert_eq!(one, directory.read_now().unwrap().version);
    // The same length, and a clock that may not have moved.
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
fn of_eight_who_have_seen_the_same_ring_one_changes_it() {
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

/// Who reads while others write sees the ring before or after, and never a file that is just gone.
#[test]
fn who_looks_while_keys_come_and_go_never_sees_a_broken_ring() {
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
