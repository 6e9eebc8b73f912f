//! Settings for claims and signatures of tokens.

use std::{fs, path::PathBuf};

use latchkey_verifier::{Algorithm, Family, KeySet, Kind, Policy, Verifier};
use serde_json::json;

use super::tools::{execute, refused, refused_here};
use latchkey_testkit::{Backend, Forge, TestApp, on_both_backends};

on_both_backends! {
    async fn additional_claims_are_read_at_each_refresh(backend: Backend) {
        let flags = ["--access-claims=username,email,is_staff,first_name,last_name"];
        let app = TestApp::start_with(backend, &flags).await;
        let first = app.signed_in("ada").await;
        let claims = Forge::claims_of(&first.access);
        let of = |claims: &serde_json::Value| {
            ["username", "email", "is_staff", "first_name", "last_name"].map(|name| claims[name].clone())
        };
        assert_eq!(of(&claims), [json!("ada"), json!(""), json!(false), json!(""), json!("")]);
        assert_eq!(Forge::claims_of(&first.refresh)["username"], json!(null));
        let change = "UPDATE users SET email = 'ada@example.com', is_staff = TRUE, first_name = 'Ada', last_name = 'L' WHERE username = 'ada'";
        execute(&app, change).await;
        let second = app.refresh(&first.refresh).await.pair();
        let expected = [json!("ada"), json!("ada@example.com"), json!(true), json!("Ada"), json!("L")];
        assert_eq!(of(&Forge::claims_of(&second.access)), expected);
    }
}

#[tokio::test]
async fn claims_can_be_renamed() {
    let flags = [
        "--user-id-claim=uid",
        "--token-type-claim=kind",
        "--jti-claim=id",
    ];
    let app = TestApp::start_with(Backend::Embedded, &flags).await;
    let (pair, forge) = (app.signed_in("ada").await, app.forge());
    let claims = Forge::claims_of(&pair.access);
    let names: Vec<&str> = claims
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "kind", "exp", "iat", "id", "uid", "iss", "sub", "sid", "ver"
        ]
    );
    app.verify(&pair.access).await.expect(200, "{}");
    assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 200);
    for (name, text) in [("id", "Token has no id"), ("kind", "Token has no type")] {
        let token = forge.altered(&pair.access, Kind::Access, &json!({ name: null }));
        app.me(&format!("Bearer {token}"))
            .await
            .expect(401, &refused_here(text));
    }
    let second = app.refresh(&pair.refresh).await.pair();
    app.blacklist(&second.refresh).await.expect(200, "{}");
}

#[tokio::test]
async fn configured_audience_is_written_and_required() {
    let app = TestApp::start_with(Backend::Embedded, &["--audience=https://api.test"]).await;
    let (pair, forge) = (app.signed_in("ada").await, app.forge());
    assert_eq!(Forge::claims_of(&pair.access)["aud"], "https://api.test");
    assert_eq!(Forge::claims_of(&pair.refresh)["aud"], "https://auth.test");
    app.verify(&pair.access).await.expect(200, "{}");
    let several = forge.altered(
        &pair.access,
        Kind::Access,
        &json!({ "aud": ["x", "https://api.test"] }),
    );
    app.verify(&several).await.expect(200, "{}");
    for aud in [
        json!(null),
        json!("https://api.test/"),
        json!([]),
        json!(["x"]),
        json!(5),
    ] {
        let token = forge.altered(&pair.access, Kind::Access, &json!({ "aud": aud }));
        app.verify(&token)
            .await
            .expect(401, &refused("Token is invalid"));
        app.me(&format!("Bearer {token}"))
            .await
            .expect(401, &refused_here("Token is invalid"));
    }
    app.refresh(&pair.refresh).await.pair();
}

#[tokio::test]
async fn configured_issuer_is_written() {
    let app = TestApp::start_with(Backend::Embedded, &["--issuer=https://login.example.com"]).await;
    let pair = app.signed_in("ada").await;
    assert_eq!(
        Forge::claims_of(&pair.access)["iss"],
        "https://login.example.com"
    );
    app.verify(&pair.access).await.expect(200, "{}");
}

#[tokio::test]
async fn configured_lifetimes_apply() {
    let app = TestApp::start_with(
        Backend::Embedded,
        &["--access-token-lifetime=90s", "--refresh-token-lifetime=2h"],
    )
    .await;
    let pair = app.signed_in("ada").await;
    assert_eq!(Forge::claims_of(&pair.access)["exp"], app.now() + 90);
    assert_eq!(Forge::claims_of(&pair.refresh)["exp"], app.now() + 7200);
    app.advance(90);
    app.verify(&pair.access)
        .await
        .expect(401, &refused("Token is expired"));
}

#[tokio::test]
async fn leeway_tolerates_a_few_seconds() {
    let app = TestApp::start_with(Backend::Embedded, &["--leeway=10s"]).await;
    let (pair, forge) = (app.signed_in("ada").await, app.forge());
    let early = forge.altered(
        &pair.access,
        Kind::Access,
        &json!({ "nbf": app.now() + 10 }),
    );
    app.verify(&early).await.expect(200, "{}");
    let too_early = forge.altered(
        &pair.access,
        Kind::Access,
        &json!({ "nbf": app.now() + 11 }),
    );
    app.verify(&too_early)
        .await
        .expect(401, &refused("Token is invalid"));
    app.advance(309);
    app.verify(&pair.access).await.expect(200, "{}");
    app.advance(1);
    app.verify(&pair.access)
        .await
        .expect(401, &refused("Token is expired"));
}

#[tokio::test]
async fn header_type_can_be_jwt() {
    let app = TestApp::start_with(Backend::Embedded, &["--access-token-typ=JWT"]).await;
    let (pair, forge) = (app.signed_in("ada").await, app.forge());
    app.verify(&pair.access).await.expect(200, "{}");
    // The forge writes at+jwt, which differs from the configured type.
    let other = forge.token(Kind::Access, &Forge::claims_of(&pair.access));
    app.verify(&other)
        .await
        .expect(401, &refused("Token is invalid"));
}

/// Makes a copy of the server's key directory in which the access key is for another algorithm.
fn keys_for(app: &TestApp, algorithm: Algorithm) -> PathBuf {
    let keys = &app.config.keys;
    let copy = keys.keys_dir.with_extension(algorithm.name());
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&keys.keys_dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let name = name.replace(keys.algorithm.name(), algorithm.name());
        fs::copy(entry.path(), copy.join(name)).unwrap();
    }
    copy
}

#[tokio::test]
async fn each_algorithm_signs_and_verifies() {
    // All algorithms of RSA use one key, because generating it is slow.
    let rsa = TestApp::start_with(Backend::Embedded, &["--algorithm=RS256"]).await;
    let mut apps = Vec::new();
    for algorithm in Algorithm::ALL {
        let published = usize::from(algorithm.family() != Family::Hmac);
        let app = if algorithm.name().starts_with(['R', 'P']) {
            let keys = keys_for(&rsa, algorithm);
            rsa.twin_with(|config| {
                config.keys.algorithm = algorithm;
                config.keys.keys_dir = keys;
            })
            .await
        } else {
            TestApp::start_with(Backend::Embedded, &[&format!("--algorithm={algorithm}")]).await
        };
        let pair = app.signed_in(&format!("ada-{algorithm}")).await;
        assert_eq!(app.forge().header(Kind::Access)["alg"], algorithm.name());
        app.verify(&pair.access).await.expect(200, "{}");
        assert_eq!(
            app.me(&format!("Bearer {}", pair.access)).await.status,
            200,
            "{algorithm}"
        );
        let second = app.refresh(&pair.refresh).await.pair();
        app.verify(&second.access).await.expect(200, "{}");
        let keys = app.get("/.well-known/jwks.json").await;
        assert_eq!(
            keys.json()["keys"].as_array().unwrap().len(),
            published,
            "{algorithm}"
        );
        let offline = Verifier::new(
            KeySet::from_jwks(&keys.text).unwrap(),
            Policy::new("https://auth.test"),
        );
        assert_eq!(
            offline.verify_access(&second.access, app.now()).is_ok(),
            published == 1,
            "{algorithm}"
        );
        apps.push(app);
    }
    // At its stop, each server waits almost a second for its idle connections.
    std::thread::scope(|scope| {
        for app in apps {
            scope.spawn(move || drop(app));
        }
    });
}
