//! Request bodies: JSON, forms, and other content types.

use reqwest::Method;

use super::tools::{ENDPOINTS, all_wrong, refused};
use latchkey_testkit::{Answer, Backend, PASSWORD, TestApp};

async fn send(
    app: &TestApp,
    path: &str,
    content_type: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request = app.request(Method::POST, path).body(body);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    app.send(request).await
}

#[tokio::test]
async fn json_that_is_not_an_object_names_its_python_type() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, _) in ENDPOINTS {
        for (body, kind) in [
            ("[]", "list"),
            ("[1]", "list"),
            ("\"abc\"", "str"),
            ("5", "int"),
            ("-5", "int"),
            ("1.5", "float"),
            ("1e3", "float"),
            (" true ", "bool"),
        ] {
            let expected = format!(
                r#"{{"non_field_errors":["Invalid data. Expected a dictionary, but got {kind}."]}}"#
            );
            app.post(path, body).await.expect(400, &expected);
        }
        app.post(path, "null")
            .await
            .expect(400, r#"{"non_field_errors":["No data provided"]}"#);
    }
}

#[tokio::test]
async fn malformed_json_is_a_parse_error() {
    let app = TestApp::start(Backend::Embedded).await;
    let not_json = "this is not JSON";
    for (path, _) in ENDPOINTS {
        for (body, words) in [
            (&b"{"[..], "the text ends too early: line 1 column 1"),
            (b"{\"a\": ", "the text ends too early: line 1 column 6"),
            (b"{a:1}", &format!("{not_json}: line 1 column 2")),
            (b"{} {}", &format!("{not_json}: line 1 column 4")),
            (b"{\"a\":NaN}", &format!("{not_json}: line 1 column 6")),
            (b"{\"a\":'x'}", &format!("{not_json}: line 1 column 6")),
            (b"{\"a\":1,}", &format!("{not_json}: line 1 column 8")),
            (b"\n\nx", &format!("{not_json}: line 3 column 1")),
            (b"{\"a\":\"\xff\"}", "the body is not UTF-8"),
            (b"\xef\xbb\xbf{}", "the body begins with a byte-order mark"),
        ] {
            let answer = send(&app, path, Some("application/json"), body.to_vec()).await;
            let expected = format!(r#"{{"detail":"JSON parse error - {words}"}}"#);
            assert_eq!(
                (answer.status, answer.text),
                (400, expected),
                "{path} {}",
                String::from_utf8_lossy(body)
            );
        }
    }
}

#[tokio::test]
async fn json_type_ignores_case_and_allows_a_charset() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let body = format!(r#"{{"username":"ada","password":"{PASSWORD}"}}"#);
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/json ;v=1",
    ] {
        send(&app, "/api/token/", Some(content_type), body.clone())
            .await
            .pair();
    }
}

#[tokio::test]
async fn forms_are_read_like_json() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let form = [
        ("username", " ada "),
        ("password", PASSWORD),
        ("other", "x"),
    ];
    let pair = app
        .send(app.request(Method::POST, "/api/token/").form(&form))
        .await
        .pair();
    let multipart = reqwest::multipart::Form::new().text("refresh", pair.refresh.clone());
    let second = app
        .send(
            app.request(Method::POST, "/api/token/refresh/")
                .multipart(multipart),
        )
        .await
        .pair();
    app.send(
        app.request(Method::POST, "/api/token/verify/")
            .form(&[("token", &second.access)]),
    )
    .await
    .expect(200, "{}");
    // As in Django, the last of several values with one name counts.
    let twice = [("refresh", "junk"), ("refresh", second.refresh.as_str())];
    app.send(
        app.request(Method::POST, "/api/token/blacklist/")
            .form(&twice),
    )
    .await
    .expect(200, "{}");
}

#[tokio::test]
async fn invalid_forms_fail_like_json() {
    let app = TestApp::start(Backend::Embedded).await;
    let form = Some("application/x-www-form-urlencoded");
    for (path, fields) in ENDPOINTS {
        let required = all_wrong(fields, "This field is required.");
        send(&app, path, form, "x=1").await.expect(400, &required);
        let blank: Vec<String> = fields.iter().map(|name| format!("{name}=+")).collect();
        let expected = all_wrong(fields, "This field may not be blank.");
        send(&app, path, form, blank.join("&"))
            .await
            .expect(400, &expected);
        let nul: Vec<String> = fields.iter().map(|name| format!("{name}=a%00b")).collect();
        let expected = all_wrong(fields, "Null characters are not allowed.");
        send(&app, path, form, nul.join("&"))
            .await
            .expect(400, &expected);
        let empty = "--b--\r\n";
        send(&app, path, Some("multipart/form-data; boundary=b"), empty)
            .await
            .expect(400, &required);
    }
    send(&app, "/api/token/verify/", form, "token=junk")
        .await
        .expect(401, &refused("Token is invalid"));
}

#[tokio::test]
async fn file_is_not_a_valid_string() {
    let app = TestApp::start(Backend::Embedded).await;
    let part = reqwest::multipart::Part::text("x").file_name("token.txt");
    let form = reqwest::multipart::Form::new().part("token", part);
    let answer = app
        .send(
            app.request(Method::POST, "/api/token/verify/")
                .multipart(form),
        )
        .await;
    answer.expect(400, r#"{"token":["Not a valid string."]}"#);
}

#[tokio::test]
async fn malformed_multipart_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, _) in ENDPOINTS {
        let expected =
            r#"{"detail":"Multipart form parse error - Invalid boundary in multipart: None"}"#;
        send(&app, path, Some("multipart/form-data"), "x")
            .await
            .expect(400, expected);
        let expected =
            r#"{"detail":"Multipart form parse error - the parts have no clear boundary"}"#;
        send(
            &app,
            path,
            Some("multipart/form-data; boundary=b"),
            "no parts",
        )
        .await
        .expect(400, expected);
    }
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, _) in ENDPOINTS {
        for content_type in [
            "text/plain",
            "application/vnd.api+json",
            "text/plain; charset=utf-8",
            "application/jsonx",
            "json",
        ] {
            let expected =
                format!(r#"{{"detail":"Unsupported media type \"{content_type}\" in request."}}"#);
            let answer = send(&app, path, Some(content_type), "{}").await;
            answer.expect(415, &expected);
            assert_eq!(
                (answer.header("allow"), answer.header("www-authenticate")),
                ("POST, OPTIONS", "")
            );
        }
        let expected = r#"{"detail":"Unsupported media type \"\" in request."}"#;
        send(&app, path, None, "{}").await.expect(415, expected);
    }
}

/// Compressed bodies are refused, because a small body could expand to a large one.
#[tokio::test]
async fn compressed_body_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    for (path, fields) in ENDPOINTS {
        let packed = app
            .request(Method::POST, path)
            .header("content-type", "application/json")
            .header("content-encoding", "gzip");
        let answer = app.send(packed.body("{}")).await;
        answer.expect(
            415,
            r#"{"detail":"Unsupported media type \"gzip\" in request."}"#,
        );
        let plain = app
            .request(Method::POST, path)
            .header("content-type", "application/json")
            .header("content-encoding", "identity");
        app.send(plain.body("{}"))
            .await
            .expect(400, &all_wrong(fields, "This field is required."));
    }
}
