//! Sign-in: simplejwt's `TokenObtainPairView`.

use super::{Auth, Client, Error, TokenPair};
use crate::{
    crypto::random,
    domain::{
        password::{Password, PasswordHash},
        session::Session,
        time::{Moment, storable},
        user::User,
        username::Username,
    },
    ports::NewSession,
};

impl Auth {
    /// A new session and its first tokens.
    ///
    /// Unknown user, wrong password and inactive user are one answer at one cost: each does exactly one hash.
    ///
    /// # Errors
    /// [`Error::BadCredentials`]; [`Error::Busy`] when too many sign in at once; [`Error::Unavailable`].
    pub async fn obtain(&self, username: &str, password: Password, client: Client) -> Result<TokenPair, Error> {
        let credentials = match Username::parse(username) {
            Ok(name) => self.parts.users.find_credentials(&name).await?,
            Err(_) => None,
        };
        let hash = credentials.as_ref().map(|found| found.password_hash.clone());
        let verdict = self.parts.hasher.verify(password.clone(), hash).await?;
        let Some(found) = credentials.filter(|found| verdict.fits && found.user.is_active) else {
            return Err(Error::BadCredentials);
        };
        if verdict.outdated {
            self.rehash(&found.user, &found.password_hash, password).await;
        }
        self.sign_in(&found.user, client).await
    }

    async fn sign_in(&self, user: &User, client: Client) -> Result<TokenPair, Error> {
        let now = storable(self.parts.clock.now());
        let session = self.new_session(user, client, now);
        let update_last_login = self.parts.rules.update_last_login;
        let made = self.parts.sessions.insert(NewSession { session: session.clone(), update_last_login }).await?;
        // Deactivated, or given another password, while this one was being checked.
        if !made {
            return Err(Error::BadCredentials);
        }
        self.issue(&session, user, now)
    }

    fn new_session(&self, user: &User, client: Client, now: Moment) -> Session {
        Session {
            id: random::session_id(),
            user_id: user.id.clone(),
            user_version: user.version,
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
            Ok(new) => self.parts.users.replace_hash(&user.id, old, &new).await.map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = renewed {
            tracing::warn!(user = %user.id, %error, "an outdated password hash was not renewed");
        }
    }
}
