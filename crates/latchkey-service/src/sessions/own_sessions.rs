//! Sessions of an authenticated user: lists them, and ends one.

use std::sync::Arc;

use super::{Caller, run_to_completion::run_to_completion, stored::StoredSessions};
use crate::Error;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    ids::SessionId,
    ports::{Clock, Revoke},
    session::{RevokedReason, Session},
    time::truncate_to_micros,
};

/// Live session of an authenticated user.
#[derive(Clone, Debug)]
pub struct OwnSession {
    /// The session.
    pub session: Session,
    /// True for the session of the request.
    pub current: bool,
}

/// Sessions of an authenticated user.
pub struct OwnSessions {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sessions: Arc<StoredSessions>,
}

impl OwnSessions {
    /// Returns the live sessions of the caller, newest first.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn list(&self, caller: &Caller) -> Result<Vec<OwnSession>, Error> {
        let now = truncate_to_micros(self.clock.now());
        let identity = &caller.identity;
        let live = self
            .sessions
            .store
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
    pub async fn end(&self, caller: Caller, id: &str) -> Result<(), Error> {
        // UUIDs are case-insensitive on input (RFC 9562, section 4), and some clients write
        // uppercase.
        let id = SessionId::parse(&id.to_ascii_lowercase()).ok_or(Error::NoSession)?;
        let mut revoke = self.revocation(&caller, id, RevokedReason::User);
        let Caller {
            identity, admitted, ..
        } = caller;
        revoke.audit = revoke
            .audit
            .with("by_session", identity.session.id.to_string());
        // The session must be a live one of this user.
        revoke.of = Some((identity.user.id, identity.user.session_epoch));
        let sessions = Arc::clone(&self.sessions);
        if run_to_completion(admitted, async move { sessions.end(revoke).await }).await? {
            Ok(())
        } else {
            Err(Error::NoSession)
        }
    }

    /// Ends the session of the request.
    ///
    /// # Errors
    /// [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn end_current(&self, caller: Caller) -> Result<(), Error> {
        let id = caller.identity.session.id;
        let revoke = self.revocation(&caller, id, RevokedReason::LoggedOut);
        let sessions = Arc::clone(&self.sessions);
        let end = async move { sessions.end(revoke).await };
        run_to_completion(caller.admitted, end).await?;
        Ok(())
    }

    fn revocation(&self, caller: &Caller, id: SessionId, reason: RevokedReason) -> Revoke {
        let now = truncate_to_micros(self.clock.now());
        let audit = AuditEvent::new(now, EventKind::SessionRevoked, Actor::User)
            .of_user(&caller.identity.user.id)
            .from(&caller.client.origin());
        Revoke {
            id,
            of: None,
            reason,
            now,
            audit,
        }
    }
}
