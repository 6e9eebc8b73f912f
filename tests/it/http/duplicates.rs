//! Duplicate fields: the last value counts, in any order of the other fields. Otherwise a filter in
//! front of the server could see another password.

use reqwest::Method;

use super::tools::BAD_CREDENTIALS;
use latchkey_testkit::{Answer, Backend, PASSWORD, TestApp};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";

async fn sign_in(app: &TestApp, content_type: &str, body: String) -> Answer {
    let request = app
        .request(Method::POST, "/api/token/")
        .header("content-type", content_type);
    app.send(request.body(body)).await
}

/// Returns a body with these fields in this order.
fn body(content_type: &str, fields: &[(&str, &str)]) -> String {
    let join = |separator: &str, field: fn(&(&str, &str)) -> String| {
        fields.iter().map(field).collect::<Vec<_>>().join(separator)
    };
    match content_type {
        JSON => format!(
            "{{{}}}",
            join(",", |(name, value)| format!("\"{name}\":\"{value}\""))
        ),
        FORM => join("&", |(name, value)| {
            format!("{name}={}", value.replace(' ', "+"))
        }),
        _ => join("", |(name, value)| part(&format!("name=\"{name}\""), value)) + "--b--\r\n",
    }
}

fn part(parameters: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {parameters}\r\n\r\n{value}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_of_several_passwords_counts() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let (name, good, bad, other) = (
        ("username", "ada"),
        ("password", PASSWORD),
        ("password", "x"),
        ("x", "y"),
    );
    let wrong_name = ("username", "eve");
    for content_type in [JSON, FORM, MULTIPART] {
        for (fields, is_good) in [
            (&[name, bad, good][..], true),
            (&[bad, name, good], true),
            (&[bad, good, name], true),
            (&[bad, good, name, other], true),
            (&[wrong_name, bad, good, other, name], true),
            (&[name, bad, bad, other, good], true),
            (&[name, good, bad], false),
            (&[good, name, bad], false),
            (&[good, bad, name], false),
            (&[name, good, wrong_name], false),
            // Duplicate name.
            (
                &[
                    name,
                    good,
                    ("Password", "x"),
                    ("password[]", "x"),
                    (" password", "x"),
                ],
                true,
            ),
        ] {
            let answer = sign_in(&app, content_type, body(content_type, fields)).await;
            if is_good {
                assert_eq!(answer.status, 200, "{content_type} {fields:?}");
            } else {
                answer.expect(401, BAD_CREDENTIALS);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escaped_field_name_is_the_same_name() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let json = |members: &str| format!("{{\"username\":\"ada\",{members}}}");
    for (content_type, body, status) in [
        (
            JSON,
            json(&format!(r#""password":"x","pass\u0077ord":"{PASSWORD}""#)),
            200,
        ),
        (
            JSON,
            json(&format!(r#""pass\u0077ord":"{PASSWORD}","password":"x""#)),
            401,
        ),
        (
            JSON,
            json(&format!(r#""password":"{PASSWORD}","\u0070assword":null"#)),
            400,
        ),
        (
            FORM,
            format!(
                "username=ada&password=x&pass%77ord={}",
                PASSWORD.replace(' ', "+")
            ),
            200,
        ),
        (
            FORM,
            format!(
                "pass%77ord={}&password=x&username=ada",
                PASSWORD.replace(' ', "+")
            ),
            401,
        ),
    ] {
        assert_eq!(
            sign_in(&app, content_type, body.clone()).await.status,
            status,
            "{body}"
        );
    }
}

/// Django collects files separately and adds them after the fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_counts_as_the_last_value_of_its_name() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let name = part("name=\"username\"", "ada");
    let field = part("name=\"password\"", PASSWORD);
    let no_text = r#"{"password":["Not a valid string."]}"#;
    for file in [
        "name=\"password\"; filename=\"a.txt\"",
        "filename*=UTF-8''a.txt; name=password",
    ] {
        let file = part(file, "file");
        for parts in [[&name, &field, &file], [&file, &field, &name]] {
            let body = parts.map(String::as_str).concat() + "--b--\r\n";
            sign_in(&app, MULTIPART, body).await.expect(400, no_text);
        }
    }
    // A file input without a file counts as a field.
    let empty = part("name=\"password\"; filename=\"\"", PASSWORD);
    sign_in(&app, MULTIPART, [&name, &empty, "--b--\r\n"].concat())
        .await
        .pair();
    // The last of two `name` parameters counts.
    let twice = part("name=\"x\"; name=\"password\"", PASSWORD);
    sign_in(&app, MULTIPART, [&name, &twice, "--b--\r\n"].concat())
        .await
        .pair();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_parameters_are_not_fields() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let body = format!(r#"{{"username":"ada","password":"{PASSWORD}"}}"#);
    app.post("/api/token/?password=x&password=y&username=eve", &body)
        .await
        .pair();
    let required = r#"{"password":["This field is required."]}"#;
    app.post(
        &format!("/api/token/?password={PASSWORD}"),
        r#"{"username":"ada"}"#,
    )
    .await
    .expect(400, required);
}

/// A filter could have used another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_content_types_are_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    app.user("ada").await;
    let body = body(JSON, &[("username", "ada"), ("password", PASSWORD)]);
    for (first, second) in [(JSON, FORM), (FORM, JSON), (JSON, JSON)] {
        let request = app
            .request(Method::POST, "/api/token/")
            .header("content-type", first);
        let answer = app
            .send(request.header("content-type", second).body(body.clone()))
            .await;
        let expected =
            format!(r#"{{"detail":"Unsupported media type \"{first}, {second}\" in request."}}"#);
        answer.expect(415, &expected);
    }
    let packed = app
        .request(Method::POST, "/api/token/")
        .header("content-type", JSON);
    let packed = packed
        .header("content-encoding", "identity")
        .header("content-encoding", "gzip");
    app.send(packed.body(body)).await.expect(
        415,
        r#"{"detail":"Unsupported media type \"identity, gzip\" in request."}"#,
    );
}
