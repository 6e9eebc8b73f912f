//! Requests to the instances, and the outcome of their responses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use latchkey_testkit::{Http, Pair};

use crate::tally::{Operation, Outcome, Tally, Violation};

/// Timeout of a request. It is longer than any response takes: a server waits at most 5 s for a
/// connection and 5 s for a statement.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub outcome: Outcome,
    /// Start of the request.
    pub began: Instant,
    pub status: u16,
    pub body: Value,
    pub instance: usize,
}

impl Answer {
    pub fn pair(&self) -> Option<Pair> {
        let text = |name: &str| Some(self.body.get(name)?.as_str()?.to_owned());
        Some(Pair {
            access: text("access")?,
            refresh: text("refresh")?,
        })
    }

    pub fn ok(&self) -> bool {
        self.outcome == Outcome::Answered
    }

    pub fn refused(&self) -> bool {
        self.outcome == Outcome::Refused
    }

    /// Returns the response in words, truncated so that no whole token is printed.
    pub fn summary(&self) -> String {
        let body: String = self.body.to_string().chars().take(120).collect();
        format!("instance {} answered {} {body}", self.instance, self.status)
    }
}

/// Clients of all instances. Clones share the connections and the tally.
#[derive(Clone)]
pub struct Wire {
    pub tally: Arc<Tally>,
    instances: Vec<Http>,
}

impl Wire {
    pub fn new(urls: Vec<String>) -> Self {
        // A client closes idle connections before the server does. Otherwise a request on a
        // closing connection counts as broken.
        let client = || {
            Client::builder()
                .timeout(REQUEST_TIMEOUT)
                .pool_idle_timeout(Duration::from_secs(3))
        };
        Self {
            tally: Arc::new(Tally::new()),
            instances: urls
                .into_iter()
                .map(|url| Http::built(url, client()))
                .collect(),
        }
    }

    /// Returns clients that open a connection for each request.
    pub fn without_keep_alive(&self) -> Self {
        let instances = self.instances.iter();
        Self {
            tally: Arc::clone(&self.tally),
            instances: instances
                .map(|http| http.with_timeout(REQUEST_TIMEOUT))
                .collect(),
        }
    }

    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    pub async fn obtain(&self, instance: usize, username: &str, password: &str) -> Answer {
        self.post(
            instance,
            Operation::Obtain,
            "/api/token/",
            &json!({ "username": username, "password": password }),
        )
        .await
    }

    pub async fn refresh(&self, instance: usize, token: &str) -> Answer {
        self.post(
            instance,
            Operation::Refresh,
            "/api/token/refresh/",
            &json!({ "refresh": token }),
        )
        .await
    }

    pub async fn verify(&self, instance: usize, token: &str) -> Answer {
        self.post(
            instance,
            Operation::Verify,
            "/api/token/verify/",
            &json!({ "token": token }),
        )
        .await
    }

    pub async fn blacklist(&self, instance: usize, token: &str) -> Answer {
        self.post(
            instance,
            Operation::Blacklist,
            "/api/token/blacklist/",
            &json!({ "refresh": token }),
        )
        .await
    }

    pub async fn user(&self, instance: usize, token: &str) -> Answer {
        self.send(
            instance,
            Operation::User,
            self.instances[instance]
                .request(Method::GET, "/api/auth/user/")
                .bearer_auth(token),
        )
        .await
    }

    /// Ends the session of this access token, by its `sid`.
    pub async fn end_session(&self, instance: usize, token: &str) -> Answer {
        let name = claim(token, "sid")
            .and_then(|sid| Some(sid.as_str()?.to_owned()))
            .unwrap_or_default();
        let path = format!("/api/auth/sessions/{name}/");
        self.send(
            instance,
            Operation::EndSession,
            self.instances[instance]
                .request(Method::DELETE, &path)
                .bearer_auth(token),
        )
        .await
    }

    /// Ends every session of the user of this access token.
    pub async fn end_all(&self, instance: usize, token: &str) -> Answer {
        self.send(
            instance,
            Operation::EndAll,
            self.instances[instance]
                .request(Method::POST, "/api/auth/logout/all/")
                .bearer_auth(token),
        )
        .await
    }

    /// True if `/health/ready` is `ok` on every instance. These requests are not counted.
    pub async fn all_ready(&self) -> bool {
        for http in &self.instances {
            let request = http.request(Method::GET, "/health/ready");
            let Ok(response) = request.send().await else {
                return false;
            };
            let Ok(body) = response.json::<Value>().await else {
                return false;
            };
            if body["status"] != "ok" {
                return false;
            }
        }
        true
    }

    async fn post(
        &self,
        instance: usize,
        operation: Operation,
        path: &str,
        body: &Value,
    ) -> Answer {
        let request = self.instances[instance].request(Method::POST, path);
        self.send(instance, operation, request.json(body)).await
    }

    async fn send(&self, instance: usize, operation: Operation, request: RequestBuilder) -> Answer {
        let began = Instant::now();
        let read = async { read(request.send().await?).await }.await;
        let (outcome, status, body) = match read {
            Err(_) => (Outcome::Broken, 0, Value::Null),
            Ok((status @ (200 | 204), _, body)) => (Outcome::Answered, status, body),
            Ok((503, retry_after, body)) => {
                if !retry_after || body["detail"].as_str().is_none_or(str::is_empty) {
                    self.tally.violation(
                        operation,
                        Violation::Defect,
                        &format!("503 {body}, Retry-After: {retry_after}"),
                    );
                }
                (Outcome::Unavailable, 503, body)
            }
            Ok((status @ (400 | 401), _, body)) => (Outcome::Refused, status, body),
            Ok((status, _, body)) => {
                self.tally
                    .violation(operation, Violation::Defect, &format!("{status} {body}"));
                (Outcome::Refused, status, body)
            }
        };
        self.tally.request(operation, outcome, began.elapsed());
        Answer {
            outcome,
            began,
            status,
            body,
            instance,
        }
    }
}

/// Returns the status, true if `Retry-After` is positive, and the body, or `Null` if it is not
/// JSON.
async fn read(response: Response) -> reqwest::Result<(u16, bool, Value)> {
    let status = response.status().as_u16();
    let seconds = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let body = response.bytes().await?;
    Ok((
        status,
        seconds.is_some_and(|seconds| seconds > 0),
        serde_json::from_slice(&body).unwrap_or_default(),
    ))
}

/// Returns the generation of a refresh token.
pub fn generation(refresh: &str) -> Option<u64> {
    claim(refresh, "gen")?.as_u64()
}

fn claim(token: &str, name: &str) -> Option<Value> {
    let payload = BASE64_URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1)?)
        .ok()?;
    serde_json::from_slice::<Value>(&payload)
        .ok()?
        .get(name)
        .cloned()
}
