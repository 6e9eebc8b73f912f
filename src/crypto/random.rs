//! The one source of ids and secrets: the operating system's generator.

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use uuid::Uuid;

use crate::domain::ids::{SessionId, UserId};

/// Randomness could not be had. Nothing may be signed or made without it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// `N` unpredictable bytes.
///
/// # Errors
/// [`NoRandomness`].
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A fresh session id: 122 random bits.
#[must_use]
pub fn session_id() -> SessionId {
    SessionId::new(uuid())
}

/// A fresh user id: a UUID in text.
#[must_use]
pub fn user_id() -> UserId {
    UserId::new(uuid().to_string())
}

/// A fresh `jti`: 122 random bits as 32 lowercase hex digits, as simplejwt writes them.
#[must_use]
pub fn jti() -> String {
    uuid().simple().to_string()
}

/// A span of whole seconds from none to `longest`, each as likely as any other, as near as 64 bits divide.
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

/// A password of 144 random bits, for the first user.
///
/// # Errors
/// [`NoRandomness`].
pub fn password() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<18>()?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that makes ids"
)]
fn uuid() -> Uuid {
    Uuid::new_v4()
}
