//! A microservice's view: other people's libraries verify access tokens, and all that they know is the URL of the keys.

mod verifier;

use serde_json::Value;
use verifier::Verifier;

use crate::support::Place;

const PASSWORD: &str = "correct horse battery staple";

/// Signs in at a server of its own that signs with `algorithm`, and hands tokens to the other side.
async fn a_microservice_takes_access_tokens_and_no_others(verifier: &Verifier, algorithm: &str) {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve(&format!("--algorithm {algorithm}"));
    let pair = server.pair("ada", PASSWORD).await;
    let keys = server.get("/.well-known/jwks.json").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
    let verify = |issuer: &str, token: &str| {
        verifier.verify(&format!("{}/.well-known/jwks.json", server.url), issuer, algorithm, token)
    };

    let claims: Value = serde_json::from_str(&verify(&server.url, &pair.access).unwrap()).unwrap();
    let id = place.run("users show ada --json").json()["id"].clone();
    assert_eq!((&claims["iss"], &claims["sub"], &claims["user_id"]), (&server.url.as_str().into(), &id, &id));
    assert_eq!(claims["token_type"], "access");

    for (what, issuer, token) in [
        ("another issuer", "https://elsewhere.test", pair.access.clone()),
        ("a refresh token", &server.url, pair.refresh.clone()),
        ("a changed payload", &server.url, tampered(&pair.access, 1)),
        ("a changed signature", &server.url, tampered(&pair.access, 2)),
        ("another header", &server.url, with_header_of(&pair.refresh, &pair.access)),
        ("no signature", &server.url, pair.access.rsplit_once('.').unwrap().0.to_owned() + "."),
    ] {
        let refusal = verify(issuer, &token).expect_err(what);
        assert!(refusal.starts_with("refused: "), "{what} breaks the verifier: {refusal}");
    }
}

/// The token with a character in the middle of one of its parts changed.
fn tampered(token: &str, part: usize) -> String {
    let mut parts: Vec<_> = token.split('.').map(ToOwned::to_owned).collect();
    let middle = parts[part].len() / 2;
    let other = if &parts[part][middle..=middle] == "A" { "B" } else { "A" };
    parts[part].replace_range(middle..=middle, other);
    parts.join(".")
}

fn with_header_of(token: &str, rest: &str) -> String {
    format!("{}.{}", token.split('.').next().unwrap(), rest.split_once('.').unwrap().1)
}

macro_rules! each_algorithm {
    ($verifier:ident) => {
        mod $verifier {
            use super::{Verifier, a_microservice_takes_access_tokens_and_no_others as story};

            #[tokio::test]
            async fn verifies_es256() {
                story(&Verifier::$verifier(), "ES256").await;
            }

            #[tokio::test]
            async fn verifies_eddsa() {
                story(&Verifier::$verifier(), "EdDSA").await;
            }

            #[tokio::test]
            async fn verifies_rs256() {
                story(&Verifier::$verifier(), "RS256").await;
            }
        }
    };
}

each_algorithm!(pyjwt);
each_algorithm!(jose);
