//! Endpoints, with one file per resource. A handler sets the headers of its own response, such as a
//! cookie; `middleware.rs` sets those of every response; `extract` reads credentials.

pub(super) mod discovery;
mod docs;
mod health;
mod jwks;
mod logout;
pub(super) mod metrics;
mod sessions;
mod token;
mod user;

use super::endpoint::Endpoint;

/// Returns all endpoints, the most frequent ones first.
pub(super) fn all() -> Vec<Endpoint> {
    let mut all = token::endpoints();
    all.extend(jwks::endpoints());
    all.extend(discovery::endpoints());
    all.extend(user::endpoints());
    all.extend(health::endpoints());
    all.extend(logout::endpoints());
    all.extend(sessions::endpoints());
    all.extend(metrics::endpoints());
    all.extend(docs::endpoints());
    all
}
