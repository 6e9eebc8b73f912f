//! State that the HTTP server shares between requests.

use std::sync::Arc;

use super::{StartError, metrics, stores::Stores};
use crate::config::Config;
use latchkey_crypto::{hasher::Hasher, sign::TokenShape};
use latchkey_domain::ports::Clock;
use latchkey_http::{
    connection::Connections,
    metrics::HttpMetrics,
    state::{HttpSettings, State, Stopping, caching},
};
use latchkey_service::{
    ActiveKeys, Admission, AuditTrail, Auth, Metrics, Parts, Revocation, Rules, TokenRules,
};

/// Components that the use cases need.
pub(super) struct Components {
    pub keys: Arc<ActiveKeys>,
    pub hasher: Hasher,
    pub clock: Arc<dyn Clock>,
    pub connections: Arc<Connections>,
    pub counters: Metrics,
    pub audit: AuditTrail,
    pub revocation: Revocation,
}

pub(super) fn state(
    config: &Config,
    stores: Stores,
    components: Components,
) -> Result<State, StartError> {
    let Components {
        keys,
        hasher,
        clock,
        connections,
        counters,
        audit,
        revocation,
    } = components;
    let (issuer, tokens) = (config.issuer()?, &config.tokens);
    let shape = TokenShape {
        access_typ: tokens.access_token_typ.clone(),
        audience: tokens.audience.clone(),
        issuer: issuer.clone(),
        names: tokens.claim_names(),
    };
    let rules = Rules {
        tokens: TokenRules {
            access_lifetime: config.lifetimes.access(),
            access_jitter: config.lifetimes.jitter(),
            refresh_lifetime: config.lifetimes.refresh(),
            extra: tokens.access_claims.clone(),
        },
        session_lifetime: config.lifetimes.session(),
        grace: tokens.grace(),
        binding: tokens.binding(),
        rotate: tokens.rotate_refresh_tokens,
        update_last_login: tokens.update_last_login,
        sessions_per_user: config.lifetimes.sessions_per_user,
        audit_refreshes: config.audit.audit_refreshes,
    };
    let metrics = HttpMetrics::default();
    let runtime = metrics::RuntimeMetrics {
        blacklist: revocation.blacklist().cloned(),
        clock: Arc::clone(&clock),
        connections: Arc::clone(&connections),
        hasher: hasher.clone(),
        keys: Arc::clone(&keys),
        rotation_interval: config.keys.interval(),
        sql: stores.sql(),
    };
    let registry = Arc::new(metrics::registry(&counters, &metrics, runtime));
    let parts = Parts {
        admission: Admission::new(
            config.passwords.threads() + usize::from(config.passwords.hash_queue),
        ),
        audit,
        clock,
        metrics: counters,
        hasher,
        keys,
        revocation,
        rotations: stores.rotations(),
        rules,
        sessions: stores.sessions(),
        shape,
        users: stores.users(),
    };
    let settings = HttpSettings {
        auth_header_types: tokens.auth_header_types.clone(),
        body_limit: config.http.body_limit.try_into().unwrap_or(usize::MAX),
        body_timeout: config.http.body_timeout,
        docs: config.http.docs,
        forwarded_header: config.http.forwarded_header.into(),
        header_timeout: config.http.header_timeout,
        issuer,
        jwks_caching: caching(config.http.jwks_max_age),
        shutdown_delay: config.http.shutdown_delay,
        shutdown_timeout: config.http.shutdown_timeout,
        trusted_proxies: config.http.trusted_proxies.clone().unwrap_or_default(),
        workers: config.http.worker_threads(),
        metrics: config.http.metrics_on_main_address(),
    };
    Ok(State {
        auth: Arc::new(Auth::new(parts.clone())),
        new_worker: Arc::new(move || Arc::new(Auth::new(for_worker(&parts, &stores)))),
        connections,
        metrics,
        registry,
        settings,
        stopping: Stopping::default(),
    })
}

/// Returns the use cases' dependencies with the connections of a worker.
fn for_worker(parts: &Parts, stores: &Stores) -> Parts {
    match stores.for_worker() {
        Ok(stores) => Parts {
            revocation: parts
                .revocation
                .for_worker(stores.sessions(), stores.blacklist()),
            rotations: stores.rotations(),
            sessions: stores.sessions(),
            users: stores.users(),
            ..parts.clone()
        },
        Err(error) => {
            tracing::warn!(%error, "worker shares the connections of the process");
            parts.clone()
        }
    }
}
