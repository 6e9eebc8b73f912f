//! `/metrics` of a new server: every series exists from the start, including process, version and
//! keys.

use std::collections::BTreeMap;

use latchkey_service::keys::Rotate;
use reqwest::Method;

use latchkey_testkit::{Backend, PASSWORD, Place, TestApp, on_both_backends, servers::eventually};

const DAY: i64 = 24 * 60 * 60;

/// Returns the samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

async fn read(app: &TestApp) -> BTreeMap<String, f64> {
    samples(&app.get("/metrics").await.text)
}

/// Sends requests of all kinds to all routes.
async fn everything(app: &TestApp) {
    let pair = app.signed_in("ada").await;
    let spent = app.refresh(&pair.refresh).await.pair();
    app.refresh(&spent.refresh).await.pair();
    app.advance(60);
    app.refresh(&pair.refresh).await;
    app.verify(&spent.access).await;
    app.verify(&spent.refresh).await;
    let pair = app.obtain("ada", PASSWORD).await.pair();
    app.blacklist(&pair.refresh).await;
    app.me(&format!("Bearer {}", pair.access)).await;
    app.me("Bearer").await;
    let expired = app.obtain("ada", PASSWORD).await.pair();
    app.log_out_everywhere(&expired.access).await;
    app.refresh(&expired.refresh).await;
    app.advance(2 * DAY);
    app.verify(&expired.access).await;
    app.obtain("ada", "wrong").await;
    for path in [
        "/",
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/api/auth/logout/",
        "/api/auth/logout/all/",
        "/api/auth/sessions/",
        "/api/auth/sessions/x/",
        "/api/auth/user/",
        "/api/token/",
        "/api/token/blacklist/",
        "/api/token/refresh/",
        "/api/token/verify/",
        "/docs/",
        "/docs/x",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
    ] {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            let request = || app.request(method.clone(), path);
            app.send(request()).await;
            for (content_type, body) in [
                ("application/json", "{}".to_owned()),
                ("application/json", "null".to_owned()),
                ("application/json", "[]".to_owned()),
                ("application/json", "{".to_owned()),
                (
                    "application/json",
                    r#"{"token":"x","refresh":"x","username":"x","password":"x"}"#.to_owned(),
                ),
                ("multipart/form-data", "x".to_owned()),
                ("image/png", "x".to_owned()),
                ("application/json", " ".repeat(20_000)),
            ] {
                app.send(request().header("content-type", content_type).body(body))
                    .await;
            }
            app.send(request().header("if-none-match", "*")).await;
            app.send(request().header("authorization", format!("Bearer {}", expired.access)))
                .await;
            app.send(app.request(method.clone(), &format!("{path}?{}", "x".repeat(3000))))
                .await;
        }
    }
}

on_both_backends! {
    /// Otherwise an alert on the increase of a series misses its first event.
    async fn new_server_exposes_every_series(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = read(&app).await;
        for name in [
            r#"latchkey_revocations_total{reason="reuse"}"#,
            r#"latchkey_revocations_total{reason="session_limit"}"#,
            r#"latchkey_operator_revocations_total{event="key_revoked"}"#,
            r#"latchkey_http_requests_total{route="/api/token",status="503"}"#,
            r#"latchkey_http_refusals_total{route="/api/token",cause="bad_credentials"}"#,
            r#"latchkey_http_request_duration_seconds_count{route="/api/token/refresh",outcome="failed"}"#,
        ] {
            assert!(first.get(name).is_some_and(|value| value.abs() < 0.5), "{name} is not 0 at the start");
        }
        everything(&app).await;
        let last = read(&app).await;
        let new: Vec<_> = last.keys().filter(|name| !first.contains_key(*name)).collect();
        assert!(new.is_empty(), "series missing at the start: {new:#?}");
        let reuse = last[r#"latchkey_revocations_total{reason="reuse"}"#];
        assert!((reuse - 1.0).abs() < 0.5, "{reuse}");
    }

    async fn process_version_and_age_of_keys_are_exposed(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, began) = (read(&app).await, app.now());
        let build = format!(
            r#"latchkey_build_info{{version="{}",os="linux",arch="{}"}}"#,
            env!("CARGO_PKG_VERSION"), std::env::consts::ARCH
        );
        let is = |samples: &BTreeMap<String, f64>, name: &str, expected: i64| {
            let found = samples.get(name).unwrap_or_else(|| panic!("{name} is missing: {samples:#?}"));
            assert!((found - f64::from(i32::try_from(expected).unwrap())).abs() < 2.0, "{name}: {found}, not {expected}");
        };
        is(&first, &build, 1);
        is(&first, "process_start_time_seconds", began);
        let age = |token| format!("latchkey_signing_key_age_seconds{{token=\"{token}\"}}");
        let next = |token| format!("latchkey_signing_key_next_rotation_time_seconds{{token=\"{token}\"}}");
        for token in ["access", "refresh"] {
            is(&first, &age(token), 0);
            is(&first, &next(token), began + 90 * DAY);
        }
        app.advance(1000);
        let order = Rotate { kind: latchkey_verifier::Kind::Access, algorithm: None, now: false };
        let successor = app.keys().await.rotate(order).await.unwrap().signs_from.timestamp();
        eventually("the next key is exposed", async || {
            let seen = read(&app).await[&next("access")];
            (seen - f64::from(i32::try_from(successor).unwrap())).abs() < 2.0
        })
        .await;
        let later = read(&app).await;
        is(&later, &age("access"), 1000);
        is(&later, &next("refresh"), began + 90 * DAY);
        is(&later, "process_start_time_seconds", began);
        app.advance(successor - app.now() + 7);
        is(&read(&app).await, &age("access"), 7);
    }

    async fn next_rotation_is_absent_without_automatic_rotation(backend: Backend) {
        let app = TestApp::start_with(backend, &["--key-rotation-interval=0"]).await;
        let names = read(&app).await;
        assert!(names.keys().any(|name| name.starts_with("latchkey_signing_key_age_seconds")));
        assert!(!names.keys().any(|name| name.starts_with("latchkey_signing_key_next_rotation_time_seconds")));
    }
}

/// The command runs in another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_at_the_command_line_is_counted_by_the_server() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve("--metrics-bind main");
    eventually("a revocation is counted", async || {
        // Revocations before the server's first read of the trail are not counted.
        place.run("sessions revoke --user ada").done();
        let name = r#"latchkey_operator_revocations_total{event="cut_off"}"#;
        samples(&server.get("/metrics").await.text)[name] > 0.5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accept_header_selects_the_text_format() {
    let app = TestApp::start(Backend::Embedded).await;
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, format) in [
        (
            None,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            Some("*/*"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            Some(prometheus),
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            Some("text/plain"),
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        (
            Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"),
            "text/plain; version=0.0.4; charset=utf-8",
        ),
    ] {
        let request = app.request(Method::GET, "/metrics");
        let answer = app.send(match accept {
            Some(accept) => request.header("accept", accept),
            None => request,
        });
        let answer = answer.await;
        assert_eq!(answer.header("content-type"), format, "{accept:?}");
        let plain = format.starts_with("text/plain");
        assert_eq!(
            answer
                .text
                .contains("# TYPE latchkey_sign_ins_total counter\n"),
            plain,
            "{accept:?}"
        );
        assert_eq!(answer.text.ends_with("# EOF\n"), !plain, "{accept:?}");
        assert!(
            answer.text.contains("\nlatchkey_sign_ins_total 0\n"),
            "{accept:?}"
        );
    }
}
