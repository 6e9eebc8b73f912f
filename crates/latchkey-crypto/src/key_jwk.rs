//! Private keys as JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037), alone or in a key set.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    key_der,
    key_forms::{Private, other},
    signing_key::MaterialError,
};

/// Maximum depth of nested values that are searched.
const MAX_DEPTH: usize = 8;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the only private key among the JWKs of a document, or `None` if it has no JWK.
pub(super) fn read(json: &Value) -> Option<Result<Private, MaterialError>> {
    let mut keys = Vec::new();
    collect(json, MAX_DEPTH, &mut keys);
    if keys.is_empty() {
        return None;
    }
    let private: Vec<_> = keys.iter().filter(|key| key.get("d").is_some()).collect();
    Some(match private.as_slice() {
        [key] => private_key(key),
        [] if keys.iter().any(|key| key["kty"] == "oct") => Err(other(
            "holds a shared secret (JWK): give its algorithm, such as --as HS256",
        )),
        [] => Err(other(
            "holds a public key (JWK) and no private key: pass the file with the private key",
        )),
        several => Err(MaterialError::SeveralKeys(several.len())),
    })
}

/// Returns the secret of the only JWK of a document, if it is symmetric.
pub(super) fn secret(json: &Value) -> Option<Zeroizing<Vec<u8>>> {
    let mut keys = Vec::new();
    collect(json, MAX_DEPTH, &mut keys);
    match keys.as_slice() {
        [key] if key["kty"] == "oct" => member(key, "k"),
        _ => None,
    }
}

/// Calls `found` with each string of a document.
pub(super) fn strings(json: &Value, found: &mut impl FnMut(&str)) {
    visit(json, MAX_DEPTH, found);
}

fn visit(json: &Value, depth: usize, found: &mut impl FnMut(&str)) {
    match json {
        Value::String(text) => found(text),
        Value::Array(items) if depth > 0 => {
            for item in items {
                visit(item, depth - 1, found);
            }
        }
        Value::Object(members) if depth > 0 => members
            .values()
            .for_each(|item| visit(item, depth - 1, found)),
        _ => {}
    }
}

fn collect<'a>(json: &'a Value, depth: usize, keys: &mut Vec<&'a Value>) {
    match json {
        Value::Object(members) if members.get("kty").is_some_and(Value::is_string) => {
            keys.push(json);
        }
        Value::Object(members) if depth > 0 => members
            .values()
            .for_each(|item| collect(item, depth - 1, keys)),
        Value::Array(items) if depth > 0 => {
            for item in items {
                collect(item, depth - 1, keys);
            }
        }
        _ => {}
    }
}

fn private_key(key: &Value) -> Result<Private, MaterialError> {
    let name = key["crv"]
        .as_str()
        .or(key["kty"].as_str())
        .unwrap_or_default();
    let damaged = || other("holds a JWK with a missing or damaged member");
    let mut private = match name {
        "P-256" => ec(key, &ECDSA_P256_SHA256_FIXED_SIGNING, 32).ok_or_else(damaged)?,
        "P-384" => ec(key, &ECDSA_P384_SHA384_FIXED_SIGNING, 48).ok_or_else(damaged)?,
        "Ed25519" => ed25519(key).ok_or_else(damaged)?,
        "RSA" => rsa(key)?,
        other => return Err(MaterialError::OtherAlgorithm(other.to_owned())),
    };
    private.algorithm = key["alg"].as_str().map(ToOwned::to_owned);
    Ok(private)
}

fn ec(
    key: &Value,
    curve: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm,
    length: usize,
) -> Option<Private> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        point.extend_from_slice(&padded(&member(key, name)?, length)?);
    }
    let number = padded(&member(key, "d")?, length)?;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &number, &point).ok()?;
    pkcs8(pair.to_pkcs8v1().ok()?.as_ref())
}

fn ed25519(key: &Value) -> Option<Private> {
    let pair =
        Ed25519KeyPair::from_seed_and_public_key(&member(key, "d")?, &member(key, "x")?).ok()?;
    pkcs8(pair.to_pkcs8v1().ok()?.as_ref())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the last step of a chain of options"
)]
fn pkcs8(contents: &[u8]) -> Option<Private> {
    Some(Private::new(
        "PRIVATE KEY",
        Zeroizing::new(contents.to_vec()),
    ))
}

fn rsa(key: &Value) -> Result<Private, MaterialError> {
    let numbers = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(|name| member(key, name));
    let numbers: Option<Vec<_>> = numbers.into_iter().collect();
    let incomplete =
        || other("holds an RSA key (JWK) without p, q, dp, dq and qi: export it with them");
    let numbers = numbers.ok_or_else(incomplete)?;
    let contents = key_der::rsa(
        &numbers
            .iter()
            .map(|number| number.as_slice())
            .collect::<Vec<_>>(),
    );
    Ok(Private::new(
        "RSA PRIVATE KEY",
        contents.ok_or_else(incomplete)?,
    ))
}

fn member(key: &Value, name: &str) -> Option<Zeroizing<Vec<u8>>> {
    BASE64URL
        .decode(key[name].as_str()?)
        .ok()
        .map(Zeroizing::new)
}

/// Returns the number in `length` bytes, with leading zeros.
pub(super) fn padded(number: &[u8], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let first = number
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(number.len());
    let number = number.get(first..)?;
    let mut padded = Zeroizing::new(vec![0; length.checked_sub(number.len())?]);
    padded.extend_from_slice(number);
    Some(padded)
}
