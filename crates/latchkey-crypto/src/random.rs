//! Random ids and secrets from the operating system's generator.

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use uuid::Uuid;

use latchkey_domain::ids::{SessionId, UserId};

/// Failure of the random generator. Nothing may be signed or created without it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system returned no random bytes")]
pub struct NoRandomness;

/// Returns `N` random bytes.
///
/// # Errors
/// [`NoRandomness`].
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Returns a new session id with 122 random bits.
#[must_use]
pub fn session_id() -> SessionId {
    SessionId::new(uuid())
}

/// Returns a new user id: a UUID as text.
#[must_use]
pub fn user_id() -> UserId {
    UserId::new(uuid().to_string())
}

/// Returns a new `jti`: 122 random bits as 32 lowercase hex digits, in simplejwt's format.
#[must_use]
pub fn jti() -> String {
    uuid().simple().to_string()
}

/// Returns a span of whole seconds from 0 to `longest`, uniformly distributed up to the
/// remainder of 64 bits.
///
/// # Errors
/// [`NoRandomness`].
pub fn up_to(longest: TimeDelta) -> Result<TimeDelta, NoRandomness> {
    match u64::try_from(longest.num_seconds()) {
        Ok(seconds @ 1..) => {
            let drawn = u64::from_be_bytes(bytes()?) % (seconds + 1);
            Ok(TimeDelta::seconds(i64::try_from(drawn).unwrap_or_default()))
        }
        _ => Ok(TimeDelta::zero()),
    }
}

/// Returns a password of 144 random bits, for the first user.
///
/// # Errors
/// [`NoRandomness`].
pub fn password() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<18>()?))
}

#[expect(clippy::disallowed_methods, reason = "ids are only created here")]
fn uuid() -> Uuid {
    Uuid::new_v4()
}
