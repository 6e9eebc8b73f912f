//! Requests and assertions for sessions, and access to the audit trail.

use std::sync::Arc;

use latchkey::app::operator::{self, OperatorConfig};
use latchkey_domain::{
    audit::{Actor, AuditEntry},
    ports::{AuditQuery, Clock},
};
use latchkey_service::audit::trail::Trail;
use latchkey_store::sql::{SqlPool, SqlStore};

use super::{Forge, Pair, TestApp, servers::eventually};

/// Refusal of a blacklisted token by refresh and blacklist.
pub const BLACKLISTED: &str = r#"{"detail":"Token is blacklisted","code":"token_not_valid"}"#;
/// Refusal of a blacklisted token by verify.
pub const VERIFY_BLACKLISTED: &str = r#"{"non_field_errors":["Token is blacklisted"]}"#;
const ME_BLACKLISTED: &str = r#"{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token is blacklisted"}]}"#;

impl TestApp {
    /// Asserts that every view refuses both tokens as those of a revoked session.
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
                    ME_BLACKLISTED,
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

    /// Asserts that both tokens are valid.
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

    /// Opens the server's database directly.
    pub fn sql(&self) -> SqlStore {
        SqlStore::new(
            SqlPool::open(
                &self.config.database.url().unwrap(),
                self.config.database.limits(),
            )
            .unwrap(),
        )
    }

    /// Opens the audit trail as an operator.
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

    /// Returns all events of the audit trail.
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

    /// Waits until an event matches, asserts that it is the only one, and returns it.
    pub async fn eventually_event(
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

/// Returns the claim `sid`.
pub fn sid(token: &str) -> String {
    claim(token, "sid")
}

/// Returns a claim that is a string.
pub fn claim(token: &str, name: &str) -> String {
    Forge::claims_of(token)[name].as_str().unwrap().to_owned()
}

/// Returns a detail of an event, or "" if there is none.
pub fn detail<'a>(event: &'a AuditEntry, name: &str) -> &'a str {
    event
        .details
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .unwrap_or_default()
}
