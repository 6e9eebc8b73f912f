//! Correctly signed tokens with wrong claims, with the errors of simplejwt.

use latchkey_verifier::Kind;
use serde_json::{Value, json};

use super::tools::{VERIFY_BLACKLISTED, refused, refused_here};
use latchkey_testkit::{Backend, Forge, TestApp, on_both_backends};

const INVALID: &str = "Token is invalid";
const EXPIRED: &str = "Token is expired";

/// Changed claims, and the error of every view.
fn table(now: i64) -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "exp": now }), EXPIRED),
        (json!({ "exp": now - 1 }), EXPIRED),
        (json!({ "exp": 0 }), EXPIRED),
        (json!({ "exp": -5 }), EXPIRED),
        (json!({ "exp": -1.5e300 }), EXPIRED),
        (json!({ "exp": true }), EXPIRED),
        (json!({ "exp": false }), EXPIRED),
        (json!({ "exp": format!("{}", now + 100) }), INVALID),
        (json!({ "exp": "soon" }), INVALID),
        (json!({ "exp": [] }), INVALID),
        (json!({ "exp": {} }), INVALID),
        (json!({ "exp": 1e18 }), INVALID),
        (json!({ "exp": 1_000_000_000_000_000_000_i64 }), INVALID),
        (json!({ "exp": u64::MAX }), INVALID),
        (json!({ "nbf": now + 1 }), INVALID),
        (json!({ "nbf": "now" }), INVALID),
        (json!({ "nbf": [] }), INVALID),
        (json!({ "iat": now + 3 }), INVALID),
        (json!({ "iat": "now" }), INVALID),
        (json!({ "iat": {} }), INVALID),
        (json!({ "jti": 5 }), INVALID),
        (json!({ "sub": 5 }), INVALID),
        (json!({ "sub": [] }), INVALID),
        (json!({ "iss": "https://elsewhere.test" }), INVALID),
        (json!({ "iss": null }), INVALID),
        (json!({ "iss": ["https://auth.test"] }), INVALID),
        (json!({ "sid": 5 }), INVALID),
        (json!({ "sid": null }), INVALID),
        (
            json!({ "sid": "00000000-0000-4000-8000-000000000000\u{0}" }),
            INVALID,
        ),
        (json!({ "ver": "0" }), INVALID),
        (json!({ "ver": -1 }), INVALID),
        (json!({ "exp": null }), "Token has no 'exp' claim"),
        (json!({ "jti": null }), "Token has no id"),
    ]
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

on_both_backends! {
    async fn token_without_a_session_is_invalid(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (pair, forge) = (app.signed_in("ada").await, app.forge());
        let nobodys = forge.token(Kind::Refresh, &forge.claims(Kind::Refresh));
        let for_unknown_user = forge.altered(&pair.refresh, Kind::Refresh, &json!({ "sub": "unknown", "user_id": "unknown" }));
        let of_the_future = forge.altered(&pair.refresh, Kind::Refresh, &json!({ "gen": 7 }));
        let for_another_audience = forge.altered(&pair.refresh, Kind::Refresh, &json!({ "aud": "https://elsewhere.test" }));
        let not_counted = forge.altered(&pair.refresh, Kind::Refresh, &json!({ "gen": "0" }));
        for token in [nobodys, for_unknown_user, of_the_future, for_another_audience, not_counted] {
            app.refresh(&token).await.expect(401, &refused(INVALID));
            app.blacklist(&token).await.expect(401, &refused(INVALID));
            app.verify(&token).await.expect(401, &refused(INVALID));
        }
        let access = forge.token(Kind::Access, &forge.claims(Kind::Access));
        app.me(&format!("Bearer {access}")).await.expect(401, &refused_here(INVALID));
        app.refresh(&pair.refresh).await.pair();
    }

    /// As in simplejwt, the blacklist is checked before required claims.
    async fn blacklisted_is_reported_before_missing_claims(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (pair, forge) = (app.signed_in("ada").await, app.forge());
        app.blacklist(&pair.refresh).await.expect(200, "{}");
        for changes in [json!({ "exp": null }), json!({ "token_type": null }), json!({ "token_type": "access" })] {
            let refresh = forge.altered(&pair.refresh, Kind::Refresh, &changes);
            app.refresh(&refresh).await.expect(401, &refused("Token is blacklisted"));
            app.blacklist(&refresh).await.expect(401, &refused("Token is blacklisted"));
            app.verify(&refresh).await.expect(400, VERIFY_BLACKLISTED);
        }
    }
}

#[tokio::test]
async fn wrong_claim_is_refused_by_every_view() {
    let app = TestApp::start(Backend::Embedded).await;
    let (pair, forge) = (app.signed_in("ada").await, app.forge());
    for (changes, text) in table(app.now()) {
        let refresh = forge.altered(&pair.refresh, Kind::Refresh, &changes);
        let access = forge.altered(&pair.access, Kind::Access, &changes);
        let me = app.me(&format!("Bearer {access}")).await;
        assert_eq!((me.status, me.text), (401, refused_here(text)), "{changes}");
        for answer in [
            app.refresh(&refresh).await,
            app.blacklist(&refresh).await,
            app.verify(&refresh).await,
            app.verify(&access).await,
        ] {
            assert_eq!(
                (answer.status, answer.text),
                (401, refused(text)),
                "{changes}"
            );
        }
    }
    app.refresh(&pair.refresh).await.pair();
}

/// A claim with the value `null` differs from an absent claim.
#[tokio::test]
async fn null_claim_is_not_an_absent_claim() {
    let app = TestApp::start(Backend::Embedded).await;
    let (pair, forge) = (app.signed_in("ada").await, app.forge());
    for (name, text) in [
        ("exp", INVALID),
        ("iat", INVALID),
        ("jti", INVALID),
        ("sub", INVALID),
        ("token_type", "Token has wrong type"),
    ] {
        let mut claims = Forge::claims_of(&pair.refresh);
        claims[name] = Value::Null;
        app.refresh(&forge.token(Kind::Refresh, &claims))
            .await
            .expect(401, &refused(text));
    }
}

#[tokio::test]
async fn token_type_is_checked_where_one_type_is_expected() {
    let app = TestApp::start(Backend::Embedded).await;
    let (pair, forge) = (app.signed_in("ada").await, app.forge());
    for (changes, text) in [
        (json!({ "token_type": null }), "Token has no type"),
        (json!({ "token_type": "sliding" }), "Token has wrong type"),
        (json!({ "token_type": "Refresh " }), "Token has wrong type"),
        (json!({ "token_type": 5 }), "Token has wrong type"),
    ] {
        let refresh = forge.altered(&pair.refresh, Kind::Refresh, &changes);
        let access = forge.altered(&pair.access, Kind::Access, &changes);
        app.refresh(&refresh).await.expect(401, &refused(text));
        app.blacklist(&refresh).await.expect(401, &refused(text));
        app.me(&format!("Bearer {access}"))
            .await
            .expect(401, &refused_here(text));
        // The verify view does not check the type.
        app.verify(&refresh).await.expect(200, "{}");
        app.verify(&access).await.expect(200, "{}");
    }
    // The key determines the kind. A token with the other kind's type is refused by both.
    let access = forge.altered(
        &pair.access,
        Kind::Access,
        &json!({ "token_type": "refresh", "gen": 0, "aud": "https://auth.test" }),
    );
    app.refresh(&access)
        .await
        .expect(401, &refused("Token has wrong type"));
    let refresh = forge.altered(
        &pair.refresh,
        Kind::Refresh,
        &json!({ "token_type": "access" }),
    );
    app.me(&format!("Bearer {refresh}"))
        .await
        .expect(401, &refused_here("Token has wrong type"));
}

#[tokio::test]
async fn optional_and_additional_claims_are_accepted() {
    let app = TestApp::start(Backend::Embedded).await;
    let (pair, forge, now) = (app.signed_in("ada").await, app.forge(), app.now());
    for changes in [
        json!({ "iat": null }),
        json!({ "exp": now + 1 }),
        json!({ "exp": number(&format!("{}.75", now + 100)) }),
        json!({ "nbf": now }),
        json!({ "iat": number(&format!("{now}.0")) }),
        json!({ "foo": [1, { "a": null }], "scope": "x" }),
    ] {
        let access = forge.altered(&pair.access, Kind::Access, &changes);
        assert_eq!(app.verify(&access).await.text, "{}", "{changes}");
        assert_eq!(
            app.me(&format!("Bearer {access}")).await.status,
            200,
            "{changes}"
        );
        let refresh = forge.altered(&pair.refresh, Kind::Refresh, &changes);
        assert_eq!(app.verify(&refresh).await.text, "{}", "{changes}");
    }
    app.refresh(&forge.altered(&pair.refresh, Kind::Refresh, &json!({ "iat": null })))
        .await
        .pair();
}
