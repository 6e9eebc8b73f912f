//! `latchkey keys export`: public keys, for verifiers that do not fetch the key set.

use std::sync::Arc;

use latchkey_verifier::Kind;
use serde_json::Value;

use super::{Format, RingArgs};
use crate::{
    app::keys,
    cli::{Failure, output},
};
use latchkey_crypto::key_ring::RingKey;
use latchkey_domain::ports::Clock;
use latchkey_service::keys::KeysError;

pub(super) async fn run(
    ring: &RingArgs,
    kid: Option<&str>,
    format: Format,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let manager = keys::reader(&ring.settings(), clock)?;
    let ring = manager.ring().await?;
    let chosen: Vec<&RingKey> = match kid {
        None => ring
            .keys()
            .filter(|key| key.facts.kind == Kind::Access)
            .collect(),
        Some(kid) => vec![
            ring.find(kid)
                .ok_or_else(|| KeysError::NotFound(kid.to_owned()))?,
        ],
    };
    let none = || {
        Failure::Failed(
            "there is no public key: shared secrets have none, and are not exported".to_owned(),
        )
    };
    match (format, kid) {
        (Format::Pem, _) => {
            let texts: Vec<_> = chosen
                .iter()
                .rev()
                .filter_map(|key| key.key.public_pem())
                .collect();
            if texts.is_empty() {
                return Err(none());
            }
            for text in &texts {
                output::lines(text.trim_end());
            }
        }
        (Format::Jwk, Some(_)) => {
            let jwk = chosen.iter().find_map(|key| key.key.public_jwk());
            output::json(&jwk.ok_or_else(none)?);
        }
        (Format::Jwk, None) => {
            let set: Value = serde_json::from_slice(&ring.published().body).unwrap_or_default();
            output::json(&set);
        }
    }
    Ok(())
}
