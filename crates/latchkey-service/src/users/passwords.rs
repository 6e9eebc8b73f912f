//! Check of a user's password at a sign-in.

use std::sync::Arc;

use crate::{AuditTrail, ClientInfo, Error, sampled::Sampled};
use latchkey_crypto::hasher::Hasher;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    password::{Password, PasswordHash},
    ports::{Clock, Credentials, UserStore},
    time::truncate_to_micros,
    user::User,
    username::Username,
};

static REHASH_FAILED: Sampled = Sampled::new();

/// Check of passwords. A refusal is recorded in the audit trail.
pub(crate) struct PasswordCheck {
    pub(crate) audit: AuditTrail,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hasher: Hasher,
    pub(crate) users: Arc<dyn UserStore>,
}

impl PasswordCheck {
    /// Returns the active user with this name and password. Costs exactly one hash, also without
    /// such a user. Replaces an outdated hash.
    pub(crate) async fn check(
        &self,
        username: &str,
        password: Password,
        client: &ClientInfo,
    ) -> Result<User, Error> {
        let credentials = match Username::parse(username) {
            Ok(name) => self.users.find_credentials(&name).await?,
            Err(_) => None,
        };
        let hash = credentials
            .as_ref()
            .map(|found| found.password_hash.clone());
        let verdict = self.hasher.verify(password.clone(), hash).await?;
        let Some(Credentials {
            user,
            password_hash,
        }) = credentials
        else {
            return Err(self.refuse(None, verdict.fits, client));
        };
        if !verdict.fits || !user.is_active {
            return Err(self.refuse(Some(&user), verdict.fits, client));
        }
        if verdict.outdated {
            self.rehash(&user, &password_hash, password).await;
        }
        Ok(user)
    }

    /// Records a refused sign-in, and returns its error. Only the audit trail has the reason. An
    /// unknown name is not recorded, because users sometimes type a password into the wrong field.
    pub(crate) fn refuse(&self, user: Option<&User>, fits: bool, client: &ClientInfo) -> Error {
        let mut event = AuditEvent::new(
            truncate_to_micros(self.clock.now()),
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
        self.audit.record(event);
        Error::BadCredentials
    }

    /// Replaces an outdated hash. A failure does not fail the sign-in.
    async fn rehash(&self, user: &User, old: &PasswordHash, password: Password) {
        let replaced = match self.hasher.hash(password).await {
            Ok(new) => self
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
