//! The name of a key file says what the key does: `TIME-access-ES256-KID.pem`, where TIME is from when on it signs.

use std::path::Path;

use chrono::NaiveDateTime;
use latchkey_verifier::{Algorithm, Kind};

use crate::domain::keys::KeyMetadata;

pub(super) const KEY: &str = "pem";
pub(super) const REVOKED: &str = "revoked";

const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// What the name says; `None` when it is not such a name. The `kid` comes last because it may hold hyphens itself.
pub(super) fn parse(path: &Path) -> Option<KeyMetadata> {
    let mut parts = path.file_stem()?.to_str()?.splitn(4, '-');
    let signs_from = NaiveDateTime::parse_from_str(parts.next()?, STAMP)
        .ok()?
        .and_utc();
    let kind = parts.next()?;
    let kind = [Kind::Access, Kind::Refresh]
        .into_iter()
        .find(|known| known.token_type() == kind)?;
    let algorithm: Algorithm = parts.next()?.parse().ok()?;
    // Refresh tokens are MACed: nobody but this service has any business reading them.
    if kind == Kind::Refresh && algorithm != Algorithm::Hs256 {
        return None;
    }
    let kid = parts.next()?.to_owned();
    // Base64url: such as `x.pem.revoked` is no mark of any key.
    if kid.is_empty()
        || !kid
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return None;
    }
    Some(KeyMetadata {
        kid,
        kind,
        algorithm,
        signs_from,
    })
}

pub(super) fn of(facts: &KeyMetadata, extension: &str) -> String {
    let KeyMetadata {
        kid,
        kind,
        algorithm,
        signs_from,
    } = facts;
    format!(
        "{}-{}-{algorithm}-{kid}.{extension}",
        signs_from.format(STAMP),
        kind.token_type()
    )
}
