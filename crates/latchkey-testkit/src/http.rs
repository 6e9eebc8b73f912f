//! The HTTP driver: a method for each endpoint of a running server.

use std::{net::IpAddr, time::Duration};

use reqwest::{Client, ClientBuilder, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{Answer, PASSWORD, Pair};

/// Timeout of a request. It is longer than any response takes.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// A client of one server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Http {
    /// URL of the server, without a path.
    pub base: String,
    client: Client,
}

impl Http {
    /// Returns a client that closes each connection after its response: a server that stops
    /// waits a second for an open one.
    pub fn new(base: String) -> Self {
        let builder = Client::builder()
            .pool_max_idle_per_host(0)
            .timeout(REQUEST_TIMEOUT);
        Self::built(base, builder)
    }

    /// Returns a client with its own local address, and with this `User-Agent` if there is one.
    pub fn from(base: String, address: &str, agent: Option<&str>) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let builder = Client::builder()
            .pool_max_idle_per_host(0)
            .timeout(REQUEST_TIMEOUT)
            .local_address(address);
        Self::built(
            base,
            agent.into_iter().fold(builder, ClientBuilder::user_agent),
        )
    }

    /// Returns a client with the settings of a builder.
    pub fn built(base: String, builder: ClientBuilder) -> Self {
        let client = builder.build().unwrap();
        Self { base, client }
    }

    /// Returns a client of the same server that gives up after this time.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let builder = Client::builder().pool_max_idle_per_host(0).timeout(timeout);
        Self::built(self.base.clone(), builder)
    }

    /// Returns a client of the same server that sends its requests on one connection.
    pub fn with_keep_alive(&self) -> Self {
        let builder = Client::builder().timeout(REQUEST_TIMEOUT);
        Self::built(self.base.clone(), builder)
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns a builder for any request: `http.request(Method::PUT, "/api/token/")`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends a request and reads the whole response.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.unwrap()).await
    }

    /// Requests a path with GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends this text as a JSON body.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/json");
        self.send(request.body(body.to_owned())).await
    }

    /// Sends a request with an access token.
    pub async fn signed(&self, method: Method, path: &str, access: &str) -> Answer {
        self.send(self.request(method, path).bearer_auth(access))
            .await
    }

    /// Signs in.
    pub async fn obtain(&self, username: &str, password: &str) -> Answer {
        self.post(
            "/api/token/",
            &json!({ "username": username, "password": password }).to_string(),
        )
        .await
    }

    /// Signs in as an existing user whose password is [`PASSWORD`].
    pub async fn pair_of(&self, username: &str) -> Pair {
        self.obtain(username, PASSWORD).await.pair()
    }

    /// Exchanges a refresh token.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.post(
            "/api/token/refresh/",
            &json!({ "refresh": token }).to_string(),
        )
        .await
    }

    /// Verifies a token of either kind.
    pub async fn verify(&self, token: &str) -> Answer {
        self.post("/api/token/verify/", &json!({ "token": token }).to_string())
            .await
    }

    /// Blacklists a refresh token.
    pub async fn blacklist(&self, token: &str) -> Answer {
        self.post(
            "/api/token/blacklist/",
            &json!({ "refresh": token }).to_string(),
        )
        .await
    }

    /// Requests the protected view with this `Authorization` header.
    pub async fn me(&self, authorization: &str) -> Answer {
        self.send(
            self.request(Method::GET, "/api/auth/user/")
                .header("authorization", authorization),
        )
        .await
    }

    /// Requests the protected view with this token.
    pub async fn profile(&self, token: &str) -> Answer {
        self.me(&format!("Bearer {token}")).await
    }

    /// Returns the user's list of sessions.
    pub async fn own_sessions(&self, access: &str) -> Vec<Value> {
        let answer = self
            .signed(Method::GET, "/api/auth/sessions/", access)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().as_array().unwrap().clone()
    }

    /// Ends a session of the user.
    pub async fn end_session(&self, id: &str, access: &str) -> Answer {
        self.signed(Method::DELETE, &format!("/api/auth/sessions/{id}/"), access)
            .await
    }

    /// Logs out with a refresh token.
    pub async fn log_out(&self, refresh: &str) -> Answer {
        self.post(
            "/api/auth/logout/",
            &json!({ "refresh": refresh }).to_string(),
        )
        .await
    }

    /// Ends all sessions of the user.
    pub async fn log_out_everywhere(&self, access: &str) -> Answer {
        self.signed(Method::POST, "/api/auth/logout/all/", access)
            .await
    }

    /// Returns the value of a metric, which is named with its labels.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.text;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no metric {name} in {text}"))
            .parse()
            .unwrap()
    }

    /// Returns the `kid` of each public key, newest first.
    pub async fn kids(&self) -> Vec<String> {
        let keys = self.get("/.well-known/jwks.json").await.json();
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }
}
