//! Sessions of an authenticated user: lists them, ends one, ends all.

use std::sync::Arc;

use crate::{Auth, Caller, Error, tokens::blacklisted};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    ids::{SessionId, UserId},
    ports::{Revoke, RevokeAll},
    session::{RevokedReason, Session},
    time::{Moment, truncate_to_micros},
};

/// Live session of an authenticated user.
#[derive(Clone, Debug)]
pub struct OwnSession {
    /// The session.
    pub session: Session,
    /// True for the session of the request.
    pub current: bool,
}

impl Auth {
    /// Returns the live sessions of the caller, newest first.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn sessions(&self, caller: &Caller) -> Result<Vec<OwnSession>, Error> {
        let now = truncate_to_micros(self.parts.clock.now());
        let identity = &caller.identity;
        let live = self
            .parts
            .sessions
            .list_live(&identity.user.id, now)
            .await?;
        let own = |session: Session| OwnSession {
            current: session.id == identity.session.id,
            session,
        };
        Ok(live.into_iter().map(own).collect())
    }

    /// Ends one session of the caller, with its tokens. It may be the session of the request.
    ///
    /// # Errors
    /// [`Error::NoSession`] for an id that is no live session of the caller; [`Error::Overloaded`],
    /// [`Error::Unavailable`].
    pub async fn end_session(self: &Arc<Self>, caller: Caller, id: &str) -> Result<(), Error> {
        let Caller {
            identity,
            client,
            admitted,
        } = caller;
        // UUIDs are case-insensitive on input (RFC 9562, section 4), and some clients write
        // uppercase.
        let id = SessionId::parse(&id.to_ascii_lowercase()).ok_or(Error::NoSession)?;
        let now = truncate_to_micros(self.parts.clock.now());
        let audit = AuditEvent::new(now, EventKind::SessionRevoked, Actor::User)
            .of_user(&identity.user.id)
            .from(&client.origin())
            .with("by_session", identity.session.id.to_string());
        let of = (identity.user.id, identity.user.session_epoch);
        let end = async move |auth: Arc<Self>| {
            auth.end(id, Some(of), RevokedReason::User, now, audit)
                .await
        };
        if self.run_to_completion(admitted, end).await? {
            Ok(())
        } else {
            Err(Error::NoSession)
        }
    }

    /// Ends the session of the request.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn end_own_session(self: &Arc<Self>, caller: Caller) -> Result<(), Error> {
        let Caller {
            identity,
            client,
            admitted,
        } = caller;
        let now = truncate_to_micros(self.parts.clock.now());
        let audit = AuditEvent::new(now, EventKind::SessionRevoked, Actor::User)
            .of_user(&identity.user.id)
            .from(&client.origin());
        let (id, reason) = (identity.session.id, RevokedReason::LoggedOut);
        self.run_to_completion(admitted, async move |auth| {
            auth.end(id, None, reason, now, audit).await
        })
        .await?;
        Ok(())
    }

    /// Ends all sessions of the caller by raising the session epoch. This changes one row,
    /// regardless of their number.
    ///
    /// # Errors
    /// [`Error::Token`] for the second of two concurrent calls. [`Error::Overloaded`],
    /// [`Error::Unavailable`].
    pub async fn revoke_all_sessions(self: &Arc<Self>, caller: Caller) -> Result<(), Error> {
        let Caller {
            identity,
            client,
            admitted,
        } = caller;
        let now = truncate_to_micros(self.parts.clock.now());
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
        let epoch = identity.session.session_epoch;
        self.run_to_completion(admitted, async move |auth| {
            let users = &auth.parts.users;
            let changed = users.revoke_all_sessions(&revoke, Some(epoch)).await?;
            let user = changed.ok_or(blacklisted("cut_off"))?;
            auth.parts.metrics.sign_outs_everywhere.inc();
            auth.parts
                .revocation
                .record_epoch(&user.id, user.session_epoch)
                .await;
            Ok(())
        })
        .await
    }

    /// Ends a session. If `of` is given, the session must be a live one of this user at this
    /// session epoch. Returns true if this call ended it.
    pub(crate) async fn end(
        &self,
        id: SessionId,
        of: Option<(UserId, u32)>,
        reason: RevokedReason,
        now: Moment,
        audit: AuditEvent,
    ) -> Result<bool, Error> {
        let audit = audit.of_session(id).with_cause(reason.as_str());
        let ended = self
            .parts
            .revocation
            .revoke(Revoke {
                id,
                of,
                reason,
                now,
                audit,
            })
            .await?;
        let by_us = ended == Some(true);
        self.count_revoked(reason, usize::from(by_us));
        Ok(by_us)
    }

    pub(crate) fn count_revoked(&self, reason: RevokedReason, count: usize) {
        self.parts.metrics.count_revoked(reason, count);
    }
}
