//! A response and the tokens in it.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

/// A response that was read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub text: String,
}

/// An access token and a refresh token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// Access token.
    pub access: String,
    /// Refresh token.
    pub refresh: String,
}

impl Answer {
    /// Reads a response to its end.
    pub async fn read(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// Returns the value of a header, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// Returns the body, parsed as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that status and body are exactly these.
    #[track_caller]
    pub fn expect(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status, self.text.as_str()), (status, body));
        self
    }

    /// Asserts that the status is 200 and returns the tokens.
    #[track_caller]
    pub fn pair(&self) -> Pair {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let body = self.json();
        let token = |name: &str| {
            body[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name} in {body}"))
                .to_owned()
        };
        Pair {
            access: token("access"),
            refresh: token("refresh"),
        }
    }
}
