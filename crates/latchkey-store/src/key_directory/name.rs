//! Names of key files: `TIME-access-ES256-KID.pem`. The key signs from TIME on.

use std::path::Path;

use chrono::NaiveDateTime;
use latchkey_verifier::{Algorithm, Kind};

use latchkey_domain::keys::KeyMetadata;

pub(super) const KEY: &str = "pem";
pub(super) const REVOKED: &str = "revoked";

const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Returns the metadata in a name, or `None` for any other name. The `kid` comes last because it
/// may contain hyphens.
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
    // Refresh tokens are MACed, because only this service verifies them.
    if kind == Kind::Refresh && algorithm != Algorithm::Hs256 {
        return None;
    }
    let kid = parts.next()?.to_owned();
    // Base64url only: `x.pem.revoked`, for example, is not a revocation of a key.
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
