//! End of all sessions of an authenticated user.

use std::sync::Arc;

use super::{Caller, refusal::blacklisted, run_to_completion::run_to_completion};
use crate::{Error, Metrics, Revocation};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    ports::{Clock, RevokeAll, UserStore},
    time::truncate_to_micros,
};

/// Log-out from all sessions of a user.
pub struct LogOutEverywhere {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) users: Arc<dyn UserStore>,
}

impl LogOutEverywhere {
    /// Ends all sessions of the caller by raising the session epoch. This changes one row,
    /// regardless of their number.
    ///
    /// # Errors
    /// [`Error::Token`] for the second of two concurrent calls. [`Error::Overloaded`],
    /// [`Error::Unavailable`].
    pub async fn log_out(self: &Arc<Self>, caller: Caller) -> Result<(), Error> {
        let Caller {
            identity,
            client,
            admitted,
        } = caller;
        let now = truncate_to_micros(self.clock.now());
        let audit = AuditEvent::new(now, EventKind::AllSessionsRevoked, Actor::User)
            .with_cause("signed_out_everywhere")
            .of_user(&identity.user.id)
            .of_session(identity.session.id)
            .from(&client.origin());
        let revoke = RevokeAll {
            id: identity.user.id,
            now,
            audit,
        };
        let (this, epoch) = (Arc::clone(self), identity.session.session_epoch);
        run_to_completion(
            admitted,
            async move { this.raise_epoch(&revoke, epoch).await },
        )
        .await
    }

    async fn raise_epoch(&self, revoke: &RevokeAll, epoch: u32) -> Result<(), Error> {
        let changed = self.users.revoke_all_sessions(revoke, Some(epoch)).await?;
        let user = changed.ok_or(blacklisted("cut_off"))?;
        self.metrics.sign_outs_everywhere.inc();
        self.revocation
            .record_epoch(&user.id, user.session_epoch)
            .await;
        Ok(())
    }
}
