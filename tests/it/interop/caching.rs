//! Cache lifetime of the key set in the programs of the offline guide, which delays the revocation
//! of a key.
//!
//! A wrapper in the language of the program moves its clock. The program itself is unchanged.

use std::process::Command;

use crate::support::{Place, Server};

use super::{PASSWORD, documents::blocks, verifier::Verifier};

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
    let name = r#"latchkey_requests_total{route="/.well-known/jwks.json",status="200"} "#;
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
