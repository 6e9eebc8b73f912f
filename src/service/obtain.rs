//! Sign-in: simplejwt's `TokenObtainPairView`.

use std::sync::Arc;

use super::{Auth, ClientInfo, Error, TokenPair, sampled::Sampled};
use crate::{
    crypto::random,
    domain::{
        audit::{Actor, AuditEvent, EventKind, Origin},
        password::{Password, PasswordHash},
        session::{RevokedReason, Session},
        time::{Moment, truncate_to_micros},
        user::User,
        username::Username,
    },
    ports::{NewSession, StoreError},
};

static NOT_ENDED: Sampled = Sampled::new();
static NOT_RENEWED: Sampled = Sampled::new();

/// How many sign-ins of one user may happen at once without seeing each other. Only who comes this close to the limit
/// pays for a second look.
const CONCURRENT_SIGN_INS: u32 = 16;

impl Auth {
    /// A new session and its first tokens.
    ///
    /// Unknown user, wrong password and inactive user are one answer at one cost: each does exactly one hash.
    ///
    /// # Errors
    /// [`Error::BadCredentials`]; [`Error::Busy`] when too many sign in at once; [`Error::Unavailable`].
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
        let made = self
            .parts
            .sessions
            .insert(NewSession {
                session: session.clone(),
                update_last_login,
                audit,
            })
            .await?;
        let Some(others) = made else {
            // Deactivated, or given another password, while this one was being checked.
            self.audit_refusal(Some(user), true, client);
            return Err(Error::BadCredentials);
        };
        self.parts.metrics.sign_ins.inc();
        if others.saturating_add(CONCURRENT_SIGN_INS) >= self.parts.rules.sessions_per_user {
            self.trim(&session, now).await;
        }
        self.issue(&session, user, now, jti)
    }

    /// The oldest sessions go, so that no more stay than a user may have. To the end, whoever stops waiting: what is
    /// revoked must be marked. The sign-in does not fail of it: the next one does what this one could not.
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
            let gone = sessions.trim(&newest, limit, audit).await?;
            revocation.record_revoked(&gone, now).await;
            Ok::<_, StoreError>(gone.len())
        });
        match trimmed.await {
            Ok(Ok(count)) => self.count_revoked(reason, count),
            Ok(Err(error)) => {
                if let Some(suppressed) = NOT_ENDED.due() {
                    tracing::warn!(%error, suppressed, "a user's oldest sessions were not ended");
                }
            }
            Err(_) => {
                if let Some(suppressed) = NOT_ENDED.due() {
                    tracing::error!(
                        suppressed,
                        "a user's oldest sessions were not ended: a use case panicked"
                    );
                }
            }
        }
    }

    /// Which of the reasons it was is for the trail alone: the wire has one answer for all. A name that nobody has is not
    /// kept, because people type passwords into the wrong field.
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

    /// A courtesy: a sign-in does not fail because the hash could not be renewed.
    async fn rehash(&self, user: &User, old: &PasswordHash, password: Password) {
        let renewed = match self.parts.hasher.hash(password).await {
            Ok(new) => self
                .parts
                .users
                .replace_hash(&user.id, old, &new)
                .await
                .map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = renewed
            && let Some(suppressed) = NOT_RENEWED.due()
        {
            tracing::warn!(user = %user.id, %error, suppressed, "an outdated password hash was not renewed");
        }
    }
}
