//! The OpenAPI document, and the page that shows it.

use std::{collections::BTreeSet, fs, io::Read as _, path::Path};

use flate2::read::GzDecoder;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Backend, Place, TestApp};

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
async fn what_is_served_is_what_is_printed_and_what_is_committed() {
    let served = embedded().await.get("/openapi.json").await;
    assert_eq!(
        (served.status, served.header("content-type")),
        (200, "application/json")
    );
    let printed = Place::new().run("openapi").done().to_owned();
    assert!(
        served.text == printed,
        "`latchkey openapi` prints something else"
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

/// The sources name each route in one call; actix itself cannot be asked for them.
#[test]
fn every_route_is_in_the_document_and_the_other_way_round() {
    let call = Regex::new(r#"\btable\.(?:add|get|post)\("(/[^"]+)""#).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/routes");
    let sources = fs::read_dir(folder)
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let mut routes: BTreeSet<String> = sources
        .flat_map(|text| {
            call.captures_iter(&text)
                .map(|found| found[1].to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    // A page for people, and its files.
    assert!(routes.remove("/docs") && routes.remove("/docs/{file}"));
    let document = document();
    let paths = document["paths"].as_object().unwrap().keys();
    let documented: BTreeSet<String> = paths
        .map(|path| path.trim_end_matches('/').to_owned())
        .collect();
    assert_eq!(documented, routes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_resource_allows_the_methods_that_are_documented() {
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
        // dj-rest-auth names GET there, although it is a 405.
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
async fn the_page_may_load_what_this_server_has_and_nothing_else() {
    let app = embedded().await;
    let bare = app.get("/docs").await;
    // The client has followed the way from /docs.
    assert_eq!(
        (bare.status, bare.header("content-type")),
        (200, "text/html")
    );
    let page = unpacked(&app, "/docs/").await;
    let link = Regex::new(r#"(?:src|href)="([^"]+)""#).unwrap();
    let files: Vec<&str> = link
        .captures_iter(&page)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    assert!(files.len() > 4, "{page}");
    for file in files {
        assert!(!file.contains("//"), "{file} is somebody else's");
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
    // What runs in the page stands in files: the policy lets nothing else run.
    assert!(
        !page.contains("<style") && !page.contains("<script>") && !page.contains(" style="),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_a_resource_like_any_other() {
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
async fn both_can_be_switched_off() {
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

/// A client that names no encoding gets none: curl writes what it gets to a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_client_that_accepts_gzip_gets_it() {
    let app = embedded().await;
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "index.html", ""] {
        let path = format!("/docs/{file}");
        let packed = unpacked(&app, &path).await;
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

/// The values of forms are text, whatever JSON may have in their place.
#[test]
fn a_form_has_no_null() {
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

/// Files are sent as they lie in the program, packed, to a browser.
async fn unpacked(app: &TestApp, path: &str) -> String {
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
