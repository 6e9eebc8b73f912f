//! OpenAPI document and documentation page.

use std::{collections::BTreeSet, fs, io::Read as _};

use flate2::read::GzDecoder;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use latchkey_testkit::{Backend, Place, TestApp};

const NOT_FOUND: &str = r#"{"detail":"Not found."}"#;
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn committed() -> String {
    fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/reference/openapi.json"
    ))
    .unwrap()
}

pub fn document() -> Value {
    serde_json::from_str(&committed()).unwrap()
}

async fn embedded() -> TestApp {
    TestApp::start(Backend::Embedded).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_document_equals_the_printed_and_committed_one() {
    let served = embedded().await.get("/openapi.json").await;
    assert_eq!(
        (served.status, served.header("content-type")),
        (200, "application/json")
    );
    let printed = Place::new().run("openapi").done().to_owned();
    assert!(
        served.text == printed,
        "`latchkey openapi` prints another document"
    );
    assert!(
        served.text == committed(),
        "latchkey openapi > docs/reference/openapi.json"
    );
    let document = document();
    assert_eq!(
        (document["openapi"].as_str(), &document["servers"][0]["url"]),
        (Some("3.1.0"), &json!("."))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_allow_the_documented_methods() {
    let app = embedded().await;
    for (path, item) in document()["paths"].as_object().unwrap() {
        let answer = app.send(app.request(Method::OPTIONS, path)).await;
        assert_eq!(answer.status, 204, "{path} is no resource");
        let mut documented: BTreeSet<String> = item
            .as_object()
            .unwrap()
            .keys()
            .map(|name| name.to_uppercase())
            .collect();
        documented.insert("OPTIONS".to_owned());
        // As in dj-rest-auth, log-out lists GET although it returns 405.
        if documented.contains("GET") || path == "/api/auth/logout/" {
            documented.extend(["GET", "HEAD"].map(ToOwned::to_owned));
        }
        let allowed: BTreeSet<String> = answer
            .header("allow")
            .split(", ")
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(documented, allowed, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_loads_only_files_of_this_server() {
    let app = embedded().await;
    let bare = app.get("/docs").await;
    // The client followed the redirect from /docs.
    assert_eq!(
        (bare.status, bare.header("content-type")),
        (200, "text/html")
    );
    let page = decompressed(&app, "/docs/").await;
    let link = Regex::new(r#"(?:src|href)="([^"]+)""#).unwrap();
    let files: Vec<&str> = link
        .captures_iter(&page)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    assert!(files.len() > 4, "{page}");
    for file in files {
        assert!(!file.contains("//"), "{file} is on another server");
        let answer = app
            .get(&format!("/docs/{}", file.trim_start_matches("./")))
            .await;
        assert_eq!(
            (answer.status, answer.header("content-security-policy")),
            (200, POLICY),
            "{file}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let settings = app.get("/docs/swagger-initializer.js").await;
    assert_eq!(settings.header("content-type"), "text/javascript");
    for setting in [r#""url": "../openapi.json""#, r#""validatorUrl": "none""#] {
        assert!(settings.text.contains(setting), "{}", settings.text);
    }
    // All scripts are in files, because the policy forbids inline scripts.
    assert!(
        !page.contains("<style") && !page.contains("<script>") && !page.contains(" style="),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_handles_methods_like_other_resources() {
    let app = embedded().await;
    for path in ["/docs/nothing.js", "/docs/..%2fopenapi.json", "/docs/a/b"] {
        app.get(path).await.expect(404, NOT_FOUND);
    }
    for path in ["/docs/", "/docs/index.css", "/openapi.json"] {
        let answer = app.post(path, "{}").await;
        answer.expect(405, r#"{"detail":"Method \"POST\" not allowed."}"#);
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn document_and_page_can_be_disabled() {
    let app = TestApp::start_with(Backend::Embedded, &["--docs=false"]).await;
    for path in [
        "/openapi.json",
        "/docs",
        "/docs/",
        "/docs/swagger-initializer.js",
    ] {
        app.get(path).await.expect(404, NOT_FOUND);
    }
}

/// Clients such as curl write the response to a file, so the default is no encoding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_is_sent_only_to_clients_that_accept_it() {
    let app = embedded().await;
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "index.html", ""] {
        let path = format!("/docs/{file}");
        let packed = decompressed(&app, &path).await;
        for accepted in [
            None,
            Some("identity"),
            Some("br"),
            Some("gzip;q=0"),
            Some("identity, gzip;q=0.1"),
            Some(""),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let request = app.request(method.clone(), &path);
                let request = accepted.into_iter().fold(request, |request, value| {
                    request.header("accept-encoding", value)
                });
                let answer = app.send(request).await;
                assert_eq!(
                    (answer.status, answer.header("content-encoding")),
                    (200, ""),
                    "{path} {accepted:?}"
                );
                assert_eq!(answer.header("vary"), "Accept-Encoding");
                let text = if method == Method::HEAD {
                    ""
                } else {
                    packed.as_str()
                };
                assert!(answer.text == text, "{path} {accepted:?}");
            }
        }
    }
}

/// Form values are text, even for fields that may be `null` in JSON.
#[test]
fn forms_have_no_null() {
    let document: Value = serde_json::from_str(Place::new().run("openapi").done()).unwrap();
    let content = &document["paths"]["/api/auth/logout/"]["post"]["requestBody"]["content"];
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data"] {
        let rest = &content[kind]["schema"]["allOf"][1];
        assert_eq!(
            rest["additionalProperties"]["type"], "string",
            "{kind}: {rest}"
        );
    }
}

/// Returns a file after decompression. Browsers receive the stored gzip data.
async fn decompressed(app: &TestApp, path: &str) -> String {
    let request = app
        .request(Method::GET, path)
        .header("accept-encoding", "gzip, deflate, br, zstd");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&answer.bytes().await.unwrap()[..])
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protected_operations_without_credentials_are_unauthorized() {
    let app = embedded().await;
    let mut count = 0;
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] != json!([{ "bearerAuth": [] }]) {
                continue;
            }
            count += 1;
            let method = method.to_uppercase().parse().unwrap();
            let answer = app.send(app.request(method, path)).await;
            answer.expect(
                401,
                r#"{"detail":"Authentication credentials were not provided."}"#,
            );
        }
    }
    assert!(count >= 4, "{count}");
}
