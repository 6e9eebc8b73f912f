//! Correctly signed claims with numbers beyond a column or a date. Each is refused with a message,
//! never a 500.

use latchkey_verifier::Kind;

use super::{EXPIRED, INVALID, refused_as, shut_out, still_good, with_text};
use crate::http::tools::execute;
use latchkey_testkit::{Backend, Forge, Pair, TestApp, on_both_backends};

/// Values beyond `i32`, `u32`, the integer precision of `f64`, and `i64`.
const OUT_OF_RANGE: [&str; 8] = [
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e400",
];

fn both(pair: &Pair) -> [(Kind, &String); 2] {
    [(Kind::Access, &pair.access), (Kind::Refresh, &pair.refresh)]
}

/// Fails unless each view for this kind of token refuses it with a message.
async fn assert_refused(app: &TestApp, kind: Kind, what: &str, token: &str) {
    let body = format!(r#"{{"detail":"{INVALID}","code":"token_not_valid"}}"#);
    let answers = match kind {
        Kind::Access => {
            shut_out(app, INVALID, what, token).await;
            vec![app.verify(token).await]
        }
        Kind::Refresh => vec![
            app.verify(token).await,
            app.refresh(token).await,
            app.blacklist(token).await,
        ],
    };
    for answer in answers {
        assert_eq!(
            (answer.status, &answer.text),
            (401, &body),
            "{kind:?} {what}"
        );
    }
    if kind == Kind::Refresh {
        let logout = app
            .post("/api/auth/logout/", &format!(r#"{{"refresh":"{token}"}}"#))
            .await;
        assert_eq!(logout.status, 401, "log-out {what}: {}", logout.text);
    }
}

on_both_backends! {
    async fn counter_beyond_its_column_is_refused_by_every_view(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        for value in OUT_OF_RANGE {
            for (kind, token) in both(&pair) {
                let forged = with_text(&app, token, kind, "ver", value);
                assert_refused(&app, kind, &format!("ver {value}"), &forged).await;
            }
            let forged = with_text(&app, &pair.refresh, Kind::Refresh, "gen", value);
            assert_refused(&app, Kind::Refresh, &format!("gen {value}"), &forged).await;
        }
        still_good(&app, &pair).await;
    }

    /// The row is at the maximum of its column. The next generation would overflow in one database
    /// and be unreadable in the other.
    async fn session_at_the_maximum_generation_is_not_rotated(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        let last = i32::MAX;
        execute(&app, &format!("UPDATE sessions SET generation = {}", last - 1)).await;
        let token = with_text(&app, &pair.refresh, Kind::Refresh, "gen", &(last - 1).to_string());
        let next = app.refresh(&token).await.pair();
        assert_eq!(Forge::claims_of(&next.refresh)["gen"], last);
        for value in [i64::from(last), i64::from(last) + 1, i64::from(u32::MAX)] {
            let token = with_text(&app, &pair.refresh, Kind::Refresh, "gen", &value.to_string());
            assert_refused(&app, Kind::Refresh, &format!("gen {value}"), &token).await;
        }
        app.verify(&next.access).await.expect(200, "{}");
    }

    /// Dates range from year 1 to year 9999. Earlier values of `exp` have expired.
    async fn date_out_of_range_is_refused_by_every_view(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        for (kind, token) in both(&pair) {
            for value in ["253402300800", "9007199254740992", "9223372036854775807", "9223372036854775808", "1e308"] {
                for name in ["exp", "iat", "nbf"] {
                    let forged = with_text(&app, token, kind, name, value);
                    refused_as(&app, INVALID, &format!("{name} {value}"), &forged).await;
                }
            }
            for value in ["-1", "-2147483649", "-62135596801", "-9007199254740993", "-9223372036854775809", "-1e308"] {
                let forged = with_text(&app, token, kind, "exp", value);
                refused_as(&app, EXPIRED, &format!("exp {value}"), &forged).await;
                for name in ["iat", "nbf"] {
                    app.verify(&with_text(&app, token, kind, name, value)).await.expect(200, "{}");
                }
            }
            app.verify(&with_text(&app, token, kind, "exp", "253402300799")).await.expect(200, "{}");
        }
        still_good(&app, &pair).await;
    }
}
