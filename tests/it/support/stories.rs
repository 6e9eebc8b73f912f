//! What the stories about sessions and the audit trail share.

use std::sync::Arc;

use latchkey::{
    app::operator::{self, OperatorConfig},
    domain::audit::{Actor, AuditEntry},
    ports::{AuditQuery, Clock},
    service::trail::Trail,
    store::sql::{SqlPool, SqlStore},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Forge, Pair, TestApp, servers::eventually};

const BLACKLISTED: &str = r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#;
const VERIFY_BLACKLISTED: &str = r#"{"non_field_errors":["Token is blacklisted"]}"#;
const SHUT_OUT: &str = r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token is blacklisted"}]}"#;

impl TestApp {
    /// A request of somebody who is signed in.
    pub async fn signed(&self, method: Method, path: &str, access: &str) -> Answer {
        self.send(
            self.request(method, path)
                .header("authorization", format!("Bearer {access}")),
        )
        .await
    }

    /// The user's list of sessions.
    pub async fn own_sessions(&self, access: &str) -> Vec<Value> {
        let answer = self
            .signed(Method::GET, "/api/auth/sessions/", access)
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().as_array().unwrap().clone()
    }

    pub async fn end_session(&self, id: &str, access: &str) -> Answer {
        self.signed(Method::DELETE, &format!("/api/auth/sessions/{id}/"), access)
            .await
    }

    pub async fn log_out(&self, refresh: &str) -> Answer {
        self.post(
            "/api/auth/logout/",
            &json!({ "refresh": refresh }).to_string(),
        )
        .await
    }

    pub async fn log_out_everywhere(&self, access: &str) -> Answer {
        self.signed(Method::POST, "/api/auth/logout/all/", access)
            .await
    }

    /// Fails unless every view refuses both tokens, as those of a session that has ended.
    #[track_caller]
    pub fn dead<'a>(&'a self, pair: &'a Pair) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answers = [
                (self.verify(&pair.access).await, 400, VERIFY_BLACKLISTED),
                (self.verify(&pair.refresh).await, 400, VERIFY_BLACKLISTED),
                (self.refresh(&pair.refresh).await, 401, BLACKLISTED),
                (
                    self.me(&format!("Bearer {}", pair.access)).await,
                    401,
                    SHUT_OUT,
                ),
            ];
            for (number, (answer, status, body)) in answers.iter().enumerate() {
                assert_eq!(
                    (answer.status, answer.text.as_str()),
                    (*status, *body),
                    "view {number}, {caller}"
                );
            }
        }
    }

    /// Fails unless both tokens are good.
    #[track_caller]
    pub fn live<'a>(&'a self, pair: &'a Pair) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            for token in [&pair.access, &pair.refresh] {
                assert_eq!(self.verify(token).await.status, 200, "{caller}");
            }
            assert_eq!(
                self.me(&format!("Bearer {}", pair.access)).await.status,
                200,
                "{caller}"
            );
        }
    }

    /// The database itself, beside the server.
    pub fn sql(&self) -> SqlStore {
        SqlStore::new(
            SqlPool::open(
                &self.config.database.url().unwrap(),
                self.config.database.limits(),
            )
            .unwrap(),
        )
    }

    /// The audit trail, as operators read it.
    pub async fn trail(&self) -> Trail {
        let config = OperatorConfig {
            database: &self.config.database,
            redis: &self.config.redis,
            lifetimes: &self.config.lifetimes,
            audit: &self.config.audit,
            actor: Actor::Operator(None),
        };
        operator::trail(config, Arc::clone(&self.clock) as Arc<dyn Clock>)
            .await
            .unwrap()
    }

    /// Everything that the audit trail has.
    pub async fn events(&self) -> Vec<AuditEntry> {
        self.trail()
            .await
            .page(&AuditQuery {
                limit: 100_000,
                ..AuditQuery::default()
            })
            .await
            .unwrap()
    }

    /// The one event that fits, once it is written.
    pub async fn eventually_told(
        &self,
        what: &str,
        fits: impl Fn(&AuditEntry) -> bool,
    ) -> AuditEntry {
        let (trail, query) = (
            self.trail().await,
            AuditQuery {
                limit: 100_000,
                ..AuditQuery::default()
            },
        );
        let mut found = Vec::new();
        eventually(what, async || {
            found = trail.page(&query).await.unwrap();
            found.retain(|event| fits(event));
            !found.is_empty()
        })
        .await;
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }
}

/// The claim `sid`.
pub fn sid(token: &str) -> String {
    claim(token, "sid")
}

/// A claim that is a text.
pub fn claim(token: &str, name: &str) -> String {
    Forge::claims_of(token)[name].as_str().unwrap().to_owned()
}

/// What an event says under a name.
pub fn detail<'a>(event: &'a AuditEntry, name: &str) -> &'a str {
    event
        .details
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .unwrap_or_default()
}
