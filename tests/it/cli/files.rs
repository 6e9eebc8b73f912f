//! Files and directories that other users can change or read.

use std::os::unix::fs::chown;

use latchkey_testkit::{Outcome, PASSWORD, Place};

/// Creates a folder with a database, keys and a user.
fn started() -> Place {
    let place = Place::new();
    place.user("ada", PASSWORD);
    place.run("keys rotate").done();
    place
}

fn finding<'a>(report: &'a Outcome, verdict: &str, text: &str) -> Option<&'a str> {
    report
        .out
        .lines()
        .find(|line| line.starts_with(verdict) && line.contains(text))
}

#[test]
fn files_created_without_a_umask_are_private() {
    let place = Place::new();
    place.run_unmasked("migrate run", "").done();
    place
        .run_unmasked("users create ada --password-stdin", PASSWORD)
        .done();
    place.run_unmasked("keys rotate", "").done();
    assert_eq!((place.mode("data"), place.mode("keys")), (0o700, 0o700));
    for name in place.files() {
        assert_eq!(place.mode(&name), 0o600, "{name}");
    }
}

#[test]
fn database_that_others_can_write_is_refused_by_every_command() {
    let place = started();
    place.write("data/latchkey.db-wal", "");
    place.write("data/latchkey.db-shm", "");
    for (name, mode, back) in [
        ("data/latchkey.db", 0o666, 0o600),
        ("data/latchkey.db", 0o602, 0o600),
        ("data/latchkey.db-wal", 0o666, 0o600),
        ("data/latchkey.db-shm", 0o606, 0o600),
        ("data", 0o777, 0o700),
        ("data", 0o703, 0o700),
    ] {
        place.chmod(name, mode);
        let expected = format!(
            "LATCHKEY_DATA_DIR cannot be used: {name} has the mode {mode:04o}, so every user can change it: run chmod \
             o-w on it: expected a file and a directory that no other user can write to"
        );
        for command in ["serve", "users list", "config", "audit"] {
            assert_eq!(place.run(command).refused(2), expected, "{command}");
        }
        let report = place.run("doctor");
        assert!(
            report.code == Some(1) && finding(&report, "FAIL", &expected).is_some(),
            "{report:?}"
        );
        place.chmod(name, back);
    }
    place.run("users list").done();
    let place = place.with("DATABASE_URL", "sqlite://data/latchkey.db");
    place.chmod("data/latchkey.db", 0o666);
    assert!(
        place
            .run("users list")
            .refused(2)
            .starts_with("DATABASE_URL cannot be used: data/latchkey.db has the mode")
    );
}

/// Users cannot replace files of others in a sticky directory, such as `/tmp`.
#[test]
fn database_in_a_sticky_directory_is_accepted() {
    let place = started();
    place.chmod("data", 0o1777);
    place.run("users list").done();
}

/// Another user may create the database in a sticky directory before the service does.
#[test]
fn database_of_another_user_is_refused() {
    let place = started();
    place.chmod("data", 0o1777);
    if chown(place.path("data/latchkey.db"), Some(12345), None).is_ok() && place.user_id() != 12345
    {
        let line = place.run("users list").refused(2).to_owned();
        assert!(
            line.contains("data/latchkey.db belongs to the user 12345"),
            "{line}"
        );
    }
}

/// A sticky bit prevents others from removing files, but not from creating the file of a revoked
/// key.
#[test]
fn sticky_directory_of_keys_that_a_foreign_group_can_write_is_refused() {
    let place = started();
    if chown(place.path("keys"), None, Some(12345)).is_ok() {
        place.chmod("keys", 0o1770);
        let line = place.run("keys list").refused(2).to_owned();
        assert!(
            line.contains("a group that this user is not in can create keys in it"),
            "{line}"
        );
    }
}

#[test]
fn directory_of_a_foreign_group_is_refused() {
    let place = started();
    place.chmod("data", 0o770);
    place.chmod("keys", 0o770);
    let report = place.run("doctor");
    assert_eq!(report.code, Some(0), "{report:?}");
    for name in ["data", "keys"] {
        let text = format!("{name} has the mode 0770, so the group ");
        assert!(finding(&report, "warn", &text).is_some(), "{report:?}");
    }
    // Only root can give a directory to a group that is not its own.
    if chown(place.path("data"), None, Some(12345)).is_ok()
        && chown(place.path("keys"), None, Some(12345)).is_ok()
    {
        place.chmod("data", 0o770);
        place.chmod("keys", 0o770);
        let line = place.run("users list").refused(2).to_owned();
        assert!(
            line.contains(
                "this user is not in its group 12345, which can change it: run chmod g-w on it"
            ),
            "{line}"
        );
        let line = place.run("keys list").refused(2).to_owned();
        assert!(
            line.contains("a group that this user is not in can create keys in it"),
            "{line}"
        );
    }
}

#[test]
fn world_readable_database_fails_doctor_and_is_logged() {
    let place = started();
    place.chmod("data/latchkey.db", 0o644);
    let text = "data/latchkey.db has the mode 0644, so every user can read it: run chmod o-r on it";
    let report = place.run("doctor");
    assert!(
        report.code == Some(1) && finding(&report, "FAIL", text).is_some(),
        "{report:?}"
    );
    let log = place.serve("").log();
    assert!(log.contains(text), "{log}");
}

#[test]
fn secret_files_that_others_can_write_are_refused() {
    let place = Place::new();
    place.write(
        "secret",
        "postgres://ada:hunter2hunter2@127.0.0.1:1/latchkey\n",
    );
    for (name, mode) in [
        ("DATABASE_URL_FILE", 0o666),
        ("REDIS_URL_FILE", 0o620),
        ("REDIS_URL_FILE", 0o602),
    ] {
        place.chmod("secret", mode);
        let line = place
            .run(&format!("config --{} secret", flag(name)))
            .refused(2)
            .to_owned();
        let expected = format!(
            "{name} names secret, which has the mode {mode:04o}, so other users can write to it: run chmod go-w on it: \
             expected a file with the secret in it"
        );
        assert_eq!(line, expected);
    }
    place.write("phrase", "a passphrase of a test\n");
    place.chmod("phrase", 0o602);
    let line = place
        .run("serve --keys-passphrase-file phrase")
        .refused(2)
        .to_owned();
    assert!(
        line.starts_with("LATCHKEY_KEYS_PASSPHRASE_FILE cannot be used: phrase has the mode 0602"),
        "{line}"
    );
}

fn flag(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// Docker Swarm and Kubernetes mount secrets of root that every user can read. The service can
/// change the mode of its own files.
#[test]
fn world_readable_secret_fails_doctor_unless_root_mounted_it() {
    let place = Place::new().with("REDIS_URL_FILE", "secret");
    place.write("secret", "redis://127.0.0.1:1\n");
    place.chmod("secret", 0o444);
    let text = "secret has the mode 0444, so every user can read it";
    let verdict = if place.user_id() == 0 { "warn" } else { "FAIL" };
    let report = place.run("doctor");
    assert!(finding(&report, verdict, text).is_some(), "{report:?}");
    assert!(place.serve("").log().contains(text));
    let report = place.command_of_service("doctor").output().unwrap();
    let out = String::from_utf8(report.stdout).unwrap();
    assert!(
        out.lines()
            .any(|line| line.starts_with("FAIL") && line.contains(text)),
        "{out}"
    );
}

#[test]
fn certificates_that_others_can_write_are_refused() {
    let place = Place::new().with("REDIS_URL", "rediss://cache.example");
    let pair = rcgen::generate_simple_self_signed(vec!["cache.example".to_owned()]).unwrap();
    place.write("ca.pem", &pair.cert.pem());
    place.run("config --redis-root-certificate ca.pem").done();
    place.chmod("ca.pem", 0o666);
    let wrong = "ca.pem, which has the mode 0666, so other users can write to it";
    let line = place
        .run("config --redis-root-certificate ca.pem")
        .refused(2)
        .to_owned();
    assert!(
        line.starts_with(&format!("LATCHKEY_REDIS_ROOT_CERTIFICATE names {wrong}")),
        "{line}"
    );
    let url = "postgres://ada@127.0.0.1:1/latchkey?sslrootcert=ca.pem";
    let line = place
        .run(&format!("users list --database-url {url}"))
        .refused(2)
        .to_owned();
    assert!(
        line.contains("sslrootcert ca.pem: has the mode 0666, so other users can write to it"),
        "{line}"
    );
}
