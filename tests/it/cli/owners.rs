//! Commands of root for a service of another user: the service can read all files that they write.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    process::Command,
};

use serde_json::json;

use super::keys::kid;
use latchkey_testkit::{Outcome, PASSWORD, Place};

const SERVICE_USER: u32 = 65534;
const ED25519: &str =
    include_str!("../../../crates/latchkey-crypto/src/fixtures/ed25519_test_key.pem");

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Creates a folder of the service, which is another user if the tests run as root.
fn folder() -> Place {
    let place = Place::new();
    drop(place.command_of_service("config"));
    place
}

/// Runs a command as the user of the service, without a change of files.
fn of_service(mut command: Command) -> Command {
    if is_root() {
        command.uid(SERVICE_USER).gid(SERVICE_USER);
    }
    command
}

fn as_service(place: &Place, words: &str) -> Outcome {
    Place::outcome(of_service(place.command(words)), words, "")
}

/// Asserts that the service owns all files, and that no other user can access them.
#[track_caller]
fn belongs_to_the_service(place: &Place) {
    let owner = fs::metadata(place.path("")).unwrap();
    // The logs of servers are in the same folder.
    for name in place
        .files()
        .into_iter()
        .filter(|name| !name.starts_with("log"))
    {
        let file = fs::metadata(place.path(&name)).unwrap();
        assert_eq!(
            (file.uid(), file.gid()),
            (owner.uid(), owner.gid()),
            "{name}"
        );
        assert_eq!(file.mode() & 0o777, 0o600, "{name}");
        let above = fs::metadata(place.path(&name).parent().unwrap()).unwrap();
        assert_eq!(above.uid(), owner.uid(), "the directory of {name}");
    }
}

#[tokio::test]
async fn files_that_root_writes_belong_to_the_owner_of_their_directory() {
    let place = folder();
    place.run("keys rotate").done();
    belongs_to_the_service(&place);
    let foreign = tempfile::tempdir().unwrap();
    let path = foreign.path().join("key.pem");
    fs::write(&path, ED25519).unwrap();
    place
        .run_with_arguments("keys import", &[path.to_str().unwrap()], "")
        .done();
    place.run("migrate run").done();
    place
        .run_with_input("users create ada --password-stdin", PASSWORD)
        .done();
    belongs_to_the_service(&place);

    let server = place
        .started(of_service(place.command("serve --bind 127.0.0.1:0")))
        .listening();
    server.pair("ada", PASSWORD).await;
    // A running server has a write-ahead log.
    place
        .run_with_input("users create bob --password-stdin", PASSWORD)
        .done();
    place.run("keys rotate --use refresh").done();
    server.pair("bob", PASSWORD).await;
    let kid = kid(&place, &json!({"use": "access", "state": "signing"}));
    assert_eq!(place.run(&format!("keys revoke {kid}")).code, Some(0));
    drop(server);
    belongs_to_the_service(&place);
    as_service(&place, "keys rotate").done();
    as_service(&place, "users list").done();
    assert_eq!(as_service(&place, "keys list").code, Some(0));
}

#[test]
fn server_of_root_leaves_only_files_that_the_service_can_use() {
    let place = folder();
    drop(place.serve(""));
    belongs_to_the_service(&place);
    drop(
        place
            .started(of_service(place.command("serve --bind 127.0.0.1:0")))
            .listening(),
    );
}

#[test]
fn keys_that_their_owner_could_not_read_are_not_written() {
    let place = Place::new();
    place.run("keys rotate").done();
    let before = place.files();
    // Only root can create a directory of another user.
    if chown(place.path("keys"), Some(12345), Some(SERVICE_USER)).is_ok() && is_root() {
        place.chmod("keys", 0o770);
        place.chmod("", 0o755);
        let line = as_service(&place, "keys rotate").refused(2).to_owned();
        assert!(
            line.contains("belongs to the user '#12345'") || line.contains("cannot read it"),
            "{line}"
        );
        fs::remove_dir_all(place.path("keys")).unwrap();
        fs::create_dir(place.path("keys")).unwrap();
        chown(place.path("keys"), Some(12345), Some(SERVICE_USER)).unwrap();
        place.chmod("keys", 0o770);
        let line = as_service(&place, "keys rotate").refused(2).to_owned();
        assert!(
            line.contains("run the command with sudo -u '#12345'"),
            "{line}"
        );
        assert!(place.files().is_empty());
    } else {
        assert_eq!(place.files(), before);
    }
}

/// Older versions created such files.
#[test]
fn key_that_only_root_can_read_is_named_with_the_remedy() {
    let place = folder();
    place.run("keys rotate").done();
    let name = place
        .files()
        .into_iter()
        .find(|name| name.contains("-access-"))
        .unwrap();
    if chown(place.path(&name), Some(0), Some(0)).is_ok() {
        let outcome = as_service(&place, "keys list");
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(
            outcome
                .err
                .contains("the user nobody cannot read it: run chown nobody on it"),
            "{outcome:?}"
        );
    }
}
