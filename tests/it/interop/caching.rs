//! Cache lifetime of the key set in the programs of the offline guide, which delays the revocation
//! of a key.
//!
//! A wrapper in the language of the program moves its clock. The program itself is unchanged.

use std::{fs::File, process::Command};

use latchkey_domain::ports::{Clock as _, clock::SystemClock};
use latchkey_verifier::Kind;
use serde_json::json;

use latchkey_testkit::{Forge, Place, Server};

use super::{PASSWORD, documents::blocks, tampered, verifier::Verifier};

/// Returns a command that runs the script of the guide. Each printed line advances the script's
/// clock by these seconds.
type WithMovedClock = fn(&Verifier, f64) -> Command;

fn python(verifier: &Verifier, seconds: f64) -> Command {
    let moved = format!(
        "import builtins, runpy, sys, time\n\
         real, show, skew = time.monotonic, builtins.print, [0]\n\
         time.monotonic = lambda: real() + skew[0]\n\
         def moved(*words):\n    show(*words)\n    skew[0] += {seconds}\n\
         builtins.print = moved\n\
         sys.argv = sys.argv[1:]\n\
         runpy.run_path(sys.argv[0], run_name='__main__')\n"
    );
    let mut command = verifier.interpreter();
    command.args(["-c", &moved]).arg(verifier.script());
    command
}

fn node(verifier: &Verifier, seconds: f64) -> Command {
    let moved = format!(
        "const real = Date.now, show = console.log; let skew = 0; Date.now = () => real() + skew;\
         console.log = (...words) => {{ show(...words); skew += {seconds} * 1000; }};"
    );
    let mut command = verifier.interpreter();
    command
        .arg("--import")
        .arg(format!(
            "data:text/javascript,{}",
            moved.replace(' ', "%20")
        ))
        .arg(verifier.script());
    command
}

async fn fetches(server: &Server) -> f64 {
    let text = server.get("/metrics").await.text;
    let name = r#"latchkey_http_requests_total{route="/.well-known/jwks.json",status="200"} "#;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map_or(0.0, |value| value.parse().unwrap())
}

async fn assert_cached_for_max_age(verifier: Verifier, moved: WithMovedClock) {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve("--metrics-bind main");
    let token = server.pair("ada", PASSWORD).await.access;
    let keys = server.get("/.well-known/jwks.json").await;
    let max_age: f64 = keys
        .header("cache-control")
        .split_once("max-age=")
        .unwrap()
        .1
        .parse()
        .unwrap();
    for (seconds, expected) in [(max_age - 5.0, 1.0), (max_age + 1.0, 2.0)] {
        let before = fetches(&server).await;
        let mut command = moved(&verifier, seconds);
        let url = format!("{}/.well-known/jwks.json", server.url);
        let output = command
            .args([&url, &server.url, "ES256", &token, &token])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).lines().count(),
            2,
            "{output:?}"
        );
        let fetched = fetches(&server).await - before;
        assert!(
            (fetched - expected).abs() < 0.5,
            "{fetched} fetches, with {seconds} s between two tokens"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyjwt_caches_the_key_set_for_its_max_age() {
    assert_cached_for_max_age(Verifier::pyjwt(), python).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jose_caches_the_key_set_for_its_max_age() {
    assert_cached_for_max_age(Verifier::jose(), node).await;
}

/// Runs a program that reads one token a line and ends with the number of fetches.
async fn assert_refuses_without_a_fetch(verifier: Verifier) {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve("");
    let pair = server.pair("ada", PASSWORD).await;
    let now = SystemClock.now().timestamp();
    let forge = Forge::new(&place.path("keys"), &server.url, now);
    let with_header = |member: &str, value: &str| {
        let mut header = forge.header(Kind::Access);
        header[member] = json!(value);
        let claims = Forge::claims_of(&pair.access).to_string();
        forge.signed(Kind::Access, &header.to_string(), &claims)
    };
    let accepted = [
        pair.access.clone(),
        with_header("typ", "at+jwt"),
        pair.access.clone(),
    ];
    let refused = [
        pair.refresh.clone(),
        tampered(&pair.access, 1),
        tampered(&pair.access, 2),
        with_header("kid", "unknown"),
        with_header("typ", "JWT"),
        "junk".to_owned(),
    ];
    let tokens = [accepted.as_slice(), &refused].concat();
    let mut command = verifier.command();
    command
        .args([
            &server.url,
            &format!("{}/.well-known/jwks.json", server.url),
        ])
        .stdin(File::open(place.write("tokens", &tokens.join("\n"))).unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), tokens.len() + 1, "{shown}");
    assert_eq!(lines[..accepted.len()], ["ok"; 3], "{shown}");
    for (line, token) in lines.iter().zip(&tokens).skip(accepted.len()) {
        assert!(line.starts_with("refused: "), "{token}: {line}");
    }
    assert_eq!(lines.last(), Some(&"1"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caching_program_with_pyjwt_refuses_without_a_fetch() {
    assert_refuses_without_a_fetch(Verifier::python("caching.py")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caching_program_with_jose_refuses_without_a_fetch() {
    assert_refuses_without_a_fetch(Verifier::node("caching.mjs")).await;
}

/// The README's example and simplejwt rely on the default of PyJWT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyjwt_default_lifespan_equals_the_default_max_age() {
    assert!(
        blocks("README.md", "python")
            .concat()
            .contains("jwt.PyJWKClient(\"http://127.0.0.1:8000/.well-known/jwks.json\")")
    );
    let mut python = Verifier::pyjwt().interpreter();
    let output = python
        .args([
            "-c",
            "import jwt; print(jwt.PyJWKClient('http://x').jwk_set_cache.lifespan)",
        ])
        .output();
    let lifespan = String::from_utf8(output.unwrap().stdout).unwrap();
    let server = Place::new().serve("");
    let keys = server.get("/.well-known/jwks.json").await;
    assert_eq!(
        keys.header("cache-control"),
        format!("public, max-age={}", lifespan.trim())
    );
}
