//! Sources of settings, and `latchkey config`.

use latchkey_testkit::{Backend, PASSWORD, Place, servers};

/// Returns the line of a setting.
fn line<'a>(out: &'a str, name: &str) -> &'a str {
    let is_it = |line: &&str| {
        line.starts_with(&format!("{name}=")) || line.starts_with(&format!("# {name} "))
    };
    out.lines()
        .find(is_it)
        .unwrap_or_else(|| panic!("{name} is not in {out}"))
}

#[test]
fn flag_overrides_environment_and_environment_overrides_dotenv() {
    let place = Place::new()
        .with("LATCHKEY_WORKERS", "2")
        .with("LATCHKEY_HASH_QUEUE", "20");
    place.write(
        ".env",
        "# a comment\nLATCHKEY_WORKERS=1\nLATCHKEY_HASH_QUEUE=10\nLATCHKEY_HASH_THREADS=\"1\"\n",
    );
    let notice = "settings from .env: LATCHKEY_HASH_THREADS";
    let out = place.run("config --workers 3").done_with(notice).to_owned();
    assert_eq!(line(&out, "LATCHKEY_WORKERS"), "LATCHKEY_WORKERS=3  # flag");
    assert_eq!(
        line(&out, "LATCHKEY_HASH_QUEUE"),
        "LATCHKEY_HASH_QUEUE=20  # environment"
    );
    assert_eq!(
        line(&out, "LATCHKEY_HASH_THREADS"),
        "LATCHKEY_HASH_THREADS=1  # .env"
    );
    assert_eq!(
        line(&out, "LATCHKEY_ALGORITHM"),
        "LATCHKEY_ALGORITHM=ES256  # default"
    );
    assert_eq!(
        line(&out, "LATCHKEY_AUDIENCE"),
        "# LATCHKEY_AUDIENCE is not set"
    );
    assert_eq!(place.files(), [".env"], "config creates no files");
}

#[test]
fn only_the_dotenv_file_of_the_working_directory_is_read() {
    let place = Place::new();
    place.write(".env", "LATCHKEY_WORKERS=1\n");
    place.write("below/README", "");
    let output = place
        .command("config")
        .current_dir(place.path("below"))
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        line(&out, "LATCHKEY_WORKERS"),
        "LATCHKEY_WORKERS=0  # default"
    );
}

#[test]
fn config_hides_passwords_of_every_source() {
    let place = Place::new()
        .with(
            "DATABASE_URL",
            "postgres://ada:hunter2hunter2@db.example/latchkey?sslmode=require",
        )
        .with("REDIS_URL", "rediss://:hunter2hunter2@cache.example/1");
    let outcome = place.run("config");
    let out = outcome.done();
    assert_eq!(
        line(out, "DATABASE_URL"),
        "# DATABASE_URL is set, and shown without its secret: postgres://ada:***@db.example/latchkey  # environment"
    );
    assert_eq!(
        line(out, "REDIS_URL"),
        "# REDIS_URL is set, and shown without its secret: rediss://:***@cache.example/1  # environment"
    );
    assert!(!out.contains("hunter2"), "{out}");
    let flags = place.run("config --database-url postgres://bob:hunter2hunter2@db/x");
    assert_eq!(
        line(flags.done(), "DATABASE_URL"),
        "# DATABASE_URL is set, and shown without its secret: postgres://bob:***@db/x  # flag"
    );
    let sentinels = place.run("config --redis-sentinels redis://:hunter2hunter2@s1,redis://s2:1");
    assert_eq!(
        line(sentinels.done(), "LATCHKEY_REDIS_SENTINELS"),
        "# LATCHKEY_REDIS_SENTINELS is set, and shown without its secret: redis://:***@s1,redis://s2:1  # flag"
    );
    let socket = place.run("config --redis-url unix:///run/redis.sock?db=1&pass=hunter2hunter2");
    assert_eq!(
        line(socket.done(), "REDIS_URL"),
        "# REDIS_URL is set, and shown without its secret: unix:///run/redis.sock  # flag"
    );
    for words in ["serve --help", "users list --help"] {
        assert!(
            !place.run(words).done().contains("hunter2"),
            "{words} shows the password"
        );
    }
}

#[test]
fn config_refuses_what_serve_refuses() {
    let place = Place::new().with("LATCHKEY_BIND", "0.0.0.0:8000");
    assert!(
        place
            .run("config")
            .refused(2)
            .starts_with("LATCHKEY_ISSUER is missing")
    );
}

#[tokio::test]
async fn secrets_are_read_from_files() {
    let place = Place::new()
        .with("DATABASE_URL_FILE", "database")
        .with("REDIS_URL_FILE", "redis");
    place.write(
        "database",
        &format!("{}\n", servers::fresh_database().await),
    );
    place.write("redis", &format!("{}\r\n", servers::redis_url()));
    let out = place.run("config").done().to_owned();
    assert!(
        line(&out, "DATABASE_URL").starts_with("# DATABASE_URL is not set: postgres://"),
        "{out}"
    );
    assert_eq!(
        line(&out, "DATABASE_URL_FILE"),
        "DATABASE_URL_FILE=database  # environment"
    );
    assert_eq!(
        line(&out, "REDIS_URL"),
        format!("# REDIS_URL is not set: {} is used", servers::redis_url())
    );
    let server = place.serve(&format!("--redis-prefix {}", servers::unique("secret")));
    assert_eq!(server.get("/.well-known/jwks.json").await.status, 200);
    assert!(!place.path("data").exists());
}

#[tokio::test]
async fn server_uses_the_settings_of_the_dotenv_file() {
    let place = Place::on(Backend::Embedded).await.migrated();
    place.write(
        ".env",
        "LATCHKEY_ISSUER=https://auth.test\nLATCHKEY_ACCESS_TOKEN_LIFETIME=1m\n",
    );
    let notice = "settings from .env: LATCHKEY_ACCESS_TOKEN_LIFETIME, LATCHKEY_ISSUER";
    place
        .run_with_input("users create ada --password-stdin", PASSWORD)
        .done_with(notice);
    let server = place.serve("");
    let claims = latchkey_testkit::Forge::claims_of(&server.pair("ada", PASSWORD).await.access);
    assert_eq!(claims["iss"], "https://auth.test");
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        60
    );
}

/// If a service is called `latchkey`, Kubernetes sets its address in variables of that name in
/// every pod.
#[test]
fn variables_of_kubernetes_services_are_not_settings() {
    let links = [
        ("LATCHKEY_SERVICE_HOST", "10.0.0.1"),
        ("LATCHKEY_SERVICE_PORT", "8000"),
        ("LATCHKEY_SERVICE_PORT_HTTP", "8000"),
        ("LATCHKEY_PORT", "tcp://10.0.0.1:8000"),
        ("LATCHKEY_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("LATCHKEY_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("LATCHKEY_PORT_8000_TCP_PORT", "8000"),
        ("LATCHKEY_PORT_8000_TCP_PROTO", "tcp"),
    ];
    let place = links
        .iter()
        .fold(Place::new(), |place, (name, value)| place.with(name, value));
    place.run("config").done();
    let mistaken = Place::new().with("LATCHKEY_PORTS", "8000");
    assert!(
        mistaken
            .run("config")
            .refused(2)
            .starts_with("LATCHKEY_PORTS is not a setting")
    );
}
