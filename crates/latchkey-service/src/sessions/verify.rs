//! Token verification: simplejwt's `TokenVerifyView`.

use std::sync::Arc;

use super::{
    request::{TokenRequest, TokenRequests, View},
    revocation_check::RevocationCheck,
};
use crate::{ClientInfo, Error, tokens::reference::token_ref};

/// Verification of tokens of either kind.
pub struct Verify {
    pub(crate) check: Arc<RevocationCheck>,
    pub(crate) requests: Arc<TokenRequests>,
}

impl Verify {
    /// Verifies a token of either kind. The order of checks is that of simplejwt: signature and
    /// times, the blacklist, the required claims.
    ///
    /// # Errors
    /// [`Error::Token`]. [`Error::Unavailable`] if the token needs the database and it is
    /// unavailable. This is the case for valid refresh tokens, because the blacklist can only
    /// prove that they are not valid.
    pub async fn verify(&self, token: &str, client: ClientInfo) -> Result<(), Error> {
        let request = self.requests.check(View::Verify, token, client)?;
        let outcome = self.verify_checked(&request).await;
        self.requests.record_refusal(&request, outcome)
    }

    async fn verify_checked(&self, request: &TokenRequest) -> Result<(), Error> {
        let checked = &request.checked;
        let required = checked
            .require_identity(self.requests.policy())
            .map_err(Error::from);
        match token_ref(checked) {
            Ok(token) => {
                self.check.check(&token, request).await?;
                required
            }
            Err(invalid) => required.and(Err(invalid)),
        }
    }
}
