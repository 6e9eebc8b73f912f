//! Reference from a token to the row of its session.

use latchkey_verifier::{Checked, Claims, Kind};

use crate::{Error, TokenDetail};
use latchkey_domain::{
    ids::{SessionId, UserId},
    ports::TokenRef,
    session::{MAX_EPOCH, MAX_GENERATION},
};

/// Returns the reference to the token's row. A counter that exceeds the range of its column is
/// refused, so that it never reaches a store.
pub(crate) fn token_ref(checked: &Checked) -> Result<TokenRef, Error> {
    let claims = checked.claims();
    let counter = |name: &str, last: u32| {
        claims
            .number(name)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n <= last)
    };
    Ok(TokenRef {
        session: session_id(claims).ok_or_else(invalid)?,
        // Postgres cannot store a NUL character, so no user id has one.
        user: claims
            .subject()
            .filter(|sub| !sub.contains('\0'))
            .map(UserId::new)
            .ok_or_else(invalid)?,
        session_epoch: counter("ver", MAX_EPOCH).ok_or_else(invalid)?,
        generation: match checked.kind() {
            Kind::Access => None,
            Kind::Refresh => Some(counter("gen", MAX_GENERATION).ok_or_else(invalid)?),
        },
    })
}

pub(crate) fn session_id(claims: &Claims) -> Option<SessionId> {
    SessionId::parse(claims.text("sid")?)
}

pub(crate) const fn invalid() -> Error {
    Error::token(TokenDetail::Invalid, "claim")
}
