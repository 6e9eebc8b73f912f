//! Examples in the OpenAPI document, compared with responses of a real server.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    openapi::document,
    tools::{all, deactivate},
};
use latchkey_testkit::{Answer, Backend, Pair, TestApp, servers::eventually, username};

const UNKNOWN: &str = "9b2f1c1e-4f4c-4a55-8d0a-5f0a3c1d2e3f";

/// Answers with the id of their operation.
#[derive(Default)]
struct Answers(Vec<(&'static str, Answer)>);

impl Answers {
    async fn ask(
        &mut self,
        app: &TestApp,
        id: &'static str,
        change: impl FnOnce(Request) -> Request,
    ) {
        let Request {
            method,
            headers,
            body,
        } = change(Request::of(id));
        let path = operation(id).0.replace("{id}", UNKNOWN);
        let mut request = app.request(method, &path).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.0.push((id, app.send(request).await));
    }
}

struct Request {
    method: Method,
    headers: BTreeMap<&'static str, String>,
    body: String,
}

impl Request {
    fn of(id: &str) -> Self {
        let method = operation(id).1.to_uppercase().parse().unwrap();
        Self {
            method,
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }

    fn json(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self.typed("application/json")
    }

    fn typed(mut self, content_type: &str) -> Self {
        self.headers.insert("content-type", content_type.to_owned());
        self
    }

    fn authorized(mut self, value: &str) -> Self {
        self.headers.insert("authorization", value.to_owned());
        self
    }

    fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }
}

/// Returns path, method and description of an operation.
fn operation(id: &str) -> (String, String, Value) {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["operationId"] == id {
                return (path.clone(), method.clone(), operation.clone());
            }
        }
    }
    panic!("no operation {id}")
}

/// Returns the response of an operation, with `$ref` resolved.
fn described(operation: &Value, status: &str) -> Value {
    let response = &operation["responses"][status];
    match response["$ref"].as_str() {
        Some(place) => document()
            .pointer(place.trim_start_matches('#'))
            .unwrap()
            .clone(),
        None => response.clone(),
    }
}

fn examples(response: &Value) -> Vec<Value> {
    let Some(content) = response["content"].get("application/json") else {
        return Vec::new();
    };
    let several = content["examples"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, example)| example["value"].clone());
    content
        .get("example")
        .cloned()
        .into_iter()
        .chain(several)
        .collect()
}

/// True if both have the same structure and types. `null` matches any value.
fn same_shape(example: &Value, answer: &Value) -> bool {
    match (example, answer) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(example), Value::Object(answer)) => {
            example.keys().eq(answer.keys())
                && example
                    .iter()
                    .all(|(name, value)| same_shape(value, &answer[name]))
        }
        (Value::Array(example), Value::Array(answer)) => {
            answer.iter().all(|answer| same_shape(&example[0], answer))
        }
        (example, answer) => std::mem::discriminant(example) == std::mem::discriminant(answer),
    }
}

async fn bodies(app: &TestApp, answers: &mut Answers) {
    let fields: [(&'static str, &[&str]); 5] = [
        ("obtain", &["username", "password"]),
        ("refresh", &["refresh"]),
        ("verify", &["token"]),
        ("blacklist", &["refresh"]),
        ("log_out", &[]),
    ];
    for (id, fields) in fields {
        for body in [
            "{".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            "{}".to_owned(),
            all(fields, "\" \""),
        ] {
            answers.ask(app, id, |request| request.json(body)).await;
        }
        answers
            .ask(app, id, |request| request.json(" ".repeat(20_000)))
            .await;
        answers
            .ask(app, id, |request| request.json("x").typed("text/plain"))
            .await;
        answers
            .ask(app, id, |request| {
                request.json("x").typed("multipart/form-data")
            })
            .await;
        answers
            .ask(app, id, |request| request.with_method(Method::PATCH))
            .await;
    }
}

/// Sends requests with missing, malformed, inactive and valid access tokens.
async fn unauthorized(app: &TestApp, answers: &mut Answers) {
    let (ada, idle, deleted) = (
        app.signed_in("ada").await,
        app.signed_in("idle").await,
        app.signed_in("deleted").await,
    );
    deactivate(app, "idle").await;
    app.accounts()
        .await
        .delete(&username("deleted"))
        .await
        .unwrap();
    for id in ["user", "list_sessions", "end_session", "log_out_everywhere"] {
        answers.ask(app, id, |request| request).await;
        for token in ["a b", "junk", &idle.access, &deleted.access] {
            answers
                .ask(app, id, |request| {
                    request.authorized(&format!("Bearer {token}"))
                })
                .await;
        }
        let known = format!("Bearer {}", ada.access);
        answers
            .ask(app, id, |request| {
                request.authorized(&known).with_method(Method::PATCH)
            })
            .await;
        answers
            .ask(app, id, |request| request.authorized(&known))
            .await;
    }
    for value in ["Bearer a b", "Bearer junk"] {
        answers
            .ask(app, "log_out", |request| request.authorized(value))
            .await;
    }
    answers
        .ask(app, "refresh", |request| {
            request.json(json!({ "refresh": idle.refresh }).to_string())
        })
        .await;
}

/// Sends valid, revoked and invalid tokens.
async fn tokens(app: &TestApp, answers: &mut Answers) {
    let credentials =
        |password: &str| json!({ "username": "eve", "password": password }).to_string();
    app.user("eve").await;
    answers
        .ask(app, "obtain", |request| {
            request.json(credentials(latchkey_testkit::PASSWORD))
        })
        .await;
    answers
        .ask(app, "obtain", |request| request.json(credentials("wrong")))
        .await;
    let Pair { access, refresh } = answers.0[answers.0.len() - 2].1.pair();
    let fields = [
        ("refresh", "refresh"),
        ("verify", "token"),
        ("blacklist", "refresh"),
        ("log_out", "refresh"),
    ];
    for token in ["junk", &access, &refresh, &refresh] {
        for (id, field) in fields {
            answers
                .ask(app, id, |request| {
                    request.json(json!({ field: token }).to_string())
                })
                .await;
        }
    }
    let second = app.signed_in("bob").await;
    answers
        .ask(app, "log_out", |request| {
            request.json(json!({ "refresh": second.refresh }).to_string())
        })
        .await;
    app.advance(86_400);
    for (id, field) in fields {
        answers
            .ask(app, id, |request| {
                request.json(json!({ field: refresh }).to_string())
            })
            .await;
    }
}

async fn readers(app: &TestApp, answers: &mut Answers) {
    let public = [
        "jwks",
        "openid_configuration",
        "oauth_authorization_server",
        "live",
        "ready",
        "metrics",
        "openapi",
    ];
    for id in public {
        answers.ask(app, id, |request| request).await;
        answers
            .ask(app, id, |request| request.with_method(Method::PATCH))
            .await;
    }
    let nameless = app
        .twin_with(|config| config.tokens.issuer = Some("latchkey".to_owned()))
        .await;
    for id in ["openid_configuration", "oauth_authorization_server"] {
        answers.ask(&nameless, id, |request| request).await;
    }
}

#[tokio::test]
async fn examples_match_real_responses() {
    let app = TestApp::start(Backend::Embedded).await;
    let mut answers = Answers::default();
    bodies(&app, &mut answers).await;
    readers(&app, &mut answers).await;
    unauthorized(&app, &mut answers).await;
    tokens(&app, &mut answers).await;

    for (id, answer) in &answers.0 {
        let (operation, status) = (operation(id).2, answer.status.to_string());
        assert!(
            operation["responses"].get(&status).is_some(),
            "{id} does not document {answer:?}"
        );
        let response = described(&operation, &status);
        for name in response["headers"].as_object().unwrap().keys() {
            // As in dj-rest-auth, log-out challenges only requests with an access token.
            let may_lack = (*id, name.as_str()) == ("log_out", "WWW-Authenticate");
            assert!(
                may_lack || !answer.header(name).is_empty(),
                "{id} {status}: no {name}"
            );
        }
        let examples = examples(&response);
        if answer.status == 200 && !examples.is_empty() {
            assert!(
                examples
                    .iter()
                    .any(|example| same_shape(example, &answer.json())),
                "{id}: {examples:?} {answer:?}"
            );
        }
    }

    // Errors must match exactly. Timeouts and server errors are not provoked here.
    let mut unmatched = Vec::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            for status in operation["responses"].as_object().unwrap().keys() {
                if !status.starts_with('4') || status == "408" {
                    continue;
                }
                let id = operation["operationId"].as_str().unwrap();
                for example in examples(&described(operation, status)) {
                    let equal = |(other, answer): &(&str, Answer)| {
                        *other == id
                            && answer.status.to_string() == *status
                            && answer.json() == example
                    };
                    if !answers.0.iter().any(equal) {
                        unmatched.push(format!("{path} {status}: {example}"));
                    }
                }
            }
        }
    }
    assert!(
        unmatched.is_empty(),
        "examples without an equal answer:\n{}",
        unmatched.join("\n")
    );
}

/// Readiness is the only response whose members depend on the stores.
#[tokio::test]
async fn readiness_with_redis_matches_an_example() {
    let app = TestApp::start(Backend::PostgresAndRedis).await;
    eventually("the server is ready", async || {
        app.get("/health/ready")
            .await
            .text
            .contains(r#""status":"ok""#)
    })
    .await;
    let answer = app.get("/health/ready").await;
    let examples = examples(&described(&operation("ready").2, "200"));
    let same = |example: &Value| same_shape(example, &answer.json());
    assert!(
        answer.json().get("redis").is_some() && examples.iter().any(same),
        "{answer:?}"
    );
}
