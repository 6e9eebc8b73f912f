//! Sign-in: simplejwt's `TokenObtainPairView`.

use std::sync::Arc;

use super::{SessionRules, limit, stored::StoredSessions};
use crate::{
    Admission, ClientInfo, Error, Metrics, TokenPair, tokens::Tokens, users::PasswordCheck,
};
use latchkey_crypto::random;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    password::Password,
    ports::{Clock, NewSession},
    session::Session,
    time::{Moment, truncate_to_micros},
    user::User,
};

/// Sign-in with a password.
pub struct SignIn {
    pub(crate) admission: Admission,
    pub(crate) new_sessions: NewSessions,
    pub(crate) passwords: PasswordCheck,
}

/// Creation of sessions.
pub(crate) struct NewSessions {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) rules: SessionRules,
    pub(crate) sessions: Arc<StoredSessions>,
    pub(crate) tokens: Arc<Tokens>,
}

impl SignIn {
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
        let _admitted = self.admission.enter_sign_in(&client).await?;
        let user = self.passwords.check(username, password, &client).await?;
        match self.new_sessions.start(&user, &client).await? {
            Some(pair) => Ok(pair),
            // The user was deactivated or got another password during the check.
            None => Err(self.passwords.refuse(Some(&user), true, &client)),
        }
    }
}

impl NewSessions {
    /// Creates a session and its first tokens. Returns `None` if the user changed meanwhile.
    async fn start(&self, user: &User, client: &ClientInfo) -> Result<Option<TokenPair>, Error> {
        let now = truncate_to_micros(self.clock.now());
        let (session, jti) = (self.session(user, client, now), random::jti());
        let audit = AuditEvent::new(now, EventKind::SignIn, Actor::User)
            .of_user(&user.id)
            .of_session(session.id)
            .of_token(jti.clone())
            .from(&client.origin());
        let new = NewSession {
            session: session.clone(),
            update_last_login: self.rules.update_last_login,
            audit,
        };
        let Some(others) = self.sessions.store.insert(new).await? else {
            return Ok(None);
        };
        self.metrics.sign_ins.inc();
        if limit::is_near(self.rules.per_user, others) {
            limit::trim(&self.sessions, &session, self.rules.per_user, now).await;
        }
        self.tokens.issue(&session, user, now, jti).map(Some)
    }

    fn session(&self, user: &User, client: &ClientInfo, now: Moment) -> Session {
        let origin = client.origin();
        Session {
            id: random::session_id(),
            user_id: user.id.clone(),
            session_epoch: user.session_epoch,
            generation: 0,
            created_at: now,
            rotated_at: now,
            expires_at: now + self.rules.lifetime,
            revoked: None,
            last_ip: origin.ip,
            user_agent: origin.user_agent,
        }
    }
}
