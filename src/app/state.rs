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
    ActiveKeys, Admission, AuditTrail, Metrics, RefreshRules, Revocation, Rules, ServiceStores,
    Services, SessionRules, Shared, TokenRules,
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
        refreshes: RefreshRules {
            audit: config.audit.audit_refreshes,
            binding: tokens.binding(),
            grace: tokens.grace(),
            rotate: tokens.rotate_refresh_tokens,
        },
        sessions: SessionRules {
            lifetime: config.lifetimes.session(),
            per_user: config.lifetimes.sessions_per_user,
            update_last_login: tokens.update_last_login,
        },
        tokens: TokenRules {
            access_lifetime: config.lifetimes.access(),
            access_jitter: config.lifetimes.jitter(),
            refresh_lifetime: config.lifetimes.refresh(),
            extra: tokens.access_claims.clone(),
        },
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
    let shared = Shared {
        admission: Admission::new(
            config.passwords.threads() + usize::from(config.passwords.hash_queue),
        ),
        audit,
        clock,
        hasher,
        keys,
        metrics: counters,
        rules,
        shape,
    };
    let process = service_stores(&stores, revocation);
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
        services: Services::new(shared.clone(), process.clone()),
        new_worker: Arc::new(move || {
            Services::new(shared.clone(), worker_stores(&stores, &process))
        }),
        connections,
        metrics,
        registry,
        settings,
        stopping: Stopping::default(),
    })
}

fn service_stores(stores: &Stores, revocation: Revocation) -> ServiceStores {
    ServiceStores {
        revocation,
        rotations: stores.rotations(),
        sessions: stores.sessions(),
        users: stores.users(),
    }
}

/// Returns stores with the connections of a worker.
fn worker_stores(stores: &Stores, process: &ServiceStores) -> ServiceStores {
    match stores.for_worker() {
        Ok(own) => {
            let revocation = process
                .revocation
                .for_worker(own.sessions(), own.blacklist());
            service_stores(&own, revocation)
        }
        Err(error) => {
            tracing::warn!(%error, "worker shares the connections of the process");
            process.clone()
        }
    }
}
