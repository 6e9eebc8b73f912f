//! Invalid settings: one line with the setting, the fault and the remedy, exit code 2, and no
//! files.

use std::{ffi::OsStr, net::TcpListener, os::unix::ffi::OsStrExt as _};

use latchkey_testkit::Place;

/// Asserts that `serve` refuses these variables.
#[track_caller]
pub(super) fn refuses(settings: &[(&str, &str)], expected: &str) {
    let place = settings
        .iter()
        .fold(Place::new(), |place, (name, value)| place.with(name, value));
    assert_eq!(place.run("serve").refused(2), expected);
    assert!(
        place.files().is_empty(),
        "{settings:?} left {:?}",
        place.files()
    );
}

#[test]
fn number_out_of_range_is_refused() {
    for (name, flag, value, range) in [
        ("LATCHKEY_WORKERS", "workers", "many", "0 to 1024"),
        ("LATCHKEY_WORKERS", "workers", "-1", "0 to 1024"),
        (
            "LATCHKEY_DATABASE_POOL_SIZE",
            "database-pool-size",
            "0",
            "1 to 1000",
        ),
        (
            "LATCHKEY_BODY_LIMIT",
            "body-limit",
            "100",
            "1024 to 1048576",
        ),
        (
            "LATCHKEY_MAX_CONNECTIONS",
            "max-connections",
            "99999999999999999999",
            "1 to 1000000",
        ),
        ("LATCHKEY_HASH_QUEUE", "hash-queue", "10001", "1 to 10000"),
        (
            "LATCHKEY_ARGON2_MEMORY",
            "argon2-memory",
            "7167",
            "7168 to 262144",
        ),
    ] {
        let expected = format!(
            "{name} (--{flag}) is {value:?}, which is not valid: expected a number from {range}"
        );
        refuses(&[(name, value)], &expected);
    }
}

#[test]
fn invalid_duration_is_refused() {
    let span = "a duration such as 10s, 5m, 1d, or a number of seconds";
    for (name, flag, value, right) in [
        (
            "LATCHKEY_ACCESS_TOKEN_LIFETIME",
            "access-token-lifetime",
            "soon",
            span,
        ),
        (
            "LATCHKEY_REFRESH_REUSE_GRACE",
            "refresh-reuse-grace",
            "-1",
            span,
        ),
        (
            "LATCHKEY_ACCESS_TOKEN_LIFETIME",
            "access-token-lifetime",
            "0",
            "a duration above zero, such as 5m",
        ),
        (
            "LATCHKEY_SESSION_LIFETIME",
            "session-lifetime",
            "1500ms",
            "whole seconds, such as 300s or 5m",
        ),
        (
            "LATCHKEY_LEEWAY",
            "leeway",
            "61s",
            "whole seconds, at most 60s",
        ),
    ] {
        let expected =
            format!("{name} (--{flag}) is {value:?}, which is not valid: expected {right}");
        refuses(&[(name, value)], &expected);
    }
}

#[test]
fn unknown_choice_is_refused() {
    let algorithms =
        "one of ES256, ES384, EdDSA, RS256, RS384, RS512, PS256, PS384, PS512, HS256, HS384, HS512";
    for (name, flag, value, right) in [
        (
            "LATCHKEY_ROTATE_REFRESH_TOKENS",
            "rotate-refresh-tokens",
            "maybe",
            "one of true, false",
        ),
        ("LATCHKEY_ALGORITHM", "algorithm", "none", algorithms),
        (
            "LATCHKEY_REFRESH_REUSE_GRACE_BINDING",
            "refresh-reuse-grace-binding",
            "ip",
            "one of client, none",
        ),
        (
            "LATCHKEY_LOG_FORMAT",
            "log-format",
            "xml",
            "one of auto, json, pretty",
        ),
        (
            "LATCHKEY_ACCESS_TOKEN_TYP",
            "access-token-typ",
            "at",
            "one of at+jwt, JWT",
        ),
        (
            "LATCHKEY_BIND",
            "bind",
            "localhost",
            "an address and a port, such as 127.0.0.1:8000",
        ),
        ("LATCHKEY_ISSUER", "issuer", " ", "some text"),
        (
            "LATCHKEY_REDIS_PREFIX",
            "redis-prefix",
            "{a}",
            "letters, digits, hyphens, underscores and dots",
        ),
    ] {
        let expected =
            format!("{name} (--{flag}) is {value:?}, which is not valid: expected {right}");
        refuses(&[(name, value)], &expected);
    }
}

#[test]
fn invalid_trusted_proxies_are_refused() {
    let form = "networks such as 10.0.0.0/8,2001:db8::/32";
    for (value, right) in [
        ("nginx", form),
        ("10.0.0.0/8,", form),
        ("10.0.0.0/33", form),
        (
            "10.0.0.1/8",
            "no bits beyond the prefix: 10.0.0.0/8 instead of 10.0.0.1/8",
        ),
        (
            "0.0.0.0/0",
            "only networks of proxies: 0.0.0.0/0 contains every client",
        ),
        (
            "::/0",
            "only networks of proxies: ::/0 contains every client",
        ),
    ] {
        let expected = format!(
            "LATCHKEY_TRUSTED_PROXIES (--trusted-proxies) is {value:?}, which is not valid: expected {right}"
        );
        refuses(&[("LATCHKEY_TRUSTED_PROXIES", value)], &expected);
    }
    refuses(
        &[("LATCHKEY_FORWARDED_HEADER", "x-real-ip")],
        "LATCHKEY_FORWARDED_HEADER (--forwarded-header) is \"x-real-ip\", which is not valid: expected one of \
         forwarded, x-forwarded-for",
    );
}

#[test]
fn unknown_setting_is_refused_with_the_nearest_name() {
    for (wrong, nearest) in [
        (
            "LATCHKEY_ACESS_TOKEN_LIFETIME",
            "LATCHKEY_ACCESS_TOKEN_LIFETIME",
        ),
        (
            "LATCHKEY_ROTATE_REFRESH_TOKEN",
            "LATCHKEY_ROTATE_REFRESH_TOKENS",
        ),
        ("LATCHKEY_LOGS", "LATCHKEY_LOG"),
    ] {
        let expected = format!(
            "{wrong} is not a setting: expected a name from `latchkey serve --help`; the nearest is {nearest}"
        );
        refuses(&[(wrong, "5m")], &expected);
    }
}

#[test]
fn conflicting_settings_are_refused() {
    refuses(
        &[("LATCHKEY_ROTATE_REFRESH_TOKENS", "false")],
        "LATCHKEY_BLACKLIST_AFTER_ROTATION is true, but LATCHKEY_ROTATE_REFRESH_TOKENS is false: expected false, or LATCHKEY_ROTATE_REFRESH_TOKENS=true",
    );
    refuses(
        &[("LATCHKEY_BIND", "0.0.0.0:8000")],
        "LATCHKEY_ISSUER is missing, and LATCHKEY_BIND is not a loopback address: expected the URL under which \
         clients reach this server, such as https://auth.example.com",
    );
    refuses(
        &[
            ("LATCHKEY_ARGON2_MEMORY", "9216"),
            ("LATCHKEY_ARGON2_PASSES", "3"),
        ],
        "LATCHKEY_ARGON2_PASSES is 3 with 9216 KiB of memory, which is too weak: expected at least 1 pass with 47104 \
         KiB, 2 with 19456, 3 with 12288, 4 with 9216 or 5 with 7168",
    );
    refuses(
        &[("LATCHKEY_ACCESS_TOKEN_LIFETIME", "2d")],
        "LATCHKEY_ACCESS_TOKEN_LIFETIME is longer than LATCHKEY_REFRESH_TOKEN_LIFETIME: expected at most the value \
         of LATCHKEY_REFRESH_TOKEN_LIFETIME",
    );
    refuses(
        &[("LATCHKEY_SESSION_LIFETIME", "1h")],
        "LATCHKEY_REFRESH_TOKEN_LIFETIME is longer than LATCHKEY_SESSION_LIFETIME: expected at most the value of \
         LATCHKEY_SESSION_LIFETIME",
    );
    refuses(
        &[("LATCHKEY_KEY_PUBLISH_LEAD", "1m")],
        "LATCHKEY_KEY_PUBLISH_LEAD is too short for LATCHKEY_JWKS_MAX_AGE, so keys would sign before clients have fetched them: expected at least \
         LATCHKEY_JWKS_MAX_AGE and 5s more, in which all instances load a new key",
    );
    refuses(
        &[("LATCHKEY_KEY_ROTATION_INTERVAL", "10m")],
        "LATCHKEY_KEY_ROTATION_INTERVAL is too short for LATCHKEY_KEY_PUBLISH_LEAD or for \
         LATCHKEY_REFRESH_TOKEN_LIFETIME, so keys would pile up: expected 0, or more than LATCHKEY_KEY_PUBLISH_LEAD \
         and than a tenth of LATCHKEY_REFRESH_TOKEN_LIFETIME",
    );
    refuses(
        &[("LATCHKEY_USER_ID_CLAIM", "jti")],
        "LATCHKEY_USER_ID_CLAIM is jti, the name of another claim: expected a unique name",
    );
}

#[test]
fn conflicting_settings_are_refused_by_every_command() {
    let weak = Place::new().with("LATCHKEY_ARGON2_PASSES", "1");
    let outcome = weak.run_with_input(
        "users create ada --password-stdin",
        "correct horse battery staple",
    );
    assert!(
        outcome
            .refused(2)
            .starts_with("LATCHKEY_ARGON2_PASSES is 1 with 19456 KiB of memory"),
        "{outcome:?}"
    );
    let short = Place::new().with("LATCHKEY_SESSION_LIFETIME", "1h");
    assert!(
        short
            .run("flush-expired")
            .refused(2)
            .starts_with("LATCHKEY_REFRESH_TOKEN_LIFETIME is longer than")
    );
    assert!(weak.files().is_empty() && short.files().is_empty());
}

#[test]
fn invalid_log_filter_is_refused() {
    for filter in ["inof", "latchkey=inof", "info,debgu"] {
        let expected = format!(
            "LATCHKEY_LOG is {filter:?}, which is not a valid filter: expected a level such as info, or filters such as \
             latchkey=debug"
        );
        refuses(&[("LATCHKEY_LOG", filter)], &expected);
    }
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    let place = Place::new();
    let issuer = OsStr::from_bytes(b"https://\xff.test");
    let output = place
        .command("serve")
        .env("LATCHKEY_ISSUER", issuer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected =
        "latchkey: LATCHKEY_ISSUER holds bytes that are not UTF-8: expected text in UTF-8\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // The number of the error depends on the operating system.
    let error = TcpListener::bind(&address).unwrap_err();
    let expected = format!(
        "LATCHKEY_BIND is {address}, which is not available ({error}): expected a free address of this machine"
    );
    refuses(&[("LATCHKEY_BIND", &address)], &expected);
}

#[test]
fn malformed_dotenv_line_is_refused_without_its_text() {
    for (text, line, wrong) in [
        (
            "LATCHKEY_LOG=info\nLATCHKEY_AUDIENCE hunter2\n",
            2,
            "LATCHKEY_AUDIENCE has no = after the name: expected NAME=value",
        ),
        (
            "LATCHKEY_AUDIENCE='hunter2\n",
            1,
            "LATCHKEY_AUDIENCE has a quote that is not closed: expected the value in single quotes, such as NAME='value'",
        ),
    ] {
        let place = Place::new();
        place.write(".env", text);
        for command in ["serve", "users list", "config"] {
            let expected = format!(".env cannot be read at line {line}: {wrong}");
            assert_eq!(place.run(command).refused(2), expected);
        }
        assert_eq!(place.files(), [".env"]);
    }
    let place = Place::new();
    place.write(".env", "LATCHKEY_LGO=info\n");
    assert!(
        place
            .run("serve")
            .refused(2)
            .starts_with("LATCHKEY_LGO is not a setting")
    );
}
