//! Rotation of refresh tokens: simplejwt's `TokenRefreshView`, with reuse detection (RFC 9700,
//! section 4.14.2).

use std::sync::Arc;

use super::{
    request::{TokenRequest, TokenRequests, View},
    reuse::Presented,
    revocation_check::RevocationCheck,
    run_to_completion::run_to_completion,
    successors::Successors,
    unrotated::Unrotated,
};
use crate::{ClientInfo, Error, Revocation, TokenPair};
use latchkey_domain::{
    audit::Origin,
    ports::{Clock, RotationStore},
};

/// Exchange of refresh tokens.
pub struct Refresh {
    pub(crate) check: Arc<RevocationCheck>,
    pub(crate) requests: Arc<TokenRequests>,
    /// `None` if a client keeps its refresh token.
    pub(crate) rotation: Option<Rotation>,
    pub(crate) unrotated: Unrotated,
}

/// Exchange of a refresh token for its successor.
pub(crate) struct Rotation {
    pub(crate) clock: Arc<dyn Clock>,
    /// Receives the entries of rotations. `None` if a rotation has no entry.
    pub(crate) entries: Option<Arc<Revocation>>,
    pub(crate) store: Arc<dyn RotationStore>,
    pub(crate) successors: Arc<Successors>,
}

impl Refresh {
    /// Exchanges a refresh token.
    ///
    /// Example: two tabs, A and B, send the same token of generation 4 concurrently. Each performs
    /// a conditional write, and only one of them, say A's, changes the row. A receives generation
    /// 5. B's write changes nothing, so B reads the row, finds its token within the reuse grace,
    /// and receives the same token of generation 5. A client C with generation 4 is a reuse if
    /// both its address and its `User-Agent` differ, if the grace is over, or if generation 6
    /// exists. Reuse revokes the session with its access tokens.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::NoActiveAccount`], [`Error::Overloaded`], [`Error::Unavailable`].
    pub async fn refresh(
        self: &Arc<Self>,
        token: &str,
        client: ClientInfo,
    ) -> Result<TokenPair, Error> {
        let request = self.requests.check(View::Refresh, token, client)?;
        let admitted = self.requests.admit(&request).await?;
        let this = Arc::clone(self);
        run_to_completion(admitted, async move {
            let outcome = this.exchange(&request).await;
            this.requests.record_refusal(&request, outcome)
        })
        .await
    }

    async fn exchange(&self, request: &TokenRequest) -> Result<TokenPair, Error> {
        let (token, generation) = self.check.refresh_token(request).await?;
        let presented = Presented {
            token: &token,
            generation,
            request,
        };
        let Some(rotation) = &self.rotation else {
            return Box::pin(self.unrotated.refresh_without_rotation(&presented)).await;
        };
        match rotation.rotate(&presented).await? {
            Some(pair) => Ok(pair),
            None => Box::pin(self.unrotated.resolve_lost_race(&presented)).await,
        }
    }
}

impl Rotation {
    /// Rotates the session, and issues the successor. Returns `None` if the row was not changed.
    async fn rotate(&self, presented: &Presented<'_>) -> Result<Option<TokenPair>, Error> {
        let (token, client) = (presented.token, &presented.request.client);
        let Origin { ip, user_agent } = client.origin();
        let rotation = latchkey_domain::ports::Rotation {
            id: token.session,
            user: token.user.clone(),
            session_epoch: token.session_epoch,
            generation: presented.generation,
            ip,
            user_agent,
        };
        let Some(state) = self.store.rotate(rotation, &self.clock).await? else {
            return Ok(None);
        };
        if let Some(entries) = &self.entries {
            entries.enqueue_rotated(&state.session);
        }
        self.successors.issue(&state, client).map(Some)
    }
}
