//! `latchkey doctor`.

use latchkey_testkit::{Backend, Place, on_both_backends, servers};

/// Parses the lines of a report as (verdict, part, text).
fn findings(out: &str) -> Vec<(&str, &str, &str)> {
    let line = |line: &'_ str| -> Option<(usize, usize)> {
        Some((line.find(' ')?, line[6..].find(' ')? + 6))
    };
    out.lines()
        .map(|text| {
            let (verdict, part) = line(text).unwrap_or_else(|| panic!("{text}"));
            (&text[..verdict], &text[6..part], text[part..].trim())
        })
        .collect()
}

#[test]
fn doctor_before_the_first_start_passes_and_creates_nothing() {
    let place = Place::new();
    let out = place.run("doctor").done().to_owned();
    assert_eq!(
        findings(&out),
        [
            ("ok", "configuration", "issuer http://127.0.0.1:8000"),
            ("ok", "keys", "none yet in keys: the server creates them"),
            (
                "ok",
                "database",
                "sqlite://data/latchkey.db does not exist yet: the server creates it"
            ),
            ("ok", "redis", "not used: the database answers every check"),
        ]
    );
    assert!(place.files().is_empty(), "{:?}", place.files());
}

on_both_backends! {
    async fn doctor_after_a_start_passes(backend: Backend) {
        let place = Place::on(backend).await;
        assert!(place.serve("").stop("TERM").0.success());
        let out = place.run("doctor").done().to_owned();
        let findings = findings(&out);
        // The Postgres of the tests has only a superuser.
        let good = |(verdict, part, _): &(&str, &str, &str)| (*verdict == "ok") != (*part == "role");
        assert!(findings.iter().all(good), "{out}");
        let parts: Vec<_> = findings.iter().map(|(_, part, _)| *part).collect();
        match backend {
            Backend::Embedded => assert_eq!(parts, ["configuration", "keys", "database", "migrations", "redis"]),
            Backend::PostgresAndRedis => {
                assert_eq!(parts, ["configuration", "keys", "database", "migrations", "clock", "role", "redis"]);
                assert!(findings[4].2.ends_with(" ms from the database's"), "{out}");
            }
        }
        assert_eq!(findings[1].2, "2 in keys");
        assert!(findings[3].2.ends_with(" applied, none pending"), "{out}");
    }
}

#[tokio::test]
async fn pending_migration_fails_doctor_with_the_remedy() {
    let place = Place::on(Backend::PostgresAndRedis).await;
    let report = place.run("doctor");
    assert_eq!(report.code, Some(1), "{report:?}");
    let findings = findings(&report.out);
    let (verdict, _, text) = findings
        .iter()
        .find(|(_, part, _)| *part == "migrations")
        .unwrap();
    assert_eq!(*verdict, "FAIL");
    assert!(
        text.ends_with(" pending: run latchkey migrate run"),
        "{text}"
    );
}

#[test]
fn unreachable_servers_fail_doctor_without_passwords() {
    let place = Place::new()
        .with(
            "DATABASE_URL",
            "postgres://latchkey:hunter2hunter2@127.0.0.1:1/latchkey",
        )
        .with("REDIS_URL", "redis://:hunter2hunter2@127.0.0.1:1");
    let report = place.run("doctor");
    assert_eq!(
        (report.code, report.err.as_str()),
        (Some(1), ""),
        "{report:?}"
    );
    let findings = findings(&report.out);
    for (part, url) in [
        ("database", "postgres://latchkey:***@"),
        ("redis", "redis://:***@"),
    ] {
        let (verdict, _, text) = findings.iter().find(|(_, name, _)| *name == part).unwrap();
        assert_eq!(*verdict, "FAIL", "{part}");
        assert!(text.starts_with(url) && text.contains("refused"), "{text}");
    }
    assert!(!report.out.contains("hunter2"), "{report:?}");
}

/// The fault of the database is not repeated for the keys in it.
#[tokio::test]
async fn doctor_with_keys_in_a_database_that_is_not_ready_reports_the_cause_once() {
    let passphrase = |place: &Place| {
        place
            .write("passphrase", "a passphrase that is long enough\n")
            .display()
            .to_string()
    };
    for (url, part) in [
        (servers::fresh_database().await, "migrations"),
        (
            "postgres://latchkey@127.0.0.1:1/latchkey".to_owned(),
            "database",
        ),
    ] {
        let place = Place::new()
            .with("DATABASE_URL", &url)
            .with("LATCHKEY_KEYS", "database");
        let file = passphrase(&place);
        let place = place.with("LATCHKEY_KEYS_PASSPHRASE_FILE", &file);
        let report = place.run("doctor");
        assert_eq!(report.code, Some(1), "{report:?}");
        let findings = findings(&report.out);
        let failed: Vec<_> = findings
            .iter()
            .filter(|(verdict, ..)| *verdict == "FAIL")
            .map(|(_, part, _)| *part)
            .collect();
        assert_eq!(failed, [part], "{report:?}");
        assert!(
            findings.iter().any(
                |(verdict, part, text)| (*verdict, *part) == ("warn", "keys")
                    && text.contains("not checked")
            ),
            "{report:?}"
        );
    }
}

#[test]
fn conflicting_settings_fail_doctor_and_the_rest_is_checked() {
    let place = Place::new().with("LATCHKEY_BIND", "0.0.0.0:8000");
    let report = place.run("doctor");
    assert_eq!(report.code, Some(1), "{report:?}");
    let findings = findings(&report.out);
    assert_eq!((findings[0].0, findings[0].1), ("FAIL", "configuration"));
    assert!(
        findings[0].2.starts_with("LATCHKEY_ISSUER is missing"),
        "{report:?}"
    );
    assert_eq!(findings.len(), 4, "{report:?}");
}

/// Eviction would remove entries of the blacklist.
#[tokio::test]
async fn redis_that_evicts_keys_fails_doctor() {
    let redis = EvictingRedis::start();
    let place = Place::new().with("REDIS_URL", &redis.url);
    let report = place.run("doctor");
    assert_eq!(report.code, Some(1), "{report:?}");
    let expected = "Redis evicts keys (allkeys-lru), so every lookup also queries the database: \
                    set maxmemory-policy to noeviction";
    assert_eq!(
        findings(&report.out).last(),
        Some(&("FAIL", "redis", expected))
    );
}

/// Redis of this test, because the settings of the shared one must not change.
struct EvictingRedis {
    _folder: tempfile::TempDir,
    process: std::process::Child,
    url: String,
}

impl EvictingRedis {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let program = if which("redis-server") {
            "redis-server"
        } else {
            "valkey-server"
        };
        let mut process = std::process::Command::new(program)
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--maxmemory",
                "64mb",
                "--maxmemory-policy",
                "allkeys-lru",
            ])
            .arg("--unixsocket")
            .arg(&socket)
            .current_dir(folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program} cannot be started ({error}): install redis-server")
            });
        let out = std::io::BufReader::new(process.stdout.take().unwrap());
        let mut lines = std::io::BufRead::lines(out);
        assert!(
            lines.any(|line| line.unwrap().contains("eady to accept connections")),
            "{program} does not start"
        );
        // The remaining output is discarded, so that the pipe does not fill.
        std::thread::spawn(move || lines.count());
        Self {
            url: format!("unix://{}", socket.display()),
            _folder: folder,
            process,
        }
    }
}

impl Drop for EvictingRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn which(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file())
}

#[tokio::test]
async fn redis_that_does_not_evict_passes_doctor() {
    let place = Place::new().with("REDIS_URL", &servers::redis_url());
    let out = place.run("doctor").done().to_owned();
    assert!(
        findings(&out).contains(&("ok", "redis", servers::redis_url().as_str())),
        "{out}"
    );
}

#[tokio::test]
async fn blacklist_of_another_deployment_fails_doctor_and_is_logged() {
    let first = Place::on(Backend::PostgresAndRedis).await;
    let prefix = first.variable("LATCHKEY_REDIS_PREFIX");
    let running = first.serve("");
    let client = redis::Client::open(servers::redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut epoch = String::new();
    servers::eventually("the first has filled Redis", async || {
        let key = format!("{{{prefix}:0}}:epoch");
        let found: Option<String> = redis::cmd("GET")
            .arg(key)
            .query_async(&mut connection)
            .await
            .unwrap();
        epoch = found.unwrap_or_default();
        !epoch.is_empty()
    })
    .await;
    let named = format!(
        "the blacklist of another deployment ({})",
        epoch.split(':').next().unwrap()
    );

    let second = Place::on(Backend::PostgresAndRedis)
        .await
        .with("LATCHKEY_REDIS_PREFIX", &prefix);
    let server = second.serve("");
    servers::eventually("the second names the first", async || {
        server.log().contains(&named)
    })
    .await;
    assert!(server.stop("TERM").0.success());
    let report = second.run("doctor");
    assert_eq!(report.code, Some(1), "{report:?}");
    let findings = findings(&report.out);
    let (verdict, _, text) = findings
        .iter()
        .find(|(_, part, _)| *part == "redis")
        .unwrap();
    assert!(
        *verdict == "FAIL" && text.contains(&named) && text.contains("LATCHKEY_REDIS_PREFIX"),
        "{text}"
    );
    assert!(
        first.run("doctor").done().contains("redis://"),
        "the first deployment owns the blacklist"
    );
    assert!(running.stop("TERM").0.success());
}
