//! Composition of the use cases.

use std::sync::Arc;

use crate::{
    ActiveKeys, Admission, AuditTrail, Authenticate, HealthCheck, LogOut, LogOutEverywhere,
    Metrics, OwnSessions, Refresh, Revocation, Rules, SignIn, Verify,
    sessions::{
        refresh::Rotation, request::TokenRequests, reuse::ReuseDetection,
        revocation_check::RevocationCheck, sign_in::NewSessions, stored::StoredSessions,
        successors::Successors, unrotated::Unrotated,
    },
    tokens::Tokens,
    users::PasswordCheck,
};
use latchkey_crypto::{hasher::Hasher, sign::TokenShape};
use latchkey_domain::{
    ports::{Clock, RotationStore, SessionStore, UserStore},
    session::ReuseGrace,
};

/// Use cases of one worker.
#[derive(Clone)]
pub struct Services {
    /// Authentication of requests by access token.
    pub authenticate: Arc<Authenticate>,
    /// Check of the dependencies.
    pub health: Arc<HealthCheck>,
    /// Keys that sign and verify tokens.
    pub keys: Arc<ActiveKeys>,
    /// Log-out by refresh token.
    pub log_out: Arc<LogOut>,
    /// Log-out from all sessions of a user.
    pub log_out_everywhere: Arc<LogOutEverywhere>,
    /// Sessions of an authenticated user.
    pub own_sessions: Arc<OwnSessions>,
    /// Exchange of refresh tokens.
    pub refresh: Arc<Refresh>,
    /// Sign-in with a password.
    pub sign_in: Arc<SignIn>,
    /// Verification of tokens of either kind.
    pub verify: Arc<Verify>,
}

/// Dependencies that all workers share.
#[derive(Clone)]
pub struct Shared {
    /// Limits of the work in progress for each session and each source.
    pub admission: Admission,
    /// Audit trail.
    pub audit: AuditTrail,
    /// Clock of this process.
    pub clock: Arc<dyn Clock>,
    /// Password hasher.
    pub hasher: Hasher,
    /// Keys that sign and verify tokens.
    pub keys: Arc<ActiveKeys>,
    /// Counters.
    pub metrics: Metrics,
    /// Settings.
    pub rules: Rules,
    /// Claims and headers that all tokens have in common.
    pub shape: TokenShape,
}

/// Stores of the use cases. A worker may have its own, with connections that its runtime drives.
#[derive(Clone)]
pub struct ServiceStores {
    /// Revocations: the database, and the blacklist if there is one.
    pub revocation: Revocation,
    /// Rotations, coalesced or not.
    pub rotations: Arc<dyn RotationStore>,
    /// Session store.
    pub sessions: Arc<dyn SessionStore>,
    /// User store.
    pub users: Arc<dyn UserStore>,
}

impl Services {
    /// Returns the use cases over these stores. Each worker has its own, because a reference count
    /// that workers share would cause contention on its cache line.
    #[must_use]
    pub fn new(shared: Shared, stores: ServiceStores) -> Self {
        let Shared {
            admission,
            audit,
            clock,
            hasher,
            keys,
            metrics,
            rules,
            shape,
        } = shared;
        let revocation = Arc::new(stores.revocation);
        let tokens = Arc::new(Tokens {
            keys: Arc::clone(&keys),
            rules: rules.tokens,
            shape,
        });
        let sessions = Arc::new(StoredSessions {
            grace: rules.refreshes.grace,
            metrics: metrics.clone(),
            revocation: Arc::clone(&revocation),
            store: stores.sessions,
        });
        let reuse = Arc::new(ReuseDetection {
            binding: rules.refreshes.binding,
            sessions: Arc::clone(&sessions),
        });
        let requests = Arc::new(TokenRequests {
            admission: admission.clone(),
            audit: audit.clone(),
            clock: Arc::clone(&clock),
            tokens: Arc::clone(&tokens),
        });
        let check = Arc::new(RevocationCheck {
            requests: Arc::clone(&requests),
            reuse: Arc::clone(&reuse),
            revocation: Arc::clone(&revocation),
            sessions: Arc::clone(&sessions),
        });
        let successors = Arc::new(Successors {
            audit: audit.clone(),
            audits_refreshes: rules.refreshes.audit,
            metrics: metrics.clone(),
            tokens: Arc::clone(&tokens),
        });
        // With an unlimited grace, a rotated generation is not spent, so it has no entry.
        let entries = (rules.refreshes.grace != ReuseGrace::Unlimited).then_some(&revocation);
        let rotation = rules.refreshes.rotate.then(|| Rotation {
            clock: Arc::clone(&clock),
            entries: entries.cloned(),
            store: stores.rotations,
            successors: Arc::clone(&successors),
        });
        Self {
            authenticate: Arc::new(Authenticate {
                requests: Arc::clone(&requests),
                reuse: Arc::clone(&reuse),
                sessions: Arc::clone(&sessions),
            }),
            health: Arc::new(HealthCheck {
                admission: admission.clone(),
                clock: Arc::clone(&clock),
                keys: Arc::clone(&keys),
                sessions: Arc::clone(&sessions),
            }),
            log_out: Arc::new(LogOut {
                check: Arc::clone(&check),
                requests: Arc::clone(&requests),
                reuse: Arc::clone(&reuse),
                sessions: Arc::clone(&sessions),
            }),
            log_out_everywhere: Arc::new(LogOutEverywhere {
                clock: Arc::clone(&clock),
                metrics: metrics.clone(),
                revocation,
                users: Arc::clone(&stores.users),
            }),
            own_sessions: Arc::new(OwnSessions {
                clock: Arc::clone(&clock),
                sessions: Arc::clone(&sessions),
            }),
            refresh: Arc::new(Refresh {
                check: Arc::clone(&check),
                requests: Arc::clone(&requests),
                rotation,
                unrotated: Unrotated {
                    reuse,
                    sessions: Arc::clone(&sessions),
                    successors,
                },
            }),
            sign_in: Arc::new(SignIn {
                admission,
                new_sessions: NewSessions {
                    clock: Arc::clone(&clock),
                    metrics,
                    rules: rules.sessions,
                    sessions,
                    tokens,
                },
                passwords: PasswordCheck {
                    audit,
                    clock,
                    hasher,
                    users: stores.users,
                },
            }),
            verify: Arc::new(Verify { check, requests }),
            keys,
        }
    }
}
