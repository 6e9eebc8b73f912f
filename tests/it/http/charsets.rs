//! Bodies in other encodings than UTF-8 are decoded as declared, or refused. An undecodable
//! password is never recorded as a wrong password.

use reqwest::Method;
use serde_json::json;

use super::tools::user_with_password;
use latchkey_testkit::{Answer, Backend, TestApp};

const PASSWORD: &str = "café-crème-brûlée";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";

async fn sign_in(app: &TestApp, content_type: &str, body: Vec<u8>) -> Answer {
    let request = app
        .request(Method::POST, "/api/token/")
        .header("content-type", content_type);
    app.send(request.body(body)).await
}

async fn started() -> TestApp {
    let app = TestApp::start(Backend::Embedded).await;
    user_with_password(&app, "ada", PASSWORD).await;
    app
}

fn latin_1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

fn utf_16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

fn percent(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("%{byte:02X}"))
        .collect::<Vec<_>>()
        .concat()
}

fn form(password: &[u8]) -> Vec<u8> {
    [b"username=ada&password=", password].concat()
}

fn multipart(head: &str, password: &[u8]) -> Vec<u8> {
    let part = |name: &str, head: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{head}\r\n\r\n")
    };
    let before = format!("{}ada\r\n{}", part("username", ""), part("password", head));
    [before.as_bytes(), password, b"\r\n--b--\r\n"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_is_decoded_in_its_declared_charset() {
    let app = started().await;
    let (latin, utf_8) = (latin_1(PASSWORD), PASSWORD.as_bytes());
    for (charset, password) in [
        ("", utf_8.to_vec()),
        ("", percent(utf_8).into_bytes()),
        ("; charset=", utf_8.to_vec()),
        ("; charset=UTF-8", percent(utf_8).into_bytes()),
        ("; charset=iso-8859-1", percent(&latin).into_bytes()),
        ("; charset=iso-8859-1", latin.clone()),
        (";CHARSET = \"ISO-8859-1\"", percent(&latin).into_bytes()),
        (
            "; charset=utf-8; charset=latin-1",
            percent(&latin).into_bytes(),
        ),
        (
            "; charset=latin1; charset=utf-8",
            percent(utf_8).into_bytes(),
        ),
        (
            "; x=\"a;charset=utf-8\"; charset=windows-1252",
            latin.clone(),
        ),
    ] {
        let answer = sign_in(&app, &format!("{FORM}{charset}"), form(&password)).await;
        assert_eq!(answer.status, 200, "{charset}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_decoded_in_its_declared_charset() {
    let app = started().await;
    let text = json!({ "username": "ada", "password": PASSWORD }).to_string();
    let (little, big) = (
        utf_16(&text, u16::to_le_bytes),
        utf_16(&text, u16::to_be_bytes),
    );
    for (charset, body) in [
        ("utf-8", text.clone().into_bytes()),
        ("\"utf8\"", text.clone().into_bytes()),
        ("iso-8859-1", latin_1(&text)),
        ("utf-16le", little.clone()),
        ("utf-16be", big.clone()),
        ("utf-16", [&[0xff, 0xfe], little.as_slice()].concat()),
        ("utf-16", [&[0xfe, 0xff], big.as_slice()].concat()),
    ] {
        let answer = sign_in(&app, &format!("{JSON}; charset={charset}"), body).await;
        assert_eq!(answer.status, 200, "{charset}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn part_is_decoded_in_its_charset_or_that_of_the_form() {
    let app = started().await;
    let (latin, utf_8) = (latin_1(PASSWORD), PASSWORD.as_bytes());
    let base64 = "Y2Fm6S1jcuhtZS1icvts6WU=";
    for (charset, head, password) in [
        ("", "", utf_8),
        ("", "\r\nContent-Type: text/plain", utf_8),
        (
            "",
            "\r\nContent-Type: text/plain; charset=\"iso-8859-1\"",
            &latin,
        ),
        (
            "",
            "\r\ncontent-type: text/plain;charset=latin1\r\nContent-Transfer-Encoding: 8bit",
            &latin,
        ),
        ("; charset=iso-8859-1", "", &latin),
        (
            "; charset=iso-8859-1",
            "\r\nContent-Type: text/plain; charset=utf-8",
            utf_8,
        ),
        (
            "; charset=iso-8859-1",
            "\r\nContent-Transfer-Encoding: BASE64",
            base64.as_bytes(),
        ),
    ] {
        let answer = sign_in(
            &app,
            &format!("{MULTIPART}{charset}"),
            multipart(head, password),
        )
        .await;
        assert_eq!(answer.status, 200, "{charset} {head}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_charset_is_refused_but_not_a_wrong_password() {
    let app = started().await;
    let json = json!({ "username": "ada", "password": PASSWORD })
        .to_string()
        .into_bytes();
    let unsupported = |media_type: &str| {
        let media_type = media_type.replace('"', "\\\"");
        format!(r#"{{"detail":"Unsupported media type \"{media_type}\" in request."}}"#)
    };
    for (content_type, body) in [
        (format!("{FORM}; charset=nope"), form(PASSWORD.as_bytes())),
        (format!("{FORM}; charset=utf-16"), form(b"x")),
        (format!("{FORM}; charset=iso-2022-jp"), form(b"x")),
        (format!("{JSON}; charset=utf-32"), json.clone()),
        (format!("{JSON}; charset=ebcdic-us"), json.clone()),
        (format!("{MULTIPART}; charset=utf-16"), multipart("", b"x")),
    ] {
        sign_in(&app, &content_type, body)
            .await
            .expect(415, &unsupported(&content_type));
    }
    for (head, named) in [
        (
            "Content-Type: text/plain; charset=nope",
            "text/plain; charset=nope",
        ),
        (
            "Content-Transfer-Encoding: quoted-printable",
            "quoted-printable",
        ),
    ] {
        let body = multipart(&format!("\r\n{head}"), PASSWORD.as_bytes());
        sign_in(&app, MULTIPART, body)
            .await
            .expect(415, &unsupported(named));
    }
    assert!(
        app.events()
            .await
            .iter()
            .all(|event| event.event != "sign_in_failed"),
        "recorded as a wrong password"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_bytes_are_refused_but_not_a_wrong_password() {
    let app = started().await;
    let latin = latin_1(PASSWORD);
    let text = json!({ "username": "ada", "password": PASSWORD }).to_string();
    let no_text = r#"{"password":["Not a valid string."]}"#;
    for charset in [
        "",
        "; charset=utf-8",
        "; charset=us-ascii",
        "; charset=shift_jis",
    ] {
        for password in [latin.clone(), percent(&latin).into_bytes()] {
            sign_in(&app, &format!("{FORM}{charset}"), form(&password))
                .await
                .expect(400, no_text);
        }
        sign_in(
            &app,
            &format!("{MULTIPART}{charset}"),
            multipart("", &latin),
        )
        .await
        .expect(400, no_text);
    }
    let bad = multipart("\r\nContent-Transfer-Encoding: base64", b"*");
    sign_in(&app, MULTIPART, bad).await.expect(400, no_text);
    for (charset, body, words) in [
        ("", latin_1(&text), "the body is not UTF-8"),
        (
            "; charset=us-ascii",
            text.clone().into_bytes(),
            "the body is not US-ASCII",
        ),
        (
            "; charset=utf-16le",
            [0x00, 0xd8].to_vec(),
            "the body is not UTF-16LE",
        ),
        (
            "; charset=utf-8",
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            "the body begins with a byte-order mark",
        ),
        (
            "",
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            "the body begins with a byte-order mark",
        ),
        ("", utf_16(&text, u16::to_le_bytes), "the body is not UTF-8"),
    ] {
        let answer = sign_in(&app, &format!("{JSON}{charset}"), body).await;
        answer.expect(
            400,
            &format!(r#"{{"detail":"JSON parse error - {words}"}}"#),
        );
    }
    assert!(
        app.events()
            .await
            .iter()
            .all(|event| event.event != "sign_in_failed"),
        "recorded as a wrong password"
    );
}

/// Boundaries of common client libraries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boundaries_of_common_clients_are_accepted() {
    let app = started().await;
    for boundary in [
        "----=_Part_0_1.2",
        "a/b",
        "\"a b:?\"",
        "x'()+,-.=",
        "----WebKitFormBoundaryA",
    ] {
        let bare = boundary.trim_matches('"');
        let body = multipart("", PASSWORD.as_bytes());
        let body = String::from_utf8(body)
            .unwrap()
            .replace("--b", &format!("--{bare}"));
        let answer = sign_in(
            &app,
            &format!("multipart/form-data; boundary={boundary}"),
            body.into_bytes(),
        )
        .await;
        assert_eq!(answer.status, 200, "{boundary}: {answer:?}");
    }
    let none = r#"{"detail":"Multipart form parse error - Invalid boundary in multipart: None"}"#;
    for boundary in ["", "\"\"", "\"", &"b".repeat(201)] {
        let answer = sign_in(
            &app,
            &format!("multipart/form-data; boundary={boundary}"),
            multipart("", b"x"),
        )
        .await;
        answer.expect(400, none);
    }
}
