//! Correctly signed tokens with claims that only the service reads. `http/forged.rs` has those that
//! latchkey-verifier checks.

use latchkey_verifier::Kind;
use serde_json::{Value, json};

use super::{EXPIRED, INVALID, refused, shut_out, still_good, with_text};
use latchkey_testkit::{Backend, Forge, Pair, TestApp};

fn both(pair: &Pair) -> [(Kind, &String); 2] {
    [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)]
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
async fn audience_of_the_other_kind_is_refused() {
    let app = TestApp::start_with(Backend::Embedded, &["--audience=shop"]).await;
    let pair = app.signed_in("ada").await;
    for ((kind, token), other) in both(&pair).into_iter().zip(["https://auth.test", "shop"]) {
        for audience in [json!(other), json!(["mail"]), json!([]), json!(null)] {
            let changes = json!({ "aud": audience });
            let forged = app.forge().altered(token, kind, &changes);
            refused(&app, &changes.to_string(), &forged).await;
        }
    }
    still_good(&app, &pair).await;
}

#[tokio::test]
async fn user_id_of_another_type_is_refused() {
    let app = TestApp::start(Backend::Embedded).await;
    let pair = app.signed_in("ada").await;
    for value in [
        "5",
        "-1",
        "1.5",
        "true",
        "null",
        "[]",
        "[\"ada\"]",
        "{}",
        "{\"sub\":\"ada\"}",
    ] {
        let forged = with_text(&app, &pair.access, Kind::Access, "user_id", value);
        shut_out(&app, INVALID, value, &forged).await;
    }
    still_good(&app, &pair).await;
}
