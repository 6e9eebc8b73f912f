//! Shared code of the fuzz targets: a verifier, and signatures of arbitrary bytes with its key.

use std::{fmt, sync::LazyLock};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_verifier::{Algorithm, KeySet, Kind, Policy, Verifier, VerifyingKey};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "shop";
pub const KID: &str = "a-key";
/// Time of verification, in seconds since the epoch.
pub const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret that is no secret at all";

pub const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt","kid":"a-key"}"#;
pub const CLAIMS: &str = r#"{"token_type":"access","exp":1800000300,"iat":1800000000,"jti":"0","iss":"https://auth.example.com","sub":"ada","aud":"shop"}"#;

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, SECRET));

/// Returns a set with the key that [`signed`] uses.
pub fn keys() -> KeySet {
    let mut keys = KeySet::new();
    let key = VerifyingKey::from_secret(Algorithm::Hs256, Kind::Access, SECRET)
        .expect("the secret is long enough");
    keys.insert(KID, key).expect("the set is empty");
    keys
}

/// Returns a verifier of tokens of that key for [`AUDIENCE`], with this leeway in seconds.
pub fn verifier(leeway: u32) -> Verifier {
    let audience = Some(AUDIENCE.to_owned());
    let verifier = Verifier::new(
        keys(),
        Policy {
            audience,
            leeway,
            ..Policy::new(ISSUER)
        },
    );
    // Control: a verifier that refuses everything would pass every assertion.
    let good = verifier.check(&signed(HEADER.as_bytes(), CLAIMS.as_bytes()), NOW);
    assert!(good.is_ok(), "a good token is refused: {good:?}");
    verifier
}

/// Returns two segments unchanged, with their correct signature.
pub fn sealed(input: &str) -> String {
    format!(
        "{input}.{}",
        encode(hmac::sign(&KEY, input.as_bytes()).as_ref())
    )
}

/// Returns a correctly signed token of these bytes.
pub fn signed(header: &[u8], payload: &[u8]) -> String {
    sealed(&format!("{}.{}", encode(header), encode(payload)))
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the JSON object in `bytes` as an independent parser reads it. Panics on a duplicate
/// member, because other parsers may read another value.
pub fn object(bytes: &[u8]) -> Value {
    let Members(members) =
        serde_json::from_slice(bytes).expect("the accepted bytes are a JSON object");
    let count = members.len();
    let object: Map<String, Value> = members.into_iter().collect();
    assert_eq!(
        object.len(),
        count,
        "the accepted object has a duplicate member"
    );
    Value::Object(object)
}

/// Members of an object in their order in the text, including duplicates.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_entry()? {
            list.push(member);
        }
        Ok(list)
    }
}

/// Asserts that an accepted header satisfies the policy.
pub fn assert_header(header: &Value) {
    assert_eq!(header["alg"], "HS256");
    assert_eq!(header["kid"], KID);
    assert_eq!(header["typ"], "at+jwt");
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
}

/// Asserts that accepted claims are valid at `now`, with an independent implementation of the
/// rules.
pub fn assert_claims(claims: &Value, now: i64, leeway: u32) {
    let (now, leeway) = (now as f64, f64::from(leeway));
    let date = |name: &str| {
        claims
            .get(name)
            .map(|date| date.as_f64().expect("a date is a number"))
    };
    assert!(date("exp").is_none_or(|exp| exp.trunc() > now - leeway && exp < 253_402_300_800.0));
    assert!(date("nbf").is_none_or(|nbf| nbf.trunc() <= now + leeway));
    assert!(date("iat").is_none_or(|iat| iat.trunc() <= now + leeway.max(2.0)));
    assert_eq!(claims["iss"], ISSUER);
    assert!(claims.get("sub").is_none_or(Value::is_string));
    assert!(claims.get("jti").is_none_or(Value::is_string));
    let names = |aud: &Value| aud == AUDIENCE;
    assert!(
        names(&claims["aud"])
            || claims["aud"]
                .as_array()
                .is_some_and(|several| several.iter().any(names))
    );
}
