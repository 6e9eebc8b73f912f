//! Field validation of the token endpoints.

use reqwest::Method;
use serde_json::json;

use super::tools::{BAD_CREDENTIALS, ENDPOINTS, all, all_wrong, refused, user_with_password};
use latchkey_testkit::{Backend, TestApp};

/// As in simplejwt, one response names all failing fields in the order of the view.
#[tokio::test]
async fn missing_field_is_required_for_any_empty_body() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, fields) in ENDPOINTS {
        let required = all_wrong(fields, "This field is required.");
        app.post(path, "{}").await.expect(400, &required);
        app.post(path, r#"{"other":1,"Refresh":"x","TOKEN":"x"}"#)
            .await
            .expect(400, &required);
        app.send(app.request(Method::POST, path))
            .await
            .expect(400, &required);
        for content_type in [
            "application/json",
            "application/x-www-form-urlencoded",
            "text/plain",
            "application/vnd.api+json",
        ] {
            let empty = app
                .request(Method::POST, path)
                .header("content-type", content_type)
                .body("");
            app.send(empty).await.expect(400, &required);
        }
    }
}

#[tokio::test]
async fn each_invalid_value_has_its_own_message() {
    let app = TestApp::start(Backend::Embedded).await;
    let (blank, null) = (
        "This field may not be blank.",
        "This field may not be null.",
    );
    let (text, nul) = ("Not a valid string.", "Null characters are not allowed.");
    for (path, fields) in ENDPOINTS {
        for (value, expected) in [
            (r#""""#, blank),
            (r#"" \t\n ""#, blank),
            (r#""\u00a0\u3000\u001c\u0085""#, blank),
            ("null", null),
            ("true", text),
            ("false", text),
            ("[]", text),
            (r#"["x"]"#, text),
            ("{}", text),
            (r#""a\u0000b""#, nul),
            (r#""\u0000""#, nul),
            (
                r#""\ud800""#,
                "Surrogate characters are not allowed: U+D800.",
            ),
            (
                r#""x\udfff ""#,
                "Surrogate characters are not allowed: U+DFFF.",
            ),
        ] {
            let answer = app.post(path, &all(fields, value)).await;
            assert_eq!(
                (answer.status, answer.text),
                (400, all_wrong(fields, expected)),
                "{path} {value}"
            );
        }
    }
}

#[tokio::test]
async fn different_errors_are_reported_in_the_order_of_the_view() {
    let app = TestApp::start(Backend::Embedded).await;
    let expected =
        r#"{"username":["This field may not be null."],"password":["This field is required."]}"#;
    app.post("/api/token/", r#"{"username":null}"#)
        .await
        .expect(400, expected);
    let expected =
        r#"{"username":["This field may not be blank."],"password":["Not a valid string."]}"#;
    app.post("/api/token/", r#"{"password":[],"username":""}"#)
        .await
        .expect(400, expected);
    app.post("/api/token/", r#"{"password":"x"}"#)
        .await
        .expect(400, r#"{"username":["This field is required."]}"#);
}

#[tokio::test]
async fn number_is_converted_to_text() {
    let app = TestApp::start(Backend::Embedded).await;
    user_with_password(&app, "12345", "98765432").await;
    app.post("/api/token/", r#"{"username":12345,"password":98765432}"#)
        .await
        .pair();
    app.post("/api/token/", r#"{"username":12345.0,"password":1e3}"#)
        .await
        .expect(401, BAD_CREDENTIALS);
    for (path, fields) in &ENDPOINTS[1..] {
        app.post(path, &all(fields, "5"))
            .await
            .expect(401, &refused("Token is invalid"));
        app.post(path, &all(fields, "1.5"))
            .await
            .expect(401, &refused("Token is invalid"));
    }
}

#[tokio::test]
async fn white_space_around_names_and_tokens_is_trimmed() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    app.obtain(" \tada\n\u{3000}", latchkey_testkit::PASSWORD)
        .await
        .pair();
    app.verify(&format!("\n {} \t", pair.access))
        .await
        .expect(200, "{}");
    let next = app.refresh(&format!(" {} ", pair.refresh)).await.pair();
    app.blacklist(&format!("\u{a0}{} ", next.refresh))
        .await
        .expect(200, "{}");
}

/// ASVS 6.2.8. Django would trim the password.
#[tokio::test]
async fn white_space_around_a_password_is_kept() {
    let app = TestApp::start(Backend::Embedded).await;
    user_with_password(&app, "spacious", "  two spaces  ").await;
    app.obtain("spacious", "  two spaces  ").await.pair();
    app.obtain("spacious", "two spaces")
        .await
        .expect(401, BAD_CREDENTIALS);
    app.obtain("spacious", " two spaces  ")
        .await
        .expect(401, BAD_CREDENTIALS);
    let blank = r#"{"password":["This field may not be blank."]}"#;
    app.obtain("spacious", "    ").await.expect(400, blank);
}

#[tokio::test]
async fn overlong_value_is_an_ordinary_wrong_value() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let long = "x".repeat(15_000);
    app.obtain("ada", &long).await.expect(401, BAD_CREDENTIALS);
    app.obtain(&long, "x").await.expect(401, BAD_CREDENTIALS);
    app.refresh(&long)
        .await
        .expect(401, &refused("Token is invalid"));
    app.verify(&long)
        .await
        .expect(401, &refused("Token is invalid"));
    app.blacklist(&long)
        .await
        .expect(401, &refused("Token is invalid"));
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let body =
        json!({ "token": pair.access, "type": null, "token2": [], "nested": { "a": [1, 2] } });
    app.post("/api/token/verify/", &body.to_string())
        .await
        .expect(200, "{}");
    let odd = format!(
        r#"{{"a":1e999,"b":"\ud800","token":null,"":0,"token":"{}"}}"#,
        pair.access
    );
    app.post("/api/token/verify/", &odd).await.expect(200, "{}");
}
