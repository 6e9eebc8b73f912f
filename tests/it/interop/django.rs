//! Migration guide from simplejwt: the Django of `examples/django`, with the settings and the model
//! of the guide, accepts our access tokens, and no others.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{
    PASSWORD, tampered,
    verifier::{Verifier, example},
};
use latchkey_testkit::{Place, Server};

/// Copies the example, with the address of this server in its settings. Returns the path of the
/// view.
pub fn copied(place: &Place, server: &Server) -> PathBuf {
    for name in ["people/__init__.py", "people/models.py", "view.py"] {
        let text = fs::read_to_string(example("django").join(name)).unwrap();
        place.write(&format!("site/{name}"), &text);
    }
    let settings = fs::read_to_string(example("django").join("simple_jwt.py")).unwrap();
    place.write(
        "site/simple_jwt.py",
        &settings.replace("https://auth.example.com", &server.url),
    );
    place.path("site/view.py")
}

#[tokio::test]
async fn django_with_the_settings_of_the_guide_finds_the_user() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    place.user("eve", PASSWORD);
    let server = place.serve("");
    let pair = server.pair("ada", PASSWORD).await;
    let unknown_user = server.pair("eve", PASSWORD).await.access;
    // The same keys with another issuer, as in a test environment with copied keys.
    let other_issuer = place
        .serve("--issuer https://other_issuer.test")
        .pair("ada", PASSWORD)
        .await
        .access;
    let other_place = Place::new();
    other_place.user("ada", PASSWORD);
    let foreign = other_place
        .serve(&format!("--issuer {}", server.url))
        .pair("ada", PASSWORD)
        .await
        .access;

    let id = place.run("users show ada --json").json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let changed = [tampered(&pair.access, 1), tampered(&pair.access, 2)];
    let refused = [
        &pair.refresh,
        &changed[0],
        &changed[1],
        &other_issuer,
        &foreign,
        &unknown_user,
    ];
    let mut django = Verifier::django(copied(&place, &server)).command();
    django.arg(&id).arg(&pair.access).args(refused);
    let output = django.output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");

    assert_eq!(answers[0], json!([200, "ada"]));
    assert_eq!(answers.len(), 1 + refused.len(), "{answers:?}");
    let (unknown, invalid) = answers[1..].split_last().unwrap();
    for answer in invalid {
        assert_eq!(
            (&answer[0], &answer[1]["code"]),
            (&401.into(), &"token_not_valid".into()),
            "{answer}"
        );
    }
    // A valid token of a user that this Django does not know.
    assert_eq!(
        (&unknown[0], &unknown[1]["code"]),
        (&401.into(), &"user_not_found".into()),
        "{unknown}"
    );
}
