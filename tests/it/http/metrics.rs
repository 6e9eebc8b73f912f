//! `/metrics`: format, values, and labels that clients cannot influence.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;

use latchkey_testkit::{
    Answer, Backend, PASSWORD, Place, TestApp, on_both_backends,
    servers::{
        eventually,
        own::{OwnPostgres, free_port},
    },
};

/// Type of a metric family, and its samples by name and labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: BTreeMap<String, f64>,
}

/// Parses `OpenMetrics`. Fails unless each sample is unique, follows the TYPE and HELP of its
/// family and has the suffix of its type, and the text ends with `# EOF`.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut last = String::new();
    let body = text
        .strip_suffix("# EOF\n")
        .expect("the text ends with # EOF");
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                assert!(help.ends_with('.') && help.len() > 5, "{line}");
                assert!(
                    families
                        .insert(name.to_owned(), Family::default())
                        .is_none(),
                    "{line}"
                );
                name.clone_into(&mut last);
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(name, last, "{line}");
                kind.clone_into(&mut families.get_mut(name).unwrap().kind);
            }
            ["#", "UNIT", name, unit] => assert!(name == last && name.ends_with(unit), "{line}"),
            _ => {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
                assert!(labels.ends_with('}'), "{line}");
                let family = families.get_mut(&last).unwrap();
                let ending = name
                    .strip_prefix(&last)
                    .unwrap_or_else(|| panic!("{line} below {last}"));
                let endings: &[&str] = match family.kind.as_str() {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    other => panic!("{last} is of type {other:?}"),
                };
                assert!(endings.contains(&ending), "{line}");
                assert!(
                    family
                        .samples
                        .insert(sample.to_owned(), value.parse().unwrap())
                        .is_none(),
                    "duplicate sample: {line}"
                );
            }
        }
    }
    families
}

fn sample(text: &str, name: &str) -> f64 {
    let families = parse(text);
    families
        .values()
        .find_map(|family| family.samples.get(name))
        .copied()
        .unwrap_or_default()
}

async fn read(app: &TestApp) -> String {
    app.get("/metrics").await.text
}

async fn from_port(port: u16) -> Answer {
    Answer::read(
        reqwest::get(format!("http://127.0.0.1:{port}/metrics"))
            .await
            .unwrap(),
    )
    .await
}

/// True for the service's own names, and for the common name of the process.
fn is_ours(name: &str) -> bool {
    name.starts_with("latchkey_") || name.starts_with("process_start_time_seconds")
}

/// Name and labels of each row of the table in the document.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter(|row| is_ours(row))
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let labels = cells[2]
                .split('`')
                .skip(1)
                .step_by(2)
                .map(ToOwned::to_owned)
                .collect();
            (cells[0].trim_end_matches('`').to_owned(), labels)
        })
        .collect()
}

/// Sends requests that give each family a sample.
async fn all_requests(app: &TestApp) {
    let first = app.signed_in("ada").await;
    let next = app.refresh(&first.refresh).await.pair();
    app.refresh(&first.refresh).await.pair();
    app.obtain("ada", "wrong").await;
    app.obtain("unknown", "wrong").await;
    app.verify("junk").await;
    app.blacklist(&next.refresh).await.expect(200, "{}");
    app.verify(&next.access).await;
    let again = app.obtain("ada", PASSWORD).await.pair();
    app.log_out_everywhere(&again.access)
        .await
        .expect(200, r#"{"detail":"Successfully logged out."}"#);
}

on_both_backends! {
    async fn text_is_valid_and_each_metric_is_documented(backend: Backend) {
        let app = TestApp::start(backend).await;
        all_requests(&app).await;
        let answer = app.get("/metrics").await;
        assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert_eq!((answer.header("cache-control"), answer.header("allow")), ("no-store", "GET, HEAD, OPTIONS"));
        let label = regex::Regex::new(r#"([a-z_]+)=""#).unwrap();
        let mut shown = BTreeMap::new();
        for (name, family) in parse(&answer.text) {
            assert!(is_ours(&name), "{name}");
            let samples = family.samples.keys().cloned().collect::<String>();
            let labels: BTreeSet<String> = label.captures_iter(&samples).map(|found| found[1].to_owned()).filter(|label| label != "le").collect();
            let ending = if family.kind == "counter" { "_total" } else { "" };
            shown.insert(format!("{name}{ending}"), labels);
        }
        let mut documented = documented();
        if backend == Backend::Embedded {
            documented.retain(|name, _| !name.contains("redis") && !name.contains("blacklist"));
        }
        assert_eq!(shown, documented, "docs/metrics.md is not up to date");
        app.send(app.request(Method::HEAD, "/metrics")).await.expect(200, "");
        app.post("/metrics", "{}").await.expect(405, r#"{"detail":"Method \"POST\" not allowed."}"#);
    }

    async fn metrics_count_their_events(backend: Backend) {
        let app = TestApp::start(backend).await;
        all_requests(&app).await;
        let mut text = read(&app).await;
        for (name, expected) in [
            ("latchkey_sign_ins_total", 2.0),
            ("latchkey_rotations_total", 1.0),
            ("latchkey_reuse_grace_repeats_total", 1.0),
            ("latchkey_reuse_grace_repeats_other_client_total", 0.0),
            ("latchkey_sign_outs_everywhere_total", 1.0),
            ("latchkey_audit_events_dropped_total", 0.0),
            (r#"latchkey_revocations_total{reason="logged_out"}"#, 1.0),
            (r#"latchkey_http_requests_total{route="/api/token",status="200"}"#, 2.0),
            (r#"latchkey_http_requests_total{route="/api/token",status="401"}"#, 2.0),
            (r#"latchkey_http_requests_total{route="/api/token/refresh",status="200"}"#, 2.0),
            (r#"latchkey_http_requests_total{route="/api/auth/logout/all",status="200"}"#, 1.0),
            (r#"latchkey_http_refusals_total{route="/api/token",cause="bad_credentials"}"#, 2.0),
            (r#"latchkey_http_refusals_total{route="/api/token/verify",cause="malformed"}"#, 1.0),
            (r#"latchkey_http_request_duration_seconds_count{route="/api/token",outcome="ok"}"#, 2.0),
            (r#"latchkey_http_request_duration_seconds_count{route="/api/token",outcome="refused"}"#, 2.0),
            (r#"latchkey_http_request_duration_seconds_bucket{le="+Inf",route="/api/token",outcome="ok"}"#, 2.0),
            ("latchkey_database_connections_limit", 16.0),
            ("latchkey_password_hashes_running", 0.0),
        ] {
            let found = sample(&text, name);
            assert!((found - expected).abs() < 0.5, "{name}: {found}\n{text}");
        }
        // A background task writes two refused sign-ins, a refused token and a repeated refresh.
        eventually("the events are written", async || {
            text = read(&app).await;
            sample(&text, "latchkey_audit_events_written_total") > 3.5
        })
        .await;
    }

    /// Otherwise a client could exhaust the memory of the metrics server.
    async fn clients_cannot_create_labels(backend: Backend) {
        let app = TestApp::start(backend).await;
        let access = app.signed_in("ada").await.access;
        let samples = |text: &str| -> BTreeSet<String> {
            parse(text).into_values().flat_map(|family| family.samples.into_keys()).collect()
        };
        for number in 0..3 {
            for path in [
                format!("/x{number}"), format!("/api/token/x{number}/"), format!("/api/auth/sessions/x{number}/"),
                format!("/api/auth/sessions/x/{number}"), format!("/metrics/{number}"), format!("/health/live?x={number}"),
                format!("/api/token/verify/?token=x{number}"), format!("/%7B{number}%7D%0A"),
            ] {
                let method = format!("BREW{number}").parse::<Method>().unwrap();
                for method in [Method::GET, Method::POST, Method::DELETE, method] {
                    let request = app.request(method, &path).header("x-request-id", format!("id{number}"));
                    let request = request.header("user-agent", format!("agent{number}")).header("authorization", format!("Bearer {access}"));
                    app.send(request).await;
                }
            }
            app.obtain(&format!("name{number}"), "x").await;
            app.verify(&format!("{{\"alg\":\"x{number}\"}}")).await;
        }
        // Scraping is also a request.
        read(&app).await;
        let seen = samples(&read(&app).await);
        for number in 3..6 {
            app.get(&format!("/x{number}")).await;
            app.obtain(&format!("name{number}"), "x").await;
        }
        assert_eq!(samples(&read(&app).await), seen, "an additional sample");
        assert!(seen.contains(r#"latchkey_http_requests_total{route="other",status="404"}"#), "{seen:#?}");
        assert!(seen.contains(r#"latchkey_http_refusals_total{route="/api/auth/sessions/{id}",cause="no_session"}"#), "{seen:#?}");
        for made_up in ["x0", "x1", "BREW", "agent", "name0", "id0"] {
            assert!(seen.iter().all(|sample| !sample.contains(made_up)), "{made_up}");
        }
    }

    async fn separate_metrics_address_is_the_only_one(backend: Backend) {
        let port = free_port();
        let mut app = TestApp::start_with(backend, &[&format!("--metrics-bind=127.0.0.1:{port}")]).await;
        app.get("/metrics").await.expect(404, r#"{"detail":"Not found."}"#);
        app.get("/metrics/").await.expect(404, r#"{"detail":"Not found."}"#);
        app.obtain("unknown", "x").await;
        let answer = from_port(port).await;
        assert!(sample(&answer.text, r#"latchkey_http_requests_total{route="/api/token",status="401"}"#) > 0.5);
        let other = reqwest::get(format!("http://127.0.0.1:{port}/api/token/")).await.unwrap();
        assert_eq!((other.status().as_u16(), other.text().await.unwrap().as_str()), (404, r#"{"detail":"Not found."}"#));
        app.stop();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the metrics listener outlived the server");
    }
}

/// The metrics would reveal to an attacker which guesses fail, and the cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_without_the_setting_are_on_no_address() {
    let server = Place::new().serve("");
    for path in ["/metrics", "/metrics/", "//metrics", "/%6Detrics"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    let configured = Place::new().serve("--metrics-bind main");
    assert_eq!(configured.get("/metrics").await.status, 200);
}

/// Operators need the metrics during an outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_available_without_the_database() {
    let mut postgres = OwnPostgres::start_with(&[]).await;
    let app = TestApp::start_with(
        Backend::Embedded,
        &[&format!("--database-url={}", postgres.url())],
    )
    .await;
    let pair = app.signed_in("ada").await;
    postgres.stop();
    assert_eq!(app.refresh(&pair.refresh).await.status, 503);
    let text = read(&app).await;
    assert!(
        sample(
            &text,
            r#"latchkey_http_refusals_total{route="/api/token/refresh",cause="unavailable"}"#
        ) > 0.5,
        "{text}"
    );
    assert!(
        sample(
            &text,
            r#"latchkey_http_request_duration_seconds_count{route="/api/token/refresh",outcome="failed"}"#
        ) > 0.5
    );
}
