//! Secrets that Docker and Kubernetes mount: files of root, behind links, in a world-writable
//! directory.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use latchkey_testkit::{Outcome, Place};

const PASSPHRASE: &str = "3Vp6mVwG1rY0q7Jr4l7E2wXk\n";
const URL: &str = "rediss://127.0.0.1:1/3";

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

fn certificate() -> String {
    rcgen::generate_simple_self_signed(vec!["cache.example".to_owned()])
        .unwrap()
        .cert
        .pem()
}

/// Writes a volume of secrets as the kubelet does: `..data` is a link to the current version, and
/// each file a link into `..data`.
fn volume(place: &Place, mode: u32, group: u32) {
    let folder = place.path("secrets");
    for (name, text) in [
        ("passphrase", PASSPHRASE),
        ("url", URL),
        ("ca.pem", &certificate()),
    ] {
        let path = place.write(&format!("secrets/..2026_01_31/{name}"), text);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let _ = chown(&path, None, Some(group));
        let _ = fs::remove_file(folder.join(name));
        symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
    let _ = fs::remove_file(folder.join("..data"));
    symlink("..2026_01_31", folder.join("..data")).unwrap();
    place.chmod("secrets", 0o1777);
}

fn with_volume() -> Place {
    Place::new()
        .with("LATCHKEY_KEYS_PASSPHRASE_FILE", "secrets/passphrase")
        .with("LATCHKEY_REDIS_ROOT_CERTIFICATE", "secrets/ca.pem")
        .with("REDIS_URL_FILE", "secrets/url")
}

/// Runs a command as the user of the service, who owns the folder but not the files in the volume.
fn as_service(place: &Place, words: &str) -> Outcome {
    Place::outcome(place.command_of_service(words), words, "")
}

#[test]
fn mounted_secret_that_others_can_read_is_accepted() {
    // This user could change the mode of its own file, so only root can create a mounted one.
    let modes = if is_root() {
        &[0o444, 0o440, 0o644, 0o400][..]
    } else {
        &[0o440, 0o400]
    };
    for mode in modes {
        let place = with_volume();
        let mut command = place.command_of_service("config");
        // The group of the service: `fsGroup` of Kubernetes.
        volume(&place, *mode, 65534);
        if *mode == 0o400 {
            // A file that the service owns.
            command = place.command_of_service("config");
        }
        let outcome = Place::outcome(command, "config", "");
        assert!(
            outcome
                .done()
                .contains(&format!("REDIS_URL is not set: {URL} is used")),
            "{mode:o}: {outcome:?}"
        );
        if *mode == 0o444 {
            let mut command = place.command("keys rotate");
            command.uid(65534).gid(65534);
            Place::outcome(command, "keys rotate", "").done();
        }
    }
}

#[test]
fn exposed_secret_is_refused_with_the_remedy() {
    let place = with_volume();
    volume(&place, 0o444, 65534);
    // The files belong to the service, which can change the mode.
    let line = as_service(&place, "keys rotate").refused(2).to_owned();
    assert!(
        line.contains("has the mode 0444, so every user can read it: run chmod o-rwx on it"),
        "{line}"
    );

    for (mode, words) in [(0o446, "config"), (0o464, "config"), (0o666, "config")] {
        let place = with_volume();
        let command = place.command_of_service(words);
        volume(&place, mode, 12345);
        let line = Place::outcome(command, words, "").refused(2).to_owned();
        assert!(line.contains("write") || line.contains("change"), "{line}");
        let remedy = if is_root() {
            "mount it with a mode such as 0440"
        } else {
            "run chmod"
        };
        assert!(line.contains(remedy), "{mode:o}: {line}");
    }
}

/// Runs a command in a folder with a read-only tmpfs `secrets` that holds the keys of the folder.
fn with_mounted_keys(place: &Place, words: &str) -> Outcome {
    let mount = if can_mount() {
        [
            "mount -t tmpfs -o mode=1777 tmpfs secrets",
            "mount -o remount,ro secrets",
        ]
    } else {
        [":"; 2]
    };
    let user = if is_root() {
        "setpriv --reuid=65534 --regid=65534 --clear-groups"
    } else {
        ""
    };
    let script = format!(
        "set -e; {}; chmod 1777 secrets; mkdir secrets/..1; cp keys/*.pem secrets/..1; chmod 444 secrets/..1/*; \
         ln -s ..1 secrets/..data; for file in secrets/..1/*; do ln -s ..data/${{file##*/}} secrets/; done; {}; \
         exec {user} \"$0\" {words}",
        mount[0], mount[1],
    );
    let latchkey = place.command("");
    fs::create_dir_all(place.path("secrets")).unwrap();
    let mut command = Command::new(if can_mount() { "unshare" } else { "env" });
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(place.path(""));
    if can_mount() {
        command
            .arg(if is_root() {
                "--mount"
            } else {
                "--map-root-user"
            })
            .args(if is_root() { None } else { Some("--mount") });
    }
    command
        .args(["sh", "-c", &script])
        .arg(latchkey.get_program());
    Place::outcome(command, words, "")
}

fn can_mount() -> bool {
    let flags: &[&str] = if is_root() {
        &["--mount"]
    } else {
        &["--map-root-user", "--mount"]
    };
    let outcome = Command::new("unshare")
        .args(flags)
        .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    outcome.is_ok_and(|output| output.status.success())
}

#[test]
fn keys_in_a_read_only_mount_are_read() {
    let place = Place::new();
    place.run("keys rotate").done();
    place.run("keys rotate --use refresh").done();
    let kids = |outcome: &Outcome| {
        let keys: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        keys.as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].clone())
            .collect::<Vec<_>>()
    };
    let expected = kids(&place.run("keys list --json"));
    // The service must be able to enter the folder.
    place.chmod("", 0o755);
    let outcome = with_mounted_keys(&place, "keys list --json --keys-dir secrets");
    if can_mount() {
        assert_eq!(
            (outcome.code, kids(&outcome)),
            (Some(0), expected),
            "{outcome:?}"
        );
    } else {
        assert!(
            outcome
                .refused(2)
                .contains("every user can create keys in it: "),
            "{outcome:?}"
        );
    }
}

#[test]
fn world_writable_key_directory_is_refused_with_the_remedy() {
    let place = Place::new();
    place.run("keys rotate").done();
    place.chmod("keys", 0o1777);
    let line = place.run("keys list").refused(2).to_owned();
    assert!(
        line.contains("every user can create keys in it: run chmod o-w on it"),
        "{line}"
    );
    if is_root() {
        chown(place.path("keys"), Some(65534), Some(65534)).unwrap();
    }
    let outcome = as_service(&place, "keys list");
    assert!(
        outcome.refused(2).contains("run chmod o-w on it"),
        "{outcome:?}"
    );
    if is_root() {
        chown(place.path("keys"), Some(0), Some(0)).unwrap();
        let mut command = place.command("keys list");
        command.uid(65534);
        let line = Place::outcome(command, "keys list", "")
            .refused(2)
            .to_owned();
        assert!(
            line.contains("every user can create keys in it: mount it read-only, or ask its owner"),
            "{line}"
        );
    }
}
