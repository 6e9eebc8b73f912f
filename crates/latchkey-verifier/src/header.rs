//! The JOSE header: `alg`, `kid`, `typ`, and nothing that would have to be understood.

use serde_json::{Map, Value};

use crate::{Algorithm, Refusal, json};

/// What a header says. Only `alg`, `kid` and `typ` are read; `jwk`, `jku`, `x5u`, `x5c` and `x5t` are ignored:
/// a token does not bring its own key (RFC 8725, section 3.10).
pub(crate) struct Header {
    pub algorithm: Algorithm,
    pub kid: String,
    pub typ: Option<String>,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut members = json::object(bytes).ok_or(Refusal::Malformed)?;
        // No extension is understood, so any `crit` is a refusal (RFC 7515, section 4.1.11), and so is `b64`,
        // which changes what the signature is over (RFC 7797).
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(Refusal::Header);
        }
        let algorithm = text(&mut members, "alg")?.ok_or(Refusal::Header)?.parse().map_err(|_| Refusal::Header)?;
        let kid = text(&mut members, "kid")?.ok_or(Refusal::UnknownKey)?;
        let typ = text(&mut members, "typ")?;
        Ok(Self { algorithm, kid, typ })
    }
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::Header),
    }
}
