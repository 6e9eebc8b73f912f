//! Attacks on tokens, against a real server. No hostile token gets 200 or 500, and each gets the
//! same error response as any invalid token.

mod audit_flood;
mod claims;
mod client_address;
mod connections;
mod flood;
mod forged;
mod issued;
mod keys;
mod kinds;
mod liveness;
mod memory;
mod numbers;
mod secrets;
mod spent;
mod spent_shown;

pub use latchkey_testkit::BLACKLISTED;
pub use latchkey_testkit::VERIFY_BLACKLISTED;
use latchkey_verifier::Kind;
use serde_json::Value;

use latchkey_testkit::{Forge, Pair, TestApp};

pub const INVALID: &str = "Token is invalid";
pub const EXPIRED: &str = "Token is expired";
pub const WRONG_TYPE: &str = "Token has wrong type";

/// Fails unless every endpoint that accepts a token returns exactly this error.
pub async fn refused_as(app: &TestApp, detail: &str, what: &str, token: &str) {
    let body = format!(r#"{{"detail":"{detail}","code":"token_not_valid"}}"#);
    for (path, answer) in [
        ("verify", app.verify(token).await),
        ("refresh", app.refresh(token).await),
        ("blacklist", app.blacklist(token).await),
    ] {
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (401, body.as_str()),
            "{path}: {what}: {token:.300}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            r#"Bearer realm="api""#,
            "{path}: {what}"
        );
    }
    shut_out(app, detail, what, token).await;
}

/// Fails unless the protected view returns exactly this error.
pub async fn shut_out(app: &TestApp, detail: &str, what: &str, token: &str) {
    let me = app.me(&format!("Bearer {token}")).await;
    let body = format!(
        r#"{{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{{"token_class":"AccessToken","token_type":"access","message":"{detail}"}}]}}"#
    );
    assert_eq!(
        (me.status, me.text.as_str()),
        (401, body.as_str()),
        "protected view: {what}: {token:.300}"
    );
}

pub async fn refused(app: &TestApp, what: &str, token: &str) {
    refused_as(app, INVALID, what, token).await;
}

/// Fails unless both tokens are still valid. An attack must not sign the victim out.
pub async fn still_good(app: &TestApp, pair: &Pair) {
    app.verify(&pair.access).await.expect(200, "{}");
    app.verify(&pair.refresh).await.expect(200, "{}");
    assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 200);
}

/// Returns the three segments of a token.
pub fn segments(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// Returns a JSON object with one member replaced.
pub fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

/// Signs the token's claims with one value replaced by JSON text, which may be invalid JSON.
pub fn with_text(app: &TestApp, token: &str, kind: Kind, name: &str, value: &str) -> String {
    let forge = app.forge();
    let mut claims = Forge::claims_of(token);
    claims.as_object_mut().unwrap().remove(name);
    let payload = claims
        .to_string()
        .replacen('{', &format!("{{\"{name}\":{value},"), 1);
    forge.signed(kind, &forge.header(kind).to_string(), &payload)
}
