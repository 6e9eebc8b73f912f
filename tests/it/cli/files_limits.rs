//! Endless files, pipes and devices are refused at once, in one line, for every use.

use std::{
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use latchkey_testkit::Place;

/// Creates a folder with a pipe without a writer, and a file that exceeds every limit.
fn prepared() -> Place {
    let place = Place::new();
    assert!(
        Command::new("mkfifo")
            .arg(place.path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    place.write("long", &"x".repeat(5 * 1024 * 1024));
    place
}

#[track_caller]
fn refuses(place: &Place, words: &str, expected: &str) {
    let outcome = place.run(words);
    assert!(
        matches!(outcome.code, Some(1 | 2)) && outcome.out.is_empty(),
        "{words}: {outcome:?}"
    );
    assert!(
        outcome.err.contains(expected) && outcome.err.lines().count() == 1,
        "{words}: {outcome:?}"
    );
}

#[test]
fn pipe_or_device_in_place_of_a_file_is_refused() {
    let place = prepared();
    for path in ["pipe", "/dev/zero"] {
        for words in [
            "config --database-url-file PATH",
            "config --redis-url-file PATH",
            "serve --redis-url rediss://cache.example --redis-root-certificate PATH",
            "users list --database-url postgres://ada@127.0.0.1:1/x?sslrootcert=PATH",
            "keys import PATH",
            "keys import PATH --as HS256",
            "keys rewrap --new-passphrase-file PATH",
            "serve --keys-passphrase-file PATH",
            "keys rotate --keys-passphrase-file PATH",
        ] {
            refuses(
                &place,
                &words.replace("PATH", path),
                "is not a regular file",
            );
        }
    }
}

#[test]
fn oversized_file_is_refused_before_it_is_read() {
    let place = prepared();
    for (words, limit) in [
        (
            "config --database-url-file long",
            "holds more than 16384 bytes",
        ),
        (
            "config --redis-url-file long",
            "holds more than 16384 bytes",
        ),
        (
            "serve --redis-url rediss://x --redis-root-certificate long",
            "holds more than 4194304 bytes",
        ),
        (
            "users list --database-url postgres://a@127.0.0.1:1/x?sslrootcert=long",
            "holds more than 4194304 bytes",
        ),
        (
            "keys import long",
            "holds more than 65536 bytes, so it is not a key",
        ),
        (
            "keys import long --as HS256",
            "holds more than 65536 bytes, so it is not a key",
        ),
        (
            "keys rewrap --new-passphrase-file long",
            "holds more than 4096 bytes",
        ),
    ] {
        refuses(&place, words, limit);
    }
}

#[test]
fn endless_password_on_standard_input_is_refused() {
    let place = Place::new();
    let mut command = place.command("users create ada --password-stdin");
    let input = std::fs::File::open("/dev/zero").unwrap();
    let output = command.stdin(Stdio::from(input)).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        error,
        "latchkey: the password cannot be read: standard input holds more than 1024 bytes\n"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(place.files().is_empty());
}

#[test]
fn key_file_that_is_a_pipe_or_oversized_stops_the_start() {
    let place = Place::new();
    place.run("keys rotate").done();
    let name = place
        .files()
        .into_iter()
        .find(|name| name.contains("-access-"))
        .unwrap();
    let text = std::fs::read_to_string(place.path(&name)).unwrap();
    place.write(&name, &format!("{text}{}", "#".repeat(16 * 1024)));
    refuses(&place, "serve", "holds more than 16384 bytes");
    std::fs::remove_file(place.path(&name)).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(place.path(&name))
            .status()
            .unwrap()
            .success()
    );
    refuses(&place, "serve", "is not a file");
}

/// Without the file, the lifetimes of the settings apply.
#[test]
fn endless_file_of_token_lifetimes_is_ignored() {
    let place = Place::new();
    place.run("keys rotate").done();
    let path = place.path("keys/.lives");
    let _ = std::fs::remove_file(&path);
    symlink("/dev/zero", &path).unwrap();
    place.run("keys list").done();
    std::fs::remove_file(&path).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    place.run("keys list").done();
}
