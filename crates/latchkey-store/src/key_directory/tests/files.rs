//! Tests of single files: ignored files, modes, links, names and contents.

use std::os::unix::fs::symlink;

use super::*;

/// Returns the only error line.
#[track_caller]
fn only_fault(directory: &KeyDirectory) -> String {
    let [line] = &directory.read_now().unwrap().broken[..] else {
        panic!("not one line")
    };
    assert!(
        line.starts_with(directory.0.to_str().unwrap()) && line.lines().count() == 1,
        "{line}"
    );
    line.clone()
}

/// Creates a file as an operator might.
fn plant(directory: &KeyDirectory, name: &str, mode: u32) -> PathBuf {
    fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join(name);
    fs::write(&path, "planted").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn files_other_than_keys_are_ignored() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("a")]);
    let version = directory.version_now().unwrap();
    for name in [
        ".lock",
        "README",
        "20270115T080000Z-access-ES256-x.draft",
        "key.pem.bak",
    ] {
        plant(&directory, name, 0o644);
    }
    assert_eq!(
        (keys(&directory).len(), directory.version_now().unwrap()),
        (1, version)
    );
}

#[test]
fn abandoned_draft_is_replaced() {
    let folder = folder();
    let directory = directory(&folder);
    let draft = path(&directory, "a").with_extension("draft");
    plant(
        &directory,
        draft.file_name().unwrap().to_str().unwrap(),
        0o644,
    );
    change(&directory, &[add("a")]);
    assert_eq!(
        keys(&directory),
        [("a".to_owned(), "the text of a".to_owned())]
    );
    assert!(!draft.exists());
    assert_eq!(mode(&path(&directory, "a")), 0o600);
}

#[test]
fn key_readable_by_others_is_refused_with_the_remedy() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("a"), add("b")]);
    let path = path(&directory, "a");
    for mode in [0o644, 0o640, 0o604, 0o660, 0o610, 0o601, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let (line, shown) = (only_fault(&directory), path.display());
        let expected = format!(
            "{shown}: the mode is {mode:04o}, so others can read the key: run chmod 600 {shown}"
        );
        assert_eq!(line, expected);
        assert_eq!(
            directory.read_now().unwrap().keys.len(),
            1,
            "the other key is unaffected"
        );
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(keys(&directory).len(), 2, "{mode:o}");
    }
}

#[test]
fn link_is_treated_like_its_target() {
    let (elsewhere, folder) = (folder(), folder());
    let (behind, directory) = (directory(&elsewhere), directory(&folder));
    change(&behind, &[add("a")]);
    fs::create_dir(&directory.0).unwrap();
    symlink(path(&behind, "a"), path(&directory, "a")).unwrap();
    assert_eq!(keys(&directory).len(), 1);
    let version = directory.version_now().unwrap();
    change(&behind, &[KeyChange::Rewrap(facts("a"), "another".into())]);
    assert_ne!(
        directory.version_now().unwrap(),
        version,
        "a change of the target is a change"
    );
    fs::set_permissions(path(&behind, "a"), Permissions::from_mode(0o644)).unwrap();
    assert!(only_fault(&directory).contains("chmod 600"));
    fs::remove_file(path(&behind, "a")).unwrap();
    assert!(
        only_fault(&directory).contains("No such file"),
        "the link is dangling"
    );
}

#[test]
fn malformed_name_is_refused() {
    for name in [
        "key.pem",
        "key.revoked",
        "20270115T080000Z-access-ES256.pem",
        "20270115T080000Z-access-none-x.pem",
        "20270115T080000Z-access-es256-x.pem",
        "20270115T080000Z-reset-HS256-x.pem",
        "20270115T080000Z-refresh-ES256-x.pem",
        "20270115T080000Z-refresh-HS512-x.pem",
        "20271315T080000Z-access-ES256-x.pem",
        "2027-01-15T08:00:00Z-access-ES256-x.pem",
        "20270115T080000Z-access-ES256-x.pem.revoked",
        "20270115T080000Z-access-ES256-.pem",
    ] {
        let folder = folder();
        let directory = directory(&folder);
        plant(&directory, name, 0o600);
        assert!(
            only_fault(&directory).contains("the name is not TIME-access-ALGORITHM-KID.pem"),
            "{name}"
        );
    }
}

#[test]
fn name_round_trips_with_any_hyphens_in_the_kid() {
    for kid in ["a", "-", "--", "-a-b-", "a_b-c", "access-ES256-x"] {
        let facts = facts(kid);
        assert_eq!(
            name::parse(Path::new(&name::of(&facts, name::KEY))),
            Some(facts.clone())
        );
        assert_eq!(
            name::parse(Path::new(&name::of(&facts, name::REVOKED))),
            Some(facts)
        );
    }
}

#[test]
fn world_writable_directory_is_refused() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("a")]);
    for (mode, good) in [
        (0o777, false),
        (0o1777, false),
        (0o702, false),
        (0o755, true),
        (0o770, true),
        (0o700, true),
    ] {
        fs::set_permissions(&directory.0, Permissions::from_mode(mode)).unwrap();
        let read = directory.read_now();
        assert_eq!(
            (read.is_ok(), directory.version_now().is_ok()),
            (good, good),
            "{mode:o}"
        );
        if let Err(error) = read {
            let line = error.to_string();
            assert!(
                line.contains("run chmod o-w") && line.starts_with(directory.0.to_str().unwrap()),
                "{line}"
            );
        }
    }
}

#[test]
fn wrong_file_type_of_a_key_or_the_directory_is_an_error() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("b")]);
    fs::create_dir(path(&directory, "a")).unwrap();
    fs::set_permissions(path(&directory, "a"), Permissions::from_mode(0o700)).unwrap();
    assert!(only_fault(&directory).contains("is not a file"));

    let file = KeyDirectory::new(&path(&directory, "b"));
    let line = file.read_now().unwrap_err().to_string();
    assert!(line.contains("Not a directory"), "{line}");
    assert!(file.change_now("", &[add("c")]).is_err());
}

#[test]
fn non_text_key_is_read_as_empty_and_oversized_one_is_an_error() {
    let folder = folder();
    let directory = directory(&folder);
    change(&directory, &[add("a")]);
    fs::write(path(&directory, "a"), b"\xff\xfe").unwrap();
    assert_eq!(keys(&directory), [("a".to_owned(), String::new())]);
    fs::write(path(&directory, "a"), "x".repeat(1_000_000)).unwrap();
    assert!(only_fault(&directory).contains("holds more than 16384 bytes"));
}
