//! Settings that are wrong: one line that names the setting, what is wrong and what would be right, exit code 2, and
//! nothing is made.

use std::{ffi::OsStr, net::TcpListener, os::unix::ffi::OsStrExt as _};

use crate::support::Place;

/// What `serve` says when these variables are set.
#[track_caller]
fn refuses(settings: &[(&str, &str)], expected: &str) {
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
fn numbers_out_of_range() {
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
            "{name} (--{flag}) is {value:?}, which cannot be used: expected a number from {range}"
        );
        refuses(&[(name, value)], &expected);
    }
}

#[test]
fn spans_of_time_that_are_none() {
    let span = "a span of time such as 10s, 5m, 1d, or a number of seconds";
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
            "more than no time, such as 5m",
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
            format!("{name} (--{flag}) is {value:?}, which cannot be used: expected {right}");
        refuses(&[(name, value)], &expected);
    }
}

#[test]
fn words_that_are_not_among_the_possible_ones() {
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
            format!("{name} (--{flag}) is {value:?}, which cannot be used: expected {right}");
        refuses(&[(name, value)], &expected);
    }
}

#[test]
fn trusted_proxies_that_are_not_networks_or_are_every_client_are_refused() {
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
            "LATCHKEY_TRUSTED_PROXIES (--trusted-proxies) is {value:?}, which cannot be used: expected {right}"
        );
        refuses(&[("LATCHKEY_TRUSTED_PROXIES", value)], &expected);
    }
    refuses(
        &[("LATCHKEY_FORWARDED_HEADER", "x-real-ip")],
        "LATCHKEY_FORWARDED_HEADER (--forwarded-header) is \"x-real-ip\", which cannot be used: expected one of \
         forwarded, x-forwarded-for",
    );
}

#[test]
fn a_name_that_is_no_setting_with_the_nearest_one() {
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
fn settings_that_contradict_each_other() {
    refuses(
        &[("LATCHKEY_ROTATE_REFRESH_TOKENS", "false")],
        "LATCHKEY_BLACKLIST_AFTER_ROTATION is on, but LATCHKEY_ROTATE_REFRESH_TOKENS is off, so nothing is ever \
         rotated: expected false, or LATCHKEY_ROTATE_REFRESH_TOKENS=true",
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
        "LATCHKEY_KEY_PUBLISH_LEAD is not longer than LATCHKEY_JWKS_MAX_AGE, so clients would meet a key that they have \
         not seen: expected at least LATCHKEY_JWKS_MAX_AGE and 5s more, in which every instance notices a new key",
    );
    refuses(
        &[("LATCHKEY_KEY_ROTATION_INTERVAL", "10m")],
        "LATCHKEY_KEY_ROTATION_INTERVAL is too short for LATCHKEY_KEY_PUBLISH_LEAD or for \
         LATCHKEY_REFRESH_TOKEN_LIFETIME, so keys would pile up: expected 0, or more than LATCHKEY_KEY_PUBLISH_LEAD \
         and than a tenth of LATCHKEY_REFRESH_TOKEN_LIFETIME",
    );
    refuses(
        &[("LATCHKEY_USER_ID_CLAIM", "jti")],
        "LATCHKEY_USER_ID_CLAIM is jti, which another claim is called: expected a name of its own",
    );
}

#[test]
fn contradictions_are_found_by_commands_that_only_use_some_settings() {
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
fn urls_of_neither_database() {
    let database = "DATABASE_URL is not the URL of a database: expected ";
    let schemes =
        "postgres://USER:PASSWORD@HOST/DATABASE or sqlite://PATH (with ?mode=rwc to make the file)";
    for url in [
        "mysql://root@localhost/latchkey",
        "latchkey.db",
        "sqlite://",
        " ",
    ] {
        refuses(&[("DATABASE_URL", url)], &format!("{database}{schemes}"));
    }
    let driver = "port to be a number from 1 to 65535";
    refuses(
        &[("DATABASE_URL", "postgres://localhost:port/latchkey")],
        &format!("{database}{driver}"),
    );
    let tls = "an sslmode of disable, allow, prefer, require, verify-ca or verify-full";
    refuses(
        &[(
            "DATABASE_URL",
            "postgres://localhost/latchkey?sslmode=maybe",
        )],
        &format!("{database}{tls}"),
    );
    refuses(
        &[("REDIS_URL", "http://localhost:6379")],
        "REDIS_URL is not the URL of a Redis server: expected redis://HOST:PORT/DATABASE, rediss://… for TLS, or \
         unix:///PATH",
    );
}

#[test]
fn ways_to_redis_that_contradict_each_other() {
    let sentinels = (
        "LATCHKEY_REDIS_SENTINELS",
        "redis://s1:26379,rediss://s2:26379",
    );
    let no_master = "REDIS_URL does not name a master, and LATCHKEY_REDIS_SENTINELS is set: expected redis://NAME/DATABASE, \
                     with the name by which the Sentinels know the master";
    refuses(&[sentinels], no_master);
    for url in ["redis://n1,redis://n2", "unix:///run/redis.sock"] {
        refuses(&[sentinels, ("REDIS_URL", url)], no_master);
    }
    refuses(
        &[
            ("LATCHKEY_REDIS_SENTINELS", "s1:26379"),
            ("REDIS_URL", "redis://the-master"),
        ],
        "LATCHKEY_REDIS_SENTINELS is not a list of URLs of Sentinels: expected redis://HOST:26379, several separated by \
         commas, or rediss://… for TLS",
    );
    refuses(
        &[("REDIS_URL", "redis://u:a@n1,redis://u:b@n2")],
        "REDIS_URL is not a list of nodes: expected the same user, password and scheme for each node of a cluster, and \
         no database",
    );
    let certificate = |path| ("LATCHKEY_REDIS_ROOT_CERTIFICATE", path);
    refuses(
        &[certificate("ca.pem"), ("REDIS_URL", "redis://cache")],
        "LATCHKEY_REDIS_ROOT_CERTIFICATE is set, and no Redis is spoken to over TLS: expected rediss:// in REDIS_URL, or \
         no certificate",
    );
    refuses(
        &[certificate("ca.pem"), ("REDIS_URL", "rediss://cache")],
        "LATCHKEY_REDIS_ROOT_CERTIFICATE names ca.pem, which cannot be read (No such file or directory (os error 2)): \
         expected a file with certificates in PEM",
    );
    refuses(
        &[certificate("/dev/null"), ("REDIS_URL", "rediss://cache")],
        "LATCHKEY_REDIS_ROOT_CERTIFICATE names /dev/null, which is not a regular file: expected a file with \
         certificates in PEM",
    );
}

#[test]
fn a_database_file_that_is_not_there_is_never_made_by_a_typo() {
    refuses(
        &[("DATABASE_URL", "sqlite://data/latchky.db")],
        "DATABASE_URL names data/latchky.db, which is not a file: expected an existing file, or ?mode=rwc at the end \
         to make it",
    );
    let place = Place::new().with("DATABASE_URL", "sqlite://users.db?mode=rwc");
    assert!(
        place
            .run("users list")
            .refused(2)
            .contains("users.db, which does not exist")
    );
    assert!(place.files().is_empty());
    let place = place.migrated();
    assert_eq!(place.run("users list").done(), "there are no users\n");
    assert_eq!(place.mode("users.db"), 0o600);
    assert_eq!(
        place
            .run("users list --database-url sqlite://users.db")
            .done(),
        "there are no users\n"
    );
}

#[test]
fn a_secret_that_is_given_twice_or_whose_file_cannot_be_read() {
    for name in ["DATABASE_URL", "REDIS_URL"] {
        let file = format!("{name}_FILE");
        let twice = format!("{name} is set, and so is {file}: expected one of the two");
        refuses(&[(name, "redis://localhost"), (&file, "secret")], &twice);
        let missing = format!(
            "{file} names secret, which cannot be read (No such file or directory (os error 2)): expected a file \
             with the secret in it"
        );
        refuses(&[(&file, "secret")], &missing);
    }
}

#[test]
fn a_filter_of_the_log_that_would_log_nothing() {
    for filter in ["inof", "latchkey=inof", "info,debgu"] {
        let expected = format!(
            "LATCHKEY_LOG is {filter:?}, which is not a filter: expected a level such as info, or filters such as \
             latchkey=debug"
        );
        refuses(&[("LATCHKEY_LOG", filter)], &expected);
    }
}

#[test]
fn bytes_that_are_no_text() {
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
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // The number of the error is the operating system's own.
    let error = TcpListener::bind(&address).unwrap_err();
    let expected = format!(
        "LATCHKEY_BIND is {address}, which cannot be listened on ({error}): expected a free address of this machine"
    );
    refuses(&[("LATCHKEY_BIND", &address)], &expected);
}

#[test]
fn a_line_of_the_dotenv_file_that_is_none_without_telling_what_it_holds() {
    for (text, line, wrong) in [
        (
            "LATCHKEY_LOG=info\nLATCHKEY_AUDIENCE hunter2\n",
            2,
            "LATCHKEY_AUDIENCE has no = after the name: expected NAME=value",
        ),
        (
            "LATCHKEY_AUDIENCE='hunter2\n",
            1,
            "LATCHKEY_AUDIENCE has a quote that is never closed: expected the value in single quotes, such as NAME='value'",
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

#[test]
fn redis_urls_of_other_clients_are_refused_by_the_part_that_does_not_fit() {
    for (url, wrong) in [
        (
            "redis-sentinel://s1:26379/0#main",
            "has a scheme of Sentinel: expected redis://NAME/DATABASE",
        ),
        (
            "redis://n1:7000,n2:7001",
            "has a comma in the host: expected redis://NODE,redis://NODE",
        ),
        (
            "rediss://cache?ssl_cert_reqs=none",
            "has the parameter ssl_cert_reqs, which is not used: expected rediss://",
        ),
        (
            "redis://cache#insecure",
            "turns off the verification of certificates (#insecure)",
        ),
        (
            "redis://ada@cache",
            "has a user without a password: expected redis://:PASSWORD@HOST",
        ),
        (
            "redis://cache/main",
            "does not name a database by its number",
        ),
        (
            "redis://:hunter2/x@cache",
            "has a character with a meaning in URLs where none belongs: expected %40 for @",
        ),
    ] {
        let place = Place::new().with("REDIS_URL", url);
        let output = place.run("serve");
        let line = output.refused(2);
        assert!(
            line.starts_with(&format!("REDIS_URL {wrong}")) && !line.contains("hunter2"),
            "{url}: {line}"
        );
    }
}
