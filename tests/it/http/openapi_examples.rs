//! The examples in the OpenAPI document, and what a real server answers.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    openapi::document,
    tools::{all, deactivate},
};
use crate::support::{Answer, Backend, Pair, TestApp, username};

const UNKNOWN: &str = "9b2f1c1e-4f4c-4a55-8d0a-5f0a3c1d2e3f";

/// Answers, by the operation that gave them.
#[derive(Default)]
struct Heard(Vec<(&'static str, Answer)>);

impl Heard {
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

/// Path, method and description of an operation.
fn operation(id: &str) -> (String, String, Value) {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["operationId"] == id {
                return (path.clone(), method.clone(), operation.clone());
            }
        }
    }
    panic!("there is no operation {id}")
}

/// An answer of an operation, with what it refers to.
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

/// The same with every value replaced by its kind; `null` may stand for anything.
fn alike(example: &Value, answer: &Value) -> bool {
    match (example, answer) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(example), Value::Object(answer)) => {
            example.keys().eq(answer.keys())
                && example
                    .iter()
                    .all(|(name, value)| alike(value, &answer[name]))
        }
        (Value::Array(example), Value::Array(answer)) => {
            answer.iter().all(|answer| alike(&example[0], answer))
        }
        (example, answer) => std::mem::discriminant(example) == std::mem::discriminant(answer),
    }
}

async fn bodies(app: &TestApp, heard: &mut Heard) {
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
            heard.ask(app, id, |request| request.json(body)).await;
        }
        heard
            .ask(app, id, |request| request.json(" ".repeat(20_000)))
            .await;
        heard
            .ask(app, id, |request| request.json("x").typed("text/plain"))
            .await;
        heard
            .ask(app, id, |request| {
                request.json("x").typed("multipart/form-data")
            })
            .await;
        heard
            .ask(app, id, |request| request.with_method(Method::PATCH))
            .await;
    }
}

/// Whoever asks for an access token, with all that is wrong with one.
async fn strangers(app: &TestApp, heard: &mut Heard) {
    let (ada, idle, gone) = (
        app.signed_in("ada").await,
        app.signed_in("idle").await,
        app.signed_in("gone").await,
    );
    deactivate(app, "idle").await;
    app.accounts()
        .await
        .delete(&username("gone"))
        .await
        .unwrap();
    for id in ["user", "list_sessions", "end_session", "log_out_everywhere"] {
        heard.ask(app, id, |request| request).await;
        for token in ["a b", "junk", &idle.access, &gone.access] {
            heard
                .ask(app, id, |request| {
                    request.authorized(&format!("Bearer {token}"))
                })
                .await;
        }
        let known = format!("Bearer {}", ada.access);
        heard
            .ask(app, id, |request| {
                request.authorized(&known).with_method(Method::PATCH)
            })
            .await;
        heard
            .ask(app, id, |request| request.authorized(&known))
            .await;
    }
    for value in ["Bearer a b", "Bearer junk"] {
        heard
            .ask(app, "log_out", |request| request.authorized(value))
            .await;
    }
    heard
        .ask(app, "refresh", |request| {
            request.json(json!({ "refresh": idle.refresh }).to_string())
        })
        .await;
}

/// Tokens that are good, then dead; and others.
async fn tokens(app: &TestApp, heard: &mut Heard) {
    let credentials =
        |password: &str| json!({ "username": "eve", "password": password }).to_string();
    app.user("eve").await;
    heard
        .ask(app, "obtain", |request| {
            request.json(credentials(crate::support::PASSWORD))
        })
        .await;
    heard
        .ask(app, "obtain", |request| request.json(credentials("wrong")))
        .await;
    let Pair { access, refresh } = heard.0[heard.0.len() - 2].1.pair();
    let fields = [
        ("refresh", "refresh"),
        ("verify", "token"),
        ("blacklist", "refresh"),
        ("log_out", "refresh"),
    ];
    for token in ["junk", &access, &refresh, &refresh] {
        for (id, field) in fields {
            heard
                .ask(app, id, |request| {
                    request.json(json!({ field: token }).to_string())
                })
                .await;
        }
    }
    let second = app.signed_in("bob").await;
    heard
        .ask(app, "log_out", |request| {
            request.json(json!({ "refresh": second.refresh }).to_string())
        })
        .await;
    app.advance(86_400);
    for (id, field) in fields {
        heard
            .ask(app, id, |request| {
                request.json(json!({ field: refresh }).to_string())
            })
            .await;
    }
}

async fn readers(app: &TestApp, heard: &mut Heard) {
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
        heard.ask(app, id, |request| request).await;
        heard
            .ask(app, id, |request| request.with_method(Method::PATCH))
            .await;
    }
    let nameless = app
        .twin_with(|config| config.tokens.issuer = Some("latchkey".to_owned()))
        .await;
    for id in ["openid_configuration", "oauth_authorization_server"] {
        heard.ask(&nameless, id, |request| request).await;
    }
}

on_both_backends! {
    async fn examples_are_what_the_server_says(backend: Backend) {
        let app = TestApp::start(backend).await;
        let mut heard = Heard::default();
        bodies(&app, &mut heard).await;
        readers(&app, &mut heard).await;
        strangers(&app, &mut heard).await;
        tokens(&app, &mut heard).await;

        for (id, answer) in &heard.0 {
            let (operation, status) = (operation(id).2, answer.status.to_string());
            assert!(operation["responses"].get(&status).is_some(), "{id} does not document {answer:?}");
            let response = described(&operation, &status);
            for name in response["headers"].as_object().unwrap().keys() {
                // dj-rest-auth's log-out challenges only those who came with an access token.
                let may_lack = (*id, name.as_str()) == ("log_out", "WWW-Authenticate");
                assert!(may_lack || !answer.header(name).is_empty(), "{id} {status}: no {name}");
            }
            let examples = examples(&response);
            if answer.status == 200 && !examples.is_empty() {
                assert!(examples.iter().any(|example| alike(example, &answer.json())), "{id}: {examples:?} {answer:?}");
            }
        }

        // To the letter where words are the answer. What is slow or broken is not provoked here.
        let mut unheard = Vec::new();
        for (path, item) in document()["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                for status in operation["responses"].as_object().unwrap().keys() {
                    if !status.starts_with('4') || status == "408" {
                        continue;
                    }
                    let id = operation["operationId"].as_str().unwrap();
                    for example in examples(&described(operation, status)) {
                        let said = |(other, answer): &(&str, Answer)| {
                            *other == id && answer.status.to_string() == *status && answer.json() == example
                        };
                        if !heard.0.iter().any(said) {
                            unheard.push(format!("{path} {status}: {example}"));
                        }
                    }
                }
            }
        }
        assert!(unheard.is_empty(), "no answer was like this:\n{}", unheard.join("\n"));
    }
}
