//! Sign-in: simplejwt's `TokenObtainPairView`.

use std::sync::Arc;

use crate::{Auth, ClientInfo, Error, TokenPair, sampled::Sampled};
use latchkey_crypto::random;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind, Origin},
    password::{Password, PasswordHash},
    ports::{NewSession, StoreError},
    session::{RevokedReason, Session},
    time::{Moment, truncate_to_micros},
    user::User,
    username::Username,
};

static TRIM_FAILED: Sampled = Sampled::new();
static REHASH_FAILED: Sampled = Sampled::new();

/// Number of concurrent sign-ins of a user that may not see each other's sessions. Only users this
/// close to the session limit need a second query.
const CONCURRENT_SIGN_INS: u32 = 16;

impl Auth {
    /// Creates a session and its first tokens.
    ///
    /// Unknown user, wrong password and inactive user have the same response and the same cost:
    /// exactly one hash.
    ///
    /// # Errors
    /// [`Error::BadCredentials`]. [`Error::Busy`] if too many sign-ins are in progress.
    /// [`Error::Unavailable`].
    pub async fn obtain(
        &self,
        username: &str,
        password: Password,
        client: ClientInfo,
    ) -> Result<TokenPair, Error> {
        let _admitted = self.parts.admission.enter_sign_in(&client).await?;
        let credentials = match Username::parse(username) {
            Ok(name) => self.parts.users.find_credentials(&name).await?,
            Err(_) => None,
        };
        let hash = credentials
            .as_ref()
            .map(|found| found.password_hash.clone());
        let verdict = self.parts.hasher.verify(password.clone(), hash).await?;
        let Some(found) = credentials
            .as_ref()
            .filter(|found| verdict.fits && found.user.is_active)
        else {
            self.audit_refusal(
                credentials.as_ref().map(|found| &found.user),
                verdict.fits,
                &client,
            );
            return Err(Error::BadCredentials);
        };
        if verdict.outdated {
            self.rehash(&found.user, &found.password_hash, password)
                .await;
        }
        self.sign_in(&found.user, &client).await
    }

    async fn sign_in(&self, user: &User, client: &ClientInfo) -> Result<TokenPair, Error> {
        let now = truncate_to_micros(self.parts.clock.now());
        let (session, jti) = (self.new_session(user, client.origin(), now), random::jti());
        let audit = AuditEvent::new(now, EventKind::SignIn, Actor::User)
            .of_user(&user.id)
            .of_session(session.id)
            .of_token(jti.clone())
            .from(&client.origin());
        let update_last_login = self.parts.rules.update_last_login;
        let inserted = self
            .parts
            .sessions
            .insert(NewSession {
                session: session.clone(),
                update_last_login,
                audit,
            })
            .await?;
        let Some(others) = inserted else {
            // The user was deactivated or got another password during the check.
            self.audit_refusal(Some(user), true, client);
            return Err(Error::BadCredentials);
        };
        self.parts.metrics.sign_ins.inc();
        if others.saturating_add(CONCURRENT_SIGN_INS) >= self.parts.rules.sessions_per_user {
            self.trim(&session, now).await;
        }
        self.issue(&session, user, now, jti)
    }

    /// Ends the oldest sessions of the user beyond the limit. The task completes even if the client
    /// disconnects, so that each revocation has its entry. A failure does not fail the sign-in: the
    /// next sign-in trims again.
    async fn trim(&self, newest: &Session, now: Moment) {
        let reason = RevokedReason::SessionLimit;
        let audit = AuditEvent::new(now, EventKind::SessionRevoked, Actor::Service)
            .with_cause(reason.as_str());
        let (sessions, revocation) = (
            Arc::clone(&self.parts.sessions),
            self.parts.revocation.clone(),
        );
        let (newest, limit) = (newest.clone(), self.parts.rules.sessions_per_user);
        let trimmed = tokio::spawn(async move {
            let ended = sessions.trim(&newest, limit, audit).await?;
            revocation.record_revoked(&ended, now).await;
            Ok::<_, StoreError>(ended.len())
        });
        match trimmed.await {
            Ok(Ok(count)) => self.count_revoked(reason, count),
            Ok(Err(error)) => {
                if let Some(suppressed) = TRIM_FAILED.due() {
                    tracing::warn!(%error, suppressed, "oldest sessions of a user not ended");
                }
            }
            Err(_) => {
                if let Some(suppressed) = TRIM_FAILED.due() {
                    tracing::error!(
                        suppressed,
                        "oldest sessions of a user not ended: a use case panicked"
                    );
                }
            }
        }
    }

    /// Records a refused sign-in. Only the audit trail has the reason. An unknown name is not
    /// recorded, because users sometimes type a password into the wrong field.
    fn audit_refusal(&self, user: Option<&User>, fits: bool, client: &ClientInfo) {
        let mut event = AuditEvent::new(
            truncate_to_micros(self.parts.clock.now()),
            EventKind::SignInRefused,
            Actor::Client,
        )
        .from(&client.origin())
        .with_cause(match (user, fits) {
            (None, _) => "unknown_user",
            (Some(_), false) => "wrong_password",
            (Some(_), true) => "user_inactive",
        });
        event.user = user.map(|user| user.id.clone());
        self.parts.audit.record(event);
    }

    fn new_session(&self, user: &User, client: Origin, now: Moment) -> Session {
        Session {
            id: random::session_id(),
            user_id: user.id.clone(),
            session_epoch: user.session_epoch,
            generation: 0,
            created_at: now,
            rotated_at: now,
            expires_at: now + self.parts.rules.session_lifetime,
            revoked: None,
            last_ip: client.ip,
            user_agent: client.user_agent,
        }
    }

    /// Replaces an outdated hash. A failure does not fail the sign-in.
    async fn rehash(&self, user: &User, old: &PasswordHash, password: Password) {
        let replaced = match self.parts.hasher.hash(password).await {
            Ok(new) => self
                .parts
                .users
                .replace_hash(&user.id, old, &new)
                .await
                .map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = replaced
            && let Some(suppressed) = REHASH_FAILED.due()
        {
            tracing::warn!(user = %user.id, %error, suppressed, "outdated password hash not replaced");
        }
    }
}
