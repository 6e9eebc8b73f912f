//! Start and stop of a server.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use latchkey_testkit::{
    Backend, Place,
    servers::{self, own::OwnPostgres},
};

/// Address without a listener: the system assigns no port as low as this to a test.
const CLOSED: &str = "127.0.0.1:1";

/// Returns the commands that the first start prints.
fn commands(printed: &[String]) -> String {
    let command = |line: &&String| {
        ["PAIR=", "ACCESS=", "curl"]
            .iter()
            .any(|word| line.trim().starts_with(word))
    };
    printed
        .iter()
        .filter(command)
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Reads the password from the file that was printed.
fn password(place: &Place, printed: &[String]) -> String {
    let named = printed
        .iter()
        .find_map(|line| line.trim().strip_prefix("password in: "))
        .expect("no file is named");
    assert_eq!(
        std::path::Path::new(named),
        place.path("data/admin-password").canonicalize().unwrap()
    );
    std::fs::read_to_string(named)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[tokio::test]
async fn first_start_without_a_terminal_writes_a_password_file() {
    let place = Place::new();
    let mut server = place.serve("");
    server.read_until("To use Postgres and Redis");
    assert!(!server.url.ends_with(":0"), "{}", server.url);
    let text = server.printed.join("\n");
    let password = password(&place, &server.printed);
    assert!(
        !text.contains(&password),
        "standard output holds the password: {text}"
    );
    assert_eq!(place.mode("data/admin-password"), 0o600);
    assert!(
        !place
            .files()
            .iter()
            .any(|name| name.contains("admin-password.")),
        "a draft remains: {:?}",
        place.files()
    );
    assert!(text.contains("username: admin"), "{text}");
    for line in server.printed.iter().filter(|line| line.contains("curl")) {
        assert!(line.contains(&server.url), "{line}");
    }

    // The shell stops at the first failure. `-i` shows the status line.
    let script = format!("set -e\n{}", commands(&server.printed));
    let shell = Command::new("sh").arg("-c").arg(&script).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&shell.stdout),
        String::from_utf8_lossy(&shell.stderr),
    );
    assert!(shell.status.success(), "{err}\n{script}");
    let lines: Vec<_> = out.lines().collect();
    assert!(
        lines[0].starts_with(r#"{"refresh":""#) && lines[0].contains(r#""access":""#),
        "obtain: {out}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("HTTP/1.1 200"))
            .count(),
        2,
        "verify, refresh: {out}"
    );
    assert!(
        !server.log().contains(&password),
        "the log holds the password"
    );
    assert!(
        server.log().contains("admin-password"),
        "the log names no file: {}",
        server.log()
    );
}

/// Runs a server on a pseudo-terminal, and returns the first lines that it prints there.
fn lines_on_a_terminal(place: &Place, last: &str) -> Vec<String> {
    let program = place.command("serve --bind 127.0.0.1:0");
    let words = format!(
        "{} serve --bind 127.0.0.1:0",
        program.get_program().display()
    );
    let mut terminal = Command::new("script");
    terminal
        .args(["-qfec", &words, "/dev/null"])
        .current_dir(place.path("."));
    terminal
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh");
    let mut child = terminal
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        lines.push(line.trim_end().to_owned());
        if line.starts_with(last) {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    lines
}

#[test]
fn first_start_on_a_terminal_shows_the_password_and_writes_no_file() {
    let place = Place::new();
    let lines = lines_on_a_terminal(&place, "To use Postgres and Redis");
    let shown = lines
        .iter()
        .find_map(|line| line.trim().strip_prefix("password: "));
    let shown = shown.unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("PAIR=") && line.contains(shown)),
        "{lines:#?}"
    );
    assert!(
        !place
            .files()
            .iter()
            .any(|name| name.contains("admin-password")),
        "{:?}",
        place.files()
    );
}

#[tokio::test]
async fn stale_file_of_a_first_password_is_replaced() {
    let place = Place::new();
    place.write("data/admin-password", "of a database that was removed\n");
    let mut server = place.serve("");
    server.read_until("To use Postgres and Redis");
    server
        .pair("admin", &password(&place, &server.printed))
        .await;
    assert_eq!(place.mode("data/admin-password"), 0o600);
}

#[tokio::test]
async fn next_start_keeps_user_keys_and_sessions() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    let mut server = place.serve("");
    server.read_until("To use Postgres and Redis");
    let password = password(&place, &server.printed);
    let pair = server.pair("admin", &password).await;
    let keys = place.files();
    assert!(server.stop("TERM").0.success());

    let server = place.serve("");
    assert_eq!(server.verify(&pair.access).await.status, 200);
    server.refresh(&pair.refresh).await.pair();
    server.pair("admin", &password).await;
    let is_key = |name: &&String| name.starts_with("keys/");
    assert_eq!(
        place.files().iter().filter(is_key).collect::<Vec<_>>(),
        keys.iter().filter(is_key).collect::<Vec<_>>()
    );
    let (status, printed) = server.stop("TERM");
    assert!(status.success());
    assert_eq!(printed.len(), 1, "only the address: {printed:?}");
}

#[tokio::test]
async fn keys_and_database_are_private_to_their_owner() {
    let place = Place::new();
    let mut server = place.serve("");
    server.read_until("To use Postgres and Redis");
    let files: Vec<_> = place
        .files()
        .into_iter()
        .filter(|name| !name.starts_with("log"))
        .collect();
    let holds = |part: &str| files.iter().filter(|name| name.contains(part)).count();
    assert_eq!(
        (
            holds("keys/"),
            holds("-access-ES256-"),
            holds("-refresh-HS256-")
        ),
        (4, 1, 1),
        "two keys, the lock, the lifetimes: {files:?}"
    );
    assert!(files.contains(&"data/latchkey.db".to_owned()), "{files:?}");
    for name in &files {
        assert_eq!(place.mode(name), 0o600, "{name}");
    }
    assert_eq!(place.mode("keys"), 0o700);
}

#[tokio::test]
async fn missing_issuer_is_the_address_of_the_server() {
    let place = Place::new();
    let mut server = place.serve("");
    server.read_until("To use Postgres and Redis");
    let pair = server
        .pair("admin", &password(&place, &server.printed))
        .await;
    assert_eq!(
        latchkey_testkit::Forge::claims_of(&pair.access)["iss"],
        server.url.as_str()
    );
}

#[tokio::test]
async fn ctrl_c_and_sigterm_stop_the_server_with_exit_code_0() {
    for signal in ["INT", "TERM"] {
        let place = Place::new();
        let server = place.serve("");
        // An idle connection, such as that of a browser or a pool, does not delay the stop.
        let mut idle = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        assert_eq!(server.get("/api/token/").await.status, 405);
        let (status, _) = server.stop(signal);
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        let _ = idle.read(&mut [0]);
    }
}

#[tokio::test]
async fn first_start_on_postgres_creates_no_user() {
    let place = Place::on(Backend::PostgresAndRedis).await;
    let server = place.serve("");
    assert_eq!(server.get("/.well-known/jwks.json").await.status, 200);
    let (status, printed) = server.stop("TERM");
    assert_eq!((status.code(), printed.len()), (Some(0), 1), "{printed:?}");
    assert_eq!(place.run("users list").done(), "there are no users\n");
    assert!(!place.path("data").exists());
}

#[tokio::test]
async fn unreachable_database_is_named_after_the_startup_timeout() {
    let place = Place::new()
        .with(
            "DATABASE_URL",
            &format!("postgres://latchkey:hunter2hunter2@{CLOSED}/latchkey"),
        )
        .with("LATCHKEY_STARTUP_TIMEOUT", "1s")
        .with("LATCHKEY_LOG_FORMAT", "pretty");
    let outcome = place.run("serve --bind 127.0.0.1:0");
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (Some(1), ""),
        "{outcome:?}"
    );
    let (log, last) = outcome.err.trim_end().rsplit_once('\n').unwrap();
    assert!(
        log.contains("the database cannot be reached yet: trying again"),
        "{log}"
    );
    let expected = format!(
        "latchkey: DATABASE_URL: postgres://latchkey:***@{CLOSED}/latchkey cannot be reached ("
    );
    assert!(last.starts_with(&expected), "{last}");
    assert!(
        last.ends_with("): start it, raise LATCHKEY_STARTUP_TIMEOUT, or correct the URL"),
        "{last}"
    );
    assert!(
        !outcome.err.contains("hunter2"),
        "the password is in the log: {}",
        outcome.err
    );
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[tokio::test]
async fn start_waits_for_a_late_database() {
    let mut postgres = OwnPostgres::start_with(&[]).await;
    postgres.stop();
    let place = Place::new().with("DATABASE_URL", &postgres.url());
    let server = place.starting("");
    servers::eventually("the server waits", async || {
        server.log().contains("cannot be reached yet: trying again")
    })
    .await;
    postgres.again().await;
    assert!(server.listening().url.starts_with("http://127.0.0.1:"));
}

#[test]
fn command_does_not_wait_for_an_unreachable_database() {
    let place = Place::new().with(
        "DATABASE_URL",
        &format!("postgres://latchkey@{CLOSED}/latchkey"),
    );
    for command in ["users list", "flush-expired", "sessions list --user ada"] {
        let outcome = place.run(command);
        let line = outcome.refused(1);
        assert!(
            line.contains(" cannot be reached (")
                && line.ends_with("): start it, or correct the URL"),
            "{line}"
        );
    }
}

#[test]
fn signal_stops_a_start_that_waits_for_the_database() {
    let place = Place::new().with(
        "DATABASE_URL",
        &format!("postgres://latchkey@{CLOSED}/latchkey"),
    );
    let mut server = place
        .command("serve --bind 127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(server.stderr.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("trying again")),
        "the server does not wait"
    );
    assert!(
        Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", server.id())])
            .status()
            .unwrap()
            .success()
    );
    // Its output ends with the process, before the start times out after thirty seconds.
    assert_eq!(
        lines
            .filter(|line| line.contains("cannot be reached"))
            .count(),
        0
    );
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn concurrent_first_starts_share_the_keys_and_one_password() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| place.serve(""));
        (place.serve(""), other.join().unwrap())
    });
    let keys = one.get("/.well-known/jwks.json").await.text;
    assert_eq!(keys, other.get("/.well-known/jwks.json").await.text);
    let printed: Vec<String> = [one, other]
        .into_iter()
        .flat_map(|server| server.stop("TERM").1)
        .collect();
    assert_eq!(
        printed
            .iter()
            .filter(|line| line.contains("password in: "))
            .count(),
        1,
        "{printed:?}"
    );
    let server = place.serve("");
    server.pair("admin", &password(&place, &printed)).await;
}
