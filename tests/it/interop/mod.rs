//! Interoperability with other programs. Third-party libraries verify access tokens with only the
//! URL of the key set.

mod caching;
mod django;
mod documents;
mod example;
mod examples;
mod java;
mod nginx;
mod prefix;
mod prometheus;
mod three_instances;

use std::{path::Path, process::Command};

pub use latchkey_testkit::verifier::{self, Verifier, require};
use serde_json::Value;

use latchkey_testkit::{PASSWORD, Place};

/// URL of the key set, and a local copy.
struct KeySet<'a> {
    file: &'a Path,
    url: &'a str,
}

/// Returns a command that verifies a token. Arguments: key set, issuer, algorithm and token.
type Microservice = fn(&KeySet, &str, &str, &str) -> Command;

fn pyjwt(keys: &KeySet, issuer: &str, algorithm: &str, token: &str) -> Command {
    let mut command = Verifier::pyjwt().command();
    command.args([keys.url, issuer, algorithm, token]);
    command
}

fn jose(keys: &KeySet, issuer: &str, algorithm: &str, token: &str) -> Command {
    let mut command = Verifier::jose().command();
    command.args([keys.url, issuer, algorithm, token]);
    command
}

/// The key in the set determines the algorithm.
fn latchkey_verifier(keys: &KeySet, issuer: &str, _: &str, token: &str) -> Command {
    let mut command = Command::new(example::built());
    command.env_clear().arg(keys.file).args([issuer, token]);
    command
}

/// Returns the claims as JSON, or the error text if the exit code is 1.
fn outcome(mut command: Command) -> Result<String, String> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        return Ok(text(output.stdout));
    }
    assert_eq!(
        (output.status.code(), text(output.stdout).as_str()),
        (Some(1), ""),
        "{command:?}"
    );
    Err(text(output.stderr))
}

/// Starts a server that signs with `algorithm`, and verifies valid and invalid tokens.
async fn assert_only_access_tokens_pass(microservice: Microservice, algorithm: &str) {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve(&format!("--algorithm {algorithm}"));
    let pair = server.pair("ada", PASSWORD).await;
    let published = server.get("/.well-known/jwks.json").await;
    assert_eq!(
        published.json()["keys"].as_array().unwrap().len(),
        1,
        "{published:?}"
    );
    let (url, file) = (
        format!("{}/.well-known/jwks.json", server.url),
        place.write("jwks.json", &published.text),
    );
    let keys = KeySet {
        file: &file,
        url: &url,
    };
    let verify = |issuer: &str, token: &str| outcome(microservice(&keys, issuer, algorithm, token));

    let claims: Value = serde_json::from_str(&verify(&server.url, &pair.access).unwrap()).unwrap();
    let id = place.run("users show ada --json").json()["id"].clone();
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["user_id"]),
        (&server.url.as_str().into(), &id, &id)
    );
    assert_eq!(claims["token_type"], "access");

    for (what, issuer, token) in [
        (
            "another issuer",
            "https://elsewhere.test",
            pair.access.clone(),
        ),
        ("a refresh token", &server.url, pair.refresh.clone()),
        ("a changed payload", &server.url, tampered(&pair.access, 1)),
        (
            "a changed signature",
            &server.url,
            tampered(&pair.access, 2),
        ),
        (
            "another header",
            &server.url,
            with_header_of(&pair.refresh, &pair.access),
        ),
        (
            "no signature",
            &server.url,
            pair.access.rsplit_once('.').unwrap().0.to_owned() + ".",
        ),
    ] {
        let refusal = verify(issuer, &token).expect_err(what);
        assert!(
            refusal.starts_with("refused: "),
            "{what}: unexpected error of the verifier: {refusal}"
        );
    }
}

/// The three lines of the README, with the address of this server and a token in a variable.
#[tokio::test]
async fn readme_python_verifies_a_token() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve("");
    let pair = server.pair("ada", PASSWORD).await;
    let shown = documents::blocks("README.md", "python")
        .concat()
        .replace("http://127.0.0.1:8000", &server.url);
    let program = |token: &str| format!("token = {token:?}\n{shown}\nprint(claims['iss'])\n");
    let run = |token: &str| {
        Verifier::python("verify.py")
            .interpreter()
            .args(["-c", &program(token)])
            .output()
            .unwrap()
    };
    let good = run(&pair.access);
    assert_eq!(
        String::from_utf8_lossy(&good.stdout).trim(),
        server.url,
        "{good:?}"
    );
    assert!(!run(&tampered(&pair.access, 1)).status.success());
}

/// Returns the token with one changed character in the middle of a segment.
fn tampered(token: &str, part: usize) -> String {
    let mut parts: Vec<_> = token.split('.').map(ToOwned::to_owned).collect();
    let middle = parts[part].len() / 2;
    let other = if &parts[part][middle..=middle] == "A" {
        "B"
    } else {
        "A"
    };
    parts[part].replace_range(middle..=middle, other);
    parts.join(".")
}

fn with_header_of(token: &str, rest: &str) -> String {
    format!(
        "{}.{}",
        token.split('.').next().unwrap(),
        rest.split_once('.').unwrap().1
    )
}

macro_rules! each_algorithm {
    ($microservice:ident) => {
        mod $microservice {
            use super::{assert_only_access_tokens_pass as story, $microservice as microservice};

            #[tokio::test]
            async fn verifies_es256() {
                story(microservice, "ES256").await;
            }

            #[tokio::test]
            async fn verifies_eddsa() {
                story(microservice, "EdDSA").await;
            }

            #[tokio::test]
            async fn verifies_rs256() {
                story(microservice, "RS256").await;
            }
        }
    };
}

each_algorithm!(pyjwt);
each_algorithm!(jose);
each_algorithm!(latchkey_verifier);
