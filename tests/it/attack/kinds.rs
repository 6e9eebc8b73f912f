//! Tokens of one kind in place of the other.

use latchkey_verifier::Kind;
use serde_json::{Value, json};

use super::{INVALID, WRONG_TYPE, refused, shut_out, still_good, with};
use latchkey_testkit::{Answer, Backend, Forge, Pair, TestApp};

#[track_caller]
fn assert_detail(answer: &Answer, detail: &str, what: &str) {
    let body = format!(r#"{{"detail":"{detail}","code":"token_not_valid"}}"#);
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (401, body.as_str()),
        "{what}"
    );
}

fn other(kind: Kind) -> Kind {
    if kind == Kind::Access {
        Kind::Refresh
    } else {
        Kind::Access
    }
}

fn both(pair: &Pair) -> [(Kind, &String); 2] {
    [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)]
}

#[tokio::test]
async fn each_kind_of_token_is_refused_in_the_others_place() {
    for algorithm in ["ES256", "HS256"] {
        let app =
            TestApp::start_with(Backend::Embedded, &[&format!("--algorithm={algorithm}")]).await;
        let pair = app.signed_in("ada").await;
        assert_detail(&app.refresh(&pair.access).await, WRONG_TYPE, "refresh");
        assert_detail(&app.blacklist(&pair.access).await, WRONG_TYPE, "blacklist");
        shut_out(&app, WRONG_TYPE, "refresh token", &pair.refresh).await;
        still_good(&app, &pair).await;
    }
}

#[tokio::test]
async fn header_typ_must_match_the_key_exactly() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    for (kind, token) in both(&pair) {
        let good = forge.header(kind);
        let payload = Forge::claims_of(token).to_string();
        for typ in [
            forge.header(other(kind))["typ"].clone(),
            json!("JWT"),
            json!("jwt"),
            json!("application/at+jwt"),
            json!("AT+JWT"),
            json!("RT+JWT"),
            json!("at+jwt "),
            json!("logout+jwt"),
            json!("secevent+jwt"),
            json!("dpop+jwt"),
            json!(""),
            json!(null),
            json!(1),
            json!(["at+jwt", "rt+jwt"]),
            json!({}),
        ] {
            let forged = forge.signed(
                kind,
                &with(good.clone(), "typ", typ.clone()).to_string(),
                &payload,
            );
            refused(&app, &format!("typ {typ}"), &forged).await;
        }
        let bare = json!({ "alg": good["alg"], "kid": good["kid"] }).to_string();
        refused(&app, "no typ", &forge.signed(kind, &bare, &payload)).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn claim_token_type_must_match_the_kind_exactly() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for (kind, token) in both(&pair) {
        for (token_type, detail) in [
            (json!(other(kind).token_type()), WRONG_TYPE),
            (json!(kind.token_type().to_uppercase()), WRONG_TYPE),
            (json!(format!("{} ", kind.token_type())), WRONG_TYPE),
            (json!([kind.token_type()]), WRONG_TYPE),
            (json!("sliding"), WRONG_TYPE),
            (json!("reset"), WRONG_TYPE),
            (json!("csrf"), WRONG_TYPE),
            (json!("id"), WRONG_TYPE),
            (json!(""), WRONG_TYPE),
            (json!(5), WRONG_TYPE),
            (json!(true), WRONG_TYPE),
            (Value::Null, "Token has no type"),
        ] {
            let forged = app
                .forge()
                .altered(token, kind, &json!({ "token_type": token_type }));
            assert_detail(&app.refresh(&forged).await, detail, &token_type.to_string());
            assert_detail(
                &app.blacklist(&forged).await,
                detail,
                &token_type.to_string(),
            );
            shut_out(&app, detail, &token_type.to_string(), &forged).await;
        }
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn key_is_valid_for_one_kind_of_token() {
    for algorithm in ["ES256", "HS256"] {
        let app =
            TestApp::start_with(Backend::Embedded, &[&format!("--algorithm={algorithm}")]).await;
        let pair = app.signed_in("ada").await;
        let forge = app.forge();
        for (kind, token) in both(&pair) {
            // Claims and header type of the other kind, signed with this key.
            let wrong = other(kind);
            let header = with(
                forge.header(wrong),
                "typ",
                forge.header(kind)["typ"].clone(),
            );
            let payload = Forge::claims_of(token).to_string();
            let own_header = with(
                with(header.clone(), "kid", forge.key(wrong).kid()),
                "alg",
                forge.key(wrong).algorithm().name(),
            );
            refused(
                &app,
                "the other key, this type",
                &forge.signed(wrong, &own_header.to_string(), &payload),
            )
            .await;
            // With the header of the key's kind, the token counts as that kind only.
            let forged = forge.signed(wrong, &forge.header(wrong).to_string(), &payload);
            match kind {
                // Access claims under the refresh secret lack the audience that refresh tokens
                // have.
                Kind::Access => {
                    refused(&app, "access claims under the refresh secret", &forged).await;
                }
                Kind::Refresh => {
                    assert_detail(
                        &app.refresh(&forged).await,
                        WRONG_TYPE,
                        "refresh claims under the access key",
                    );
                    assert_detail(
                        &app.blacklist(&forged).await,
                        WRONG_TYPE,
                        "refresh claims under the access key",
                    );
                    shut_out(
                        &app,
                        WRONG_TYPE,
                        "refresh claims under the access key",
                        &forged,
                    )
                    .await;
                }
            }
            // With the audience added, the refresh secret still opens no view.
            let changes = json!({ "aud": "https://auth.test", "gen": 0, "token_type": "access" });
            let forged = forge.altered(&pair.access, Kind::Refresh, &changes);
            shut_out(
                &app,
                WRONG_TYPE,
                "access type under the refresh secret",
                &forged,
            )
            .await;
            assert_detail(
                &app.refresh(&forged).await,
                WRONG_TYPE,
                "access type under the refresh secret",
            );
        }
        still_good(&app, &pair).await;
    }
}

#[tokio::test]
async fn signed_token_of_an_unknown_session_is_refused() {
    for backend in [Backend::Embedded, Backend::PostgresAndRedis] {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let forge = app.forge();
        let refresh = forge.token(Kind::Refresh, &forge.claims(Kind::Refresh));
        assert_detail(&app.verify(&refresh).await, INVALID, "verify");
        assert_detail(&app.refresh(&refresh).await, INVALID, "refresh");
        assert_detail(&app.blacklist(&refresh).await, INVALID, "blacklist");
        shut_out(
            &app,
            INVALID,
            "view",
            &forge.token(Kind::Access, &forge.claims(Kind::Access)),
        )
        .await;
    }
}
