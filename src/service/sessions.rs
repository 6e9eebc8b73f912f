//! Sessions for the people whose they are: the list, the end of one, the end of all. And how a session ends at all.

use std::sync::Arc;

use super::{Auth, ClientInfo, Error, tokens::blacklisted};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        ids::{SessionId, UserId},
        session::{RevokedReason, Session},
        time::{Moment, truncate_to_micros},
    },
    ports::{Revoke, RevokeAll},
};

/// A live session of the user who asks.
#[derive(Clone, Debug)]
pub struct OwnSession {
    /// The session.
    pub session: Session,
    /// Whether the request came by it.
    pub current: bool,
}

impl Auth {
    /// The live sessions of the user of an access token, the newest first.
    ///
    /// # Errors
    /// As [`Auth::authenticate`].
    pub async fn sessions(
        &self,
        token: &str,
        client: &ClientInfo,
    ) -> Result<Vec<OwnSession>, Error> {
        let (identity, _admitted) = self.authenticate_admitted(token, client).await?;
        let live = self
            .parts
            .sessions
            .list_live(
                &identity.user.id,
                truncate_to_micros(self.parts.clock.now()),
            )
            .await?;
        let own = |session: Session| OwnSession {
            current: session.id == identity.session.id,
            session,
        };
        Ok(live.into_iter().map(own).collect())
    }

    /// Ends one session of the user of an access token, with its tokens; it may be the one that asks.
    ///
    /// # Errors
    /// [`Error::NoSession`] for an id that is no live session of this user, whoever else's it may be; and as
    /// [`Auth::authenticate`].
    pub async fn end_session(
        self: &Arc<Self>,
        token: &str,
        id: &str,
        client: &ClientInfo,
    ) -> Result<(), Error> {
        let (identity, admitted) = self.authenticate_admitted(token, client).await?;
        // The case of the digits of a UUID means nothing (RFC 9562, section 4), and some clients write them in uppercase.
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

    /// Ends the session of an access token.
    ///
    /// # Errors
    /// As [`Auth::authenticate`].
    pub async fn log_out_by_access(
        self: &Arc<Self>,
        token: &str,
        client: &ClientInfo,
    ) -> Result<(), Error> {
        let (identity, admitted) = self.authenticate_admitted(token, client).await?;
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

    /// Ends every session of the user of an access token: one row, however many there are.
    ///
    /// # Errors
    /// As [`Auth::authenticate`]; of two at once, the second finds itself signed out.
    pub async fn revoke_all_sessions(
        self: &Arc<Self>,
        token: &str,
        client: &ClientInfo,
    ) -> Result<(), Error> {
        let (identity, admitted) = self.authenticate_admitted(token, client).await?;
        let now = truncate_to_micros(self.parts.clock.now());
        let audit = AuditEvent::new(now, EventKind::AllSessionsRevoked, Actor::User)
            .with_cause("signed_out_everywhere")
            .of_user(&identity.user.id)
            .of_session(identity.session.id)
            .from(&client.origin());
        let cut_off = RevokeAll {
            id: identity.user.id,
            now,
            audit,
        };
        let version = identity.session.session_epoch;
        self.run_to_completion(admitted, async move |auth| {
            let changed = auth
                .parts
                .users
                .revoke_all_sessions(&cut_off, Some(version))
                .await?;
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

    /// Ends a session, which must be a live one `of` this user, at this version, where one is given. Whether it was this
    /// call that did.
    pub(super) async fn end(
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

    pub(super) fn count_revoked(&self, reason: RevokedReason, count: usize) {
        self.parts.metrics.count_revoked(reason, count);
    }
}
