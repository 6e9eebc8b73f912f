//! Correctly signed tokens with malformed claims. A claim of the wrong type never counts as absent,
//! and no claim causes a 500.

use latchkey_verifier::Kind;
use serde_json::{Value, json};

use super::{EXPIRED, INVALID, refused, refused_as, shut_out, still_good, with_text};
use latchkey_testkit::{Backend, Forge, Pair, TestApp};

fn both(pair: &Pair) -> [(Kind, &String); 2] {
    [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)]
}

#[tokio::test]
async fn exp_without_a_valid_date_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let now = app.now();
    let cases = [
        (
            INVALID,
            vec![
                format!("\"{}\"", now + 300),
                "\"\"".to_owned(),
                "\"never\"".to_owned(),
                "null".to_owned(),
                "[]".to_owned(),
                format!("[{}]", now + 300),
                "{}".to_owned(),
                "1e18".to_owned(),
                "1e308".to_owned(),
                "1e400".to_owned(),
                "NaN".to_owned(),
                "Infinity".to_owned(),
                u64::MAX.to_string(),
                i64::MAX.to_string(),
                "9".repeat(40),
                "9".repeat(400),
                format!("{}000", now),
            ],
        ),
        (
            EXPIRED,
            vec![
                now.to_string(),
                (now - 1).to_string(),
                format!("{now}.0"),
                format!("{now}.999"),
                "0".to_owned(),
                "-0".to_owned(),
                "-1".to_owned(),
                i64::MIN.to_string(),
                "-1e300".to_owned(),
                "0.5".to_owned(),
                "true".to_owned(),
                "false".to_owned(),
                "1e-400".to_owned(),
            ],
        ),
        ("Token has no 'exp' claim", vec![]),
    ];
    for (kind, token) in both(&pair) {
        for (detail, values) in &cases {
            for value in values {
                let forged = with_text(&app, token, kind, "exp", value);
                refused_as(&app, detail, &format!("exp {value:.50}"), &forged).await;
            }
        }
        let endless = app.forge().altered(token, kind, &json!({ "exp": null }));
        refused_as(&app, "Token has no 'exp' claim", "no exp", &endless).await;
        let float = with_text(&app, token, kind, "exp", &format!("{}.5", now + 1));
        app.verify(&float).await.expect(200, "{}");
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn token_expires_in_the_second_of_exp() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    app.advance(299);
    app.verify(&pair.access).await.expect(200, "{}");
    app.advance(1);
    let body = format!(r#"{{"detail":"{EXPIRED}","code":"token_not_valid"}}"#);
    app.verify(&pair.access).await.expect(401, &body);
    shut_out(&app, EXPIRED, "exp = now", &pair.access).await;
    app.advance(86_400 - 301);
    app.verify(&pair.refresh).await.expect(200, "{}");
    app.advance(1);
    app.verify(&pair.refresh).await.expect(401, &body);
    app.refresh(&pair.refresh).await.expect(401, &body);
}

#[tokio::test]
async fn future_or_malformed_nbf_and_iat_are_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let now = app.now();
    for (kind, token) in both(&pair) {
        for name in ["nbf", "iat"] {
            for value in [
                (now + 3).to_string(),
                format!("{}.5", now + 3),
                (now + 86_400).to_string(),
                u64::MAX.to_string(),
                "1e300".to_owned(),
                "1e400".to_owned(),
                format!("\"{now}\""),
                "\"\"".to_owned(),
                "null".to_owned(),
                "true".to_owned(),
                "false".to_owned(),
                "[]".to_owned(),
                format!("[{now}]"),
                "{}".to_owned(),
            ] {
                let forged = with_text(&app, token, kind, name, &value);
                refused(&app, &format!("{name} {value:.50}"), &forged).await;
            }
            for value in [
                now.to_string(),
                "0".to_owned(),
                "-1".to_owned(),
                format!("{now}.0"),
            ] {
                app.verify(&with_text(&app, token, kind, name, &value))
                    .await
                    .expect(200, "{}");
            }
        }
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn leeway_applies_to_exp_nbf_and_iat() {
    let app = TestApp::start_with(Backend::Embedded, &["--leeway=30s"]).await;
    let pair = app.signed_in("ada").await;
    let now = app.now();
    for (kind, token) in both(&pair) {
        let altered = |name: &str, at: i64| app.forge().altered(token, kind, &json!({ name: at }));
        app.verify(&altered("exp", now - 29))
            .await
            .expect(200, "{}");
        refused_as(&app, EXPIRED, "leeway", &altered("exp", now - 30)).await;
        for name in ["nbf", "iat"] {
            app.verify(&altered(name, now + 30)).await.expect(200, "{}");
            refused(&app, name, &altered(name, now + 31)).await;
        }
    }
}

#[tokio::test]
async fn issuer_must_match_exactly() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for (kind, token) in both(&pair) {
        for issuer in [
            json!("https://auth.test/"),
            json!("https://auth.tes"),
            json!("https://auth.test.evil.example"),
            json!("HTTPS://AUTH.TEST"),
            json!("http://auth.test"),
            json!(" https://auth.test"),
            json!("https://auth.test\0"),
            json!(""),
            json!(0),
            json!(true),
            json!(["https://auth.test"]),
            json!(["https://evil.example", "https://auth.test"]),
            json!({ "iss": "https://auth.test" }),
        ] {
            let forged = app.forge().altered(token, kind, &json!({ "iss": issuer }));
            refused(&app, &issuer.to_string(), &forged).await;
        }
        refused(
            &app,
            "no issuer",
            &app.forge().altered(token, kind, &json!({ "iss": null })),
        )
        .await;
        refused(&app, "null", &with_text(&app, token, kind, "iss", "null")).await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn configured_audience_must_match_exactly() {
    let app = TestApp::start_with(Backend::Embedded, &["--audience=shop"]).await;
    let pair = app.signed_in("ada").await;
    assert_eq!(Forge::claims_of(&pair.access)["aud"], "shop");
    for (kind, token) in both(&pair) {
        let ours = Forge::claims_of(token)["aud"].as_str().unwrap().to_owned();
        for audience in [
            json!("https://evil.example"),
            json!(ours.to_uppercase()),
            json!(format!("{ours}s")),
            json!(&ours[..3]),
            json!(""),
            json!([]),
            json!([[ours]]),
            json!([ours, 1]),
            json!({ "aud": ours }),
            json!(5),
            json!(true),
            json!(if kind == Kind::Access {
                "https://auth.test"
            } else {
                "shop"
            }),
        ] {
            let forged = app
                .forge()
                .altered(token, kind, &json!({ "aud": audience }));
            refused(&app, &audience.to_string(), &forged).await;
        }
        refused(
            &app,
            "no audience",
            &app.forge().altered(token, kind, &json!({ "aud": null })),
        )
        .await;
        let several = app
            .forge()
            .altered(token, kind, &json!({ "aud": ["mail", ours] }));
        app.verify(&several).await.expect(200, "{}");
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn sub_or_jti_of_another_type_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let odd = [
        "5",
        "-1",
        "1.5",
        "true",
        "null",
        "[]",
        "[\"ada\"]",
        "{}",
        "{\"sub\":\"ada\"}",
    ];
    for (kind, token) in both(&pair) {
        for name in ["sub", "jti"] {
            for value in odd {
                refused(
                    &app,
                    &format!("{name} {value}"),
                    &with_text(&app, token, kind, name, value),
                )
                .await;
            }
        }
        refused_as(
            &app,
            "Token has no id",
            "no jti",
            &app.forge().altered(token, kind, &json!({ "jti": null })),
        )
        .await;
    }
    for value in odd {
        shut_out(
            &app,
            INVALID,
            value,
            &with_text(&app, &pair.access, Kind::Access, "user_id", value),
        )
        .await;
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn malformed_sid_gen_or_ver_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let eve = app.signed_in("eve").await;
    let sid = Forge::claims_of(&pair.access)["sid"]
        .as_str()
        .unwrap()
        .to_owned();
    let eves = Forge::claims_of(&eve.access);
    let counters = [
        json!("0"),
        json!(-1),
        json!(0.5),
        json!(1e10),
        json!(u64::MAX),
        json!(true),
        json!([0]),
        json!({}),
        json!(null),
    ];
    let mut changes: Vec<Value> = [
        json!(sid.to_uppercase()),
        json!(sid.replace('-', "")),
        json!(format!("{{{sid}}}")),
        json!(format!("urn:uuid:{sid}")),
        json!(format!("{sid} ")),
        json!(""),
        json!("*"),
        json!("' OR 1=1 --"),
        json!("x\0"),
        json!(5),
        json!(null),
        json!([sid]),
        json!("00000000-0000-0000-0000-000000000000"),
        eves["sid"].clone(),
    ]
    .into_iter()
    .map(|value| json!({ "sid": value }))
    .collect();
    changes.extend(counters.iter().map(|value| json!({ "ver": value })));
    changes.push(json!({ "ver": 1 }));
    changes.push(json!({ "sub": eves["sub"] }));
    changes.push(json!({ "sub": "' OR 1=1 --" }));
    changes.push(json!({ "sub": "x\0y" }));
    changes.push(json!({ "sub": null }));
    changes.push(json!({ "sub": "x".repeat(4000) }));
    let invalid = format!(r#"{{"detail":"{INVALID}","code":"token_not_valid"}}"#);
    for (kind, token) in both(&pair) {
        for change in &changes {
            let forged = app.forge().altered(token, kind, change);
            let answer = app.verify(&forged).await;
            assert_eq!(
                (answer.status, &answer.text),
                (401, &invalid),
                "{kind:?} {change}"
            );
            match kind {
                Kind::Access => shut_out(&app, INVALID, &change.to_string(), &forged).await,
                Kind::Refresh => {
                    for answer in [app.refresh(&forged).await, app.blacklist(&forged).await] {
                        assert_eq!((answer.status, &answer.text), (401, &invalid), "{change}");
                    }
                }
            }
        }
    }
    for value in counters.into_iter().chain([json!(1), json!(u32::MAX)]) {
        let forged = app
            .forge()
            .altered(&pair.refresh, Kind::Refresh, &json!({ "gen": value }));
        for answer in [
            app.verify(&forged).await,
            app.refresh(&forged).await,
            app.blacklist(&forged).await,
        ] {
            assert_eq!(
                (answer.status, &answer.text),
                (401, &invalid),
                "gen {value}"
            );
        }
    }
    still_good(&app, &pair).await;
    still_good(&app, &eve).await;
}

#[tokio::test]
async fn duplicate_claims_are_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    let forge = app.forge();
    for (kind, token) in both(&pair) {
        let claims = Forge::claims_of(token);
        let text = claims.to_string();
        let mut payloads: Vec<String> = Vec::new();
        for (name, value) in claims.as_object().unwrap() {
            payloads.push(text.replacen('{', &format!("{{\"{name}\":{value},"), 1));
            payloads.push(text.replacen('{', &format!("{{\"{name}\":null,"), 1));
            let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
            payloads.push(text.replacen('{', &format!("{{\"{escaped}\":{value},"), 1));
        }
        payloads.push(text.replacen('{', r#"{"x":{"a":1,"a":1},"#, 1));
        payloads.push(text.replacen('{', r#"{"x":[[{"a":1,"a":1}]],"#, 1));
        for payload in payloads {
            refused(
                &app,
                &payload,
                &forge.signed(kind, &forge.header(kind).to_string(), &payload),
            )
            .await;
        }
    }
    still_good(&app, &pair).await;
}
