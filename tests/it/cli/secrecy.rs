//! Secrets in a URL are not in the output of `config` and `doctor`, in logs or in errors. The
//! output of `config` is a valid `.env` file.

use latchkey::config::ConfigError;
use latchkey_cache::RedisUrl;
use latchkey_store::sql::DatabaseUrl;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use latchkey_testkit::Place;

/// URLs with a secret `S` in various places. Some are valid, others are common mistakes.
const DATABASE: [&str; 19] = [
    "postgres://ada:S@127.0.0.1:1/latchkey",
    "postgres://ada:S@127.0.0.1:1,127.0.0.2:1/latchkey?sslmode=prefer",
    "postgres://ada%3AS@127.0.0.1:1/latchkey",
    "postgres://:S@127.0.0.1:1/latchkey",
    "postgres://127.0.0.1:1/latchkey?user=ada&password=S",
    "postgres://ada@127.0.0.1:1/latchkey?sslpassword=S",
    "postgres://ada@127.0.0.1:1/latchkey?passwrod=S",
    "postgres://ada@127.0.0.1:1/latchkey?sslmode=S",
    "postgres://ada@127.0.0.1:1/latchkey?connect_timeout=S",
    "postgres://ada@127.0.0.1:1/latchkey#S",
    "postgres://ada:S@127.0.0.1:port/latchkey",
    "postgres://ada:S@/latchkey",
    "postgres://ada:S@@127.0.0.1:1/latchkey",
    "postgres://a:S@127.0.0.1:1,b:S@127.0.0.2:1/latchkey",
    "postgresql:ada:S@127.0.0.1/latchkey",
    "mysql://ada:S@127.0.0.1/latchkey",
    "host=127.0.0.1 user=ada password=S dbname=latchkey",
    "sqlite://latchkey.db?key=S",
    "S",
];
const REDIS: [&str; 14] = [
    "redis://ada:S@127.0.0.1:1/0",
    "redis://:S@127.0.0.1:1",
    "redis://S@127.0.0.1:1",
    "redis://ada%3AS@127.0.0.1:1",
    "redis://127.0.0.1:1/0?password=S",
    "redis://127.0.0.1:1/S",
    "redis://ada:S@127.0.0.1:1/0#S",
    "rediss://ada:S@127.0.0.1:1/0#S",
    "redis://ada:S@n1:1,redis://ada:S@n2:1",
    "redis://ada:S@n1:1,n2:1",
    "unix:///run/latchkey-none.sock?user=ada&pass=S",
    "unix:///run/latchkey-none.sock?db=1&password=S",
    "http://ada:S@127.0.0.1:1",
    "S",
];

/// Returns two unique words, with a special character of URLs between them.
fn secret() -> impl Strategy<Value = (String, String, String)> {
    let between = proptest::sample::select(vec![
        "", "@", "/", "#", "?", ":", "%", "%40", "%zz", "&", "=", ",", ";", "+", "\\", "'", "\"",
        "$", "[", "]", "|", "ä",
    ]);
    ("[bcdf]{4}[0-9]{5}", between, "[0-9]{5}[ghjk]{4}")
        .prop_map(|(a, between, b)| (a, between.to_owned(), b))
}

fn encoded(secret: &str) -> String {
    form_urlencoded::byte_serialize(secret.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// Returns the text with percent-encoded bytes decoded.
fn decoded(text: &str) -> String {
    form_urlencoded::parse(format!("x={}", text.replace('&', "%26").replace('+', "%2B")).as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect()
}

#[track_caller]
fn holds_none(text: &str, words: [&str; 2], from: &str) {
    for word in words {
        assert!(
            !text.contains(word) && !decoded(text).contains(word),
            "{from} shows {word}: {text}"
        );
    }
}

/// True for a user and a password, because the user is not secret.
fn is_a_login(shape: &str, between: &str, raw: bool) -> bool {
    raw && between == ":" && shape.contains("//S@")
}

fn template(all: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(all)
}

proptest! {
    #![proptest_config(Config { cases: 4000, ..Config::default() })]

    #[test]
    fn secret_in_a_database_url_is_in_no_text((a, between, b) in secret(), shape in template(&DATABASE), raw: bool) {
        let secret = format!("{a}{between}{b}");
        let url = shape.replace('S', &if raw { secret } else { encoded(&secret) });
        let texts = match url.parse::<DatabaseUrl>() {
            Ok(parsed) => format!("{parsed} {parsed:?} {:?}", parsed.warning()),
            Err(error) => format!("{error} {error:?} {}", ConfigError::new("DATABASE_URL", "x", &error.to_string())),
        };
        holds_none(&texts, [&a, &b], &url);
    }

    #[test]
    fn secret_in_a_redis_url_is_in_no_text((a, between, b) in secret(), shape in template(&REDIS), raw: bool) {
        prop_assume!(!is_a_login(shape, &between, raw));
        let secret = format!("{a}{between}{b}");
        let url = shape.replace('S', &if raw { secret } else { encoded(&secret) });
        let texts = |parsed: Result<RedisUrl, _>| match parsed {
            Ok(parsed) => format!("{parsed} {parsed:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        holds_none(&texts(url.parse()), [&a, &b], &url);
        holds_none(&texts(RedisUrl::sentinels(&url)), [&a, &b], &url);
    }
}

/// The program runs with the most verbose log.
#[test]
fn secret_in_a_setting_is_in_no_output() {
    let settings = || {
        let database = template(&DATABASE).prop_map(|shape| ("DATABASE_URL", shape));
        let redis = template(&REDIS).prop_map(|shape| ("REDIS_URL", shape));
        let sentinels = template(&REDIS).prop_map(|shape| ("LATCHKEY_REDIS_SENTINELS", shape));
        let file = template(&DATABASE).prop_map(|shape| ("DATABASE_URL_FILE", shape));
        let other = template(&DATABASE[..17]).prop_map(|shape| ("LATCHKEY_BIND", shape));
        prop_oneof![database, redis, sentinels, file, other]
    };
    let commands = [
        "config",
        "doctor",
        "serve --bind 127.0.0.1:0 --startup-timeout 0",
        "keys list",
        "users list",
    ];
    let command = proptest::sample::select(commands.to_vec());
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(
            &(secret(), settings(), command, any::<bool>()),
            |((a, between, b), (name, shape), command, raw)| {
                let secret = format!("{a}{between}{b}");
                let url = shape.replace('S', &if raw { secret } else { encoded(&secret) });
                // Paths may be shown: a value without a scheme is not a URL.
                if is_a_login(shape, &between, raw)
                    || (name.ends_with("_FILE") && !url.contains("://"))
                {
                    return Ok(());
                }
                let command = if name == "LATCHKEY_BIND" {
                    command.replace(" --bind 127.0.0.1:0", "")
                } else {
                    command.to_owned()
                };
                if command.starts_with("serve")
                    && (url.starts_with("redis") || url.starts_with("unix"))
                {
                    // The command would start a server.
                    return Ok(());
                }
                let place = Place::new().with(name, &url).with("LATCHKEY_LOG", "trace");
                let outcome = place.run(&command);
                holds_none(
                    &format!("{} {}", outcome.out, outcome.err),
                    [&a, &b],
                    &format!("{name}={url} {command}"),
                );
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn url_in_an_unexpected_argument_is_not_repeated() {
    let place = Place::new();
    for words in [
        "serve postgres://ada:hunter2hunter2@db/latchkey",
        "doctor --databse-url=postgres://ada:hunter2hunter2@db/latchkey",
        "users list --database-url host=db password=hunter2hunter2",
        "postgres://ada:hunter2hunter2@db/latchkey",
    ] {
        let outcome = place.run(words);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(
            !format!("{}{}", outcome.out, outcome.err).contains("hunter2"),
            "{outcome:?}"
        );
    }
}

/// Returns the output of `config`, parsed as a `.env` file.
#[track_caller]
fn fed_back(place: &Place) -> (String, String) {
    let out = place.run("config").done().to_owned();
    let again = Place::new();
    again.write(".env", &out);
    let names: Vec<&str> = out
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let mut names: Vec<&str> = names
        .into_iter()
        .filter(|name| !name.starts_with('#'))
        .collect();
    names.sort_unstable();
    let second = again
        .run("config")
        .done_with(&format!("settings from .env: {}", names.join(", ")))
        .to_owned();
    (out, second)
}

#[test]
fn config_output_is_an_equivalent_dotenv_file() {
    let place = Place::new()
        .with("LATCHKEY_ACCESS_CLAIMS", "email,is_staff")
        .with(
            "LATCHKEY_AUDIENCE",
            "the #1 shop's \"$HOME\" \\ ${USER}\nLATCHKEY_WORKERS=7",
        )
        .with("LATCHKEY_DATA_DIR", "my data");
    let (out, second) = fed_back(&place);
    assert_eq!(
        second,
        out.replace("  # environment", "  # .env")
            .replace("  # default", "  # .env")
    );
    for line in [
        "# LATCHKEY_ISSUER is not set: http://127.0.0.1:8000 is used",
        "# DATABASE_URL is not set: sqlite://my data/latchkey.db is used",
        "LATCHKEY_WORKERS=0  # default",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
}

/// A masked password would be used as a password.
#[test]
fn config_output_never_changes_a_url() {
    for (name, url) in [
        (
            "DATABASE_URL",
            "postgres://ada:hunter2hunter2@db.example/latchkey",
        ),
        (
            "DATABASE_URL",
            "postgres://ada@db.example/latchkey?sslmode=require",
        ),
        ("REDIS_URL", "redis://:hunter2hunter2@cache.example"),
        ("REDIS_URL", "unix:///run/redis.sock?pass=hunter2hunter2"),
    ] {
        let place = Place::new().with(name, url);
        let (out, second) = fed_back(&place);
        assert!(
            out.lines().any(|line| line
                .starts_with(&format!("# {name} is set, and shown without its secret: "))),
            "{out}"
        );
        assert!(
            second
                .lines()
                .any(|line| line.starts_with(&format!("# {name} is not set"))),
            "{second}"
        );
    }
    for (name, url) in [
        ("DATABASE_URL", "postgres://ada@db.example/latchkey"),
        ("DATABASE_URL", "sqlite://users.db?mode=rwc"),
        ("REDIS_URL", "redis://cache.example:6379/1"),
    ] {
        let (_, second) = fed_back(&Place::new().with(name, url));
        assert!(
            second
                .lines()
                .any(|line| line == format!("{name}={url}  # .env")),
            "{second}"
        );
    }
}
