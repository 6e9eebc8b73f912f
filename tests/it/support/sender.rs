//! A client with its own address on the loopback network and its own `User-Agent`.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Answer, PASSWORD, Pair, TestApp};

/// A client and its server.
pub struct Sender<'a> {
    app: &'a TestApp,
    client: reqwest::Client,
}

impl TestApp {
    /// Creates a client at this address with the `User-Agent` `agent`; `None` sends no header.
    pub fn sender(&self, address: &str, agent: Option<&str>) -> Sender<'_> {
        let address: IpAddr = address.parse().unwrap();
        let builder = reqwest::Client::builder().local_address(address);
        let builder = agent
            .into_iter()
            .fold(builder, reqwest::ClientBuilder::user_agent);
        Sender {
            app: self,
            client: builder.build().unwrap(),
        }
    }
}

impl Sender<'_> {
    async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self
            .client
            .post(self.app.url(path))
            .header("content-type", "application/json");
        self.app.send(request.body(body.to_string())).await
    }

    /// Signs in as an existing user.
    pub async fn signed_in(&self, name: &str) -> Pair {
        self.post(
            "/api/token/",
            json!({ "username": name, "password": PASSWORD }),
        )
        .await
        .pair()
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("/api/token/refresh/", json!({ "refresh": token }))
            .await
    }

    pub async fn verify(&self, token: &str) -> Answer {
        self.post("/api/token/verify/", json!({ "token": token }))
            .await
    }

    pub async fn blacklist(&self, token: &str) -> Answer {
        self.post("/api/token/blacklist/", json!({ "refresh": token }))
            .await
    }

    /// Requests the protected view.
    pub async fn me(&self, token: &str) -> Answer {
        let request = self.client.get(self.app.url("/api/auth/user/"));
        self.app
            .send(request.header("authorization", format!("Bearer {token}")))
            .await
    }
}
