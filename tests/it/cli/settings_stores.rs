//! Tests of invalid settings of the database and of Redis.

use super::settings::refuses;
use latchkey_testkit::Place;

#[test]
fn invalid_database_and_redis_urls_are_refused() {
    let database = "DATABASE_URL is not the URL of a database: expected ";
    let schemes = "postgres://USER:PASSWORD@HOST/DATABASE or sqlite://PATH (with ?mode=rwc to create the file)";
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
fn conflicting_redis_settings_are_refused() {
    let sentinels = (
        "LATCHKEY_REDIS_SENTINELS",
        "redis://s1:26379,rediss://s2:26379",
    );
    let no_master = "REDIS_URL does not name a master, and LATCHKEY_REDIS_SENTINELS is set: expected redis://NAME/DATABASE, \
                     with the name of the master in the Sentinels";
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
        "LATCHKEY_REDIS_ROOT_CERTIFICATE is set, but no connection to Redis uses TLS: expected rediss:// in REDIS_URL, or \
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
fn missing_database_file_is_not_created() {
    refuses(
        &[("DATABASE_URL", "sqlite://data/latchky.db")],
        "DATABASE_URL names data/latchky.db, which is not a file: expected an existing file, or ?mode=rwc at the end to create it",
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
fn duplicate_or_unreadable_secret_is_refused() {
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
fn redis_url_of_another_client_is_refused_with_the_reason() {
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
