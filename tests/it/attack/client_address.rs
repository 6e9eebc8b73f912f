//! Spoofed client addresses: clients that send the header of a proxy.

use reqwest::Method;
use serde_json::json;

use latchkey_testkit::{Backend, PASSWORD, TestApp, detail, on_both_backends};

const PROXY: &str = "--trusted-proxies=127.0.0.0/8,10.0.0.0/8,2001:db8:ffff::/48";
const RFC_7239: &str = "--forwarded-header=forwarded";

/// Signs in with these header lines, and returns the address in the audit trail.
async fn shown(app: &TestApp, headers: &[(&str, &str)]) -> String {
    let request = app
        .request(Method::POST, "/api/token/")
        .header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    app.send(request.body(json!({ "username": "ada", "password": PASSWORD }).to_string()))
        .await
        .pair();
    let mut sign_ins = app
        .events()
        .await
        .into_iter()
        .filter(|event| event.event == "sign_in");
    sign_ins.next_back().unwrap().origin.ip.unwrap()
}

async fn shown_for(app: &TestApp, forwarded_for: &str) -> String {
    shown(app, &[("x-forwarded-for", forwarded_for)]).await
}

async fn behind_a_proxy(flags: &[&str]) -> TestApp {
    let app = TestApp::start_with(Backend::Embedded, flags).await;
    app.user("ada").await;
    app
}

on_both_backends! {
    async fn client_behind_a_trusted_proxy_is_recorded(backend: Backend) {
        let app = TestApp::start_with(backend, &[PROXY]).await;
        app.user("ada").await;
        let send = async |path: &str, address: &str, body: serde_json::Value| {
            let request = app.request(Method::POST, path).header("content-type", "application/json");
            app.send(request.header("x-forwarded-for", address).body(body.to_string())).await
        };
        let first = send("/api/token/", "192.0.2.1", json!({ "username": "ada", "password": PASSWORD })).await.pair();
        let sessions = app.own_sessions(&first.access).await;
        assert_eq!(sessions[0]["ip"], "192.0.2.1", "{sessions:?}");
        send("/api/token/", "192.0.2.2", json!({ "username": "ada", "password": "wrong" })).await;
        let event = app.eventually_event("a refusal", |event| event.event == "sign_in_refused").await;
        assert_eq!(event.origin.ip.as_deref(), Some("192.0.2.2"));
        app.advance(60);
        send("/api/token/refresh/", "192.0.2.3", json!({ "refresh": first.refresh })).await.pair();
        app.advance(60);
        send("/api/token/refresh/", "192.0.2.4", json!({ "refresh": first.refresh })).await;
        let event = app.eventually_event("the reuse", |event| event.event == "reuse").await;
        assert_eq!((event.origin.ip.as_deref(), detail(&event, "holder_ip")), (Some("192.0.2.4"), "192.0.2.3"));
    }
}

#[tokio::test]
async fn header_of_an_untrusted_peer_is_ignored() {
    for flags in [
        &[][..],
        &["--trusted-proxies=127.0.0.2,10.0.0.0/8"],
        &["--trusted-proxies="],
    ] {
        let app = behind_a_proxy(flags).await;
        assert_eq!(shown_for(&app, "192.0.2.1").await, "127.0.0.1", "{flags:?}");
        assert_eq!(
            shown(&app, &[("forwarded", "for=192.0.2.1")]).await,
            "127.0.0.1",
            "{flags:?}"
        );
    }
}

#[tokio::test]
async fn spoofed_leftmost_hop_is_ignored() {
    let app = behind_a_proxy(&[PROXY]).await;
    for (header, client) in [
        ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
        (
            "6.6.6.6, 192.0.2.1, 10.0.0.7, 2001:db8:ffff::1",
            "192.0.2.1",
        ),
        ("10.0.0.1, 192.0.2.1", "192.0.2.1"),
        ("unknown, 192.0.2.1", "192.0.2.1"),
        ("\", 192.0.2.1", "192.0.2.1"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("", "127.0.0.1"),
        (",, 192.0.2.1 ,,", "192.0.2.1"),
    ] {
        assert_eq!(shown_for(&app, header).await, client, "{header}");
    }
}

#[tokio::test]
async fn several_header_lines_are_one_list() {
    let app = behind_a_proxy(&[PROXY]).await;
    let name = "x-forwarded-for";
    assert_eq!(
        shown(
            &app,
            &[(name, "6.6.6.6"), (name, "192.0.2.1"), (name, "10.0.0.7")]
        )
        .await,
        "192.0.2.1"
    );
    assert_eq!(
        shown(
            &app,
            &[
                (name, "6.6.6.6, 192.0.2.1"),
                ("X-FORWARDED-FOR", "10.0.0.7, 10.0.0.8")
            ]
        )
        .await,
        "192.0.2.1"
    );
    let app = behind_a_proxy(&[PROXY, RFC_7239]).await;
    let lines = [
        ("forwarded", "for=\"6.6.6.6"),
        ("forwarded", "for=192.0.2.1"),
        ("forwarded", "for=10.0.0.7"),
    ];
    assert_eq!(shown(&app, &lines).await, "192.0.2.1");
}

#[tokio::test]
async fn address_in_another_notation_is_normalized() {
    let app = behind_a_proxy(&[PROXY]).await;
    for (header, client) in [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1%eth0]:_port", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.1, ::ffff:10.0.0.7", "192.0.2.1"),
        ("192.0.2.1, [::ffff:127.0.0.9]:80", "192.0.2.1"),
    ] {
        assert_eq!(shown_for(&app, header).await, client, "{header}");
    }
}

#[tokio::test]
async fn unreadable_hop_stops_at_the_last_valid_hop() {
    let app = behind_a_proxy(&[PROXY]).await;
    for junk in [
        "unknown",
        "_hidden",
        "localhost",
        "192.0.2.1.",
        "192.0.2.256",
        "192.0.02.1",
        "192.0.2.1:http",
        "192.0.2.1:",
        "[192.0.2.1]",
        "2001:db8::g",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]443",
        "\"192.0.2.1\"",
        "192.0.2.1;6.6.6.6",
        "%",
        "1 2",
    ] {
        assert_eq!(shown_for(&app, junk).await, "127.0.0.1", "{junk}");
        assert_eq!(
            shown_for(&app, &format!("192.0.2.9, {junk}, 10.0.0.7")).await,
            "10.0.0.7",
            "{junk}"
        );
    }
    let name = "x-forwarded-for";
    let request = app
        .request(Method::POST, "/api/token/")
        .header(name, b"192.0.2.9, \xff\xfe".as_slice());
    assert_eq!(
        app.send(request).await.status,
        400,
        "a request with bytes that are not text is accepted"
    );
}

#[tokio::test]
async fn unconfigured_header_is_ignored() {
    let both = [
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.2"),
        ("x-real-ip", "192.0.2.3"),
    ];
    assert_eq!(
        shown(&behind_a_proxy(&[PROXY]).await, &both).await,
        "192.0.2.1"
    );
    assert_eq!(
        shown(&behind_a_proxy(&[PROXY, RFC_7239]).await, &both).await,
        "192.0.2.2"
    );
    let other = [("x-forwarded-for", "192.0.2.1")];
    assert_eq!(
        shown(&behind_a_proxy(&[PROXY, RFC_7239]).await, &other).await,
        "127.0.0.1"
    );
}

#[tokio::test]
async fn forwarded_header_follows_rfc_7239() {
    let app = behind_a_proxy(&[PROXY, RFC_7239]).await;
    for (header, client) in [
        ("for=192.0.2.1", "192.0.2.1"),
        (
            "For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1",
            "192.0.2.1",
        ),
        ("proto=https; FOR=\"[2001:db8::1]:4711\"", "2001:db8::1"),
        (
            "for=6.6.6.6, for=192.0.2.1;host=\"a,for=7.7.7.7\", for=10.0.0.7",
            "192.0.2.1",
        ),
        ("for=192.0.2.1;host=\"a;for=7.7.7.7\"", "192.0.2.1"),
        (r#"for=192.0.2.1;host="a\",for=7.7.7.7""#, "192.0.2.1"),
        // The client leaves a quote open, and the proxy appends its own element.
        ("for=\"6.6.6.6, for=192.0.2.1", "192.0.2.1"),
        ("for=\"6.6.6.6;, for=\"[2001:db8::1]\"", "2001:db8::1"),
        ("for=192.0.2.9, for=unknown", "127.0.0.1"),
        ("for=192.0.2.9, for=_hidden, for=10.0.0.7", "10.0.0.7"),
        ("for=192.0.2.9, proto=https", "127.0.0.1"),
        ("for=192.0.2.9;for=6.6.6.6", "127.0.0.1"),
        ("for=", "127.0.0.1"),
        ("for=\"", "127.0.0.1"),
        ("xfor=192.0.2.9", "127.0.0.1"),
        ("192.0.2.9", "127.0.0.1"),
    ] {
        assert_eq!(
            shown(&app, &[("forwarded", header)]).await,
            client,
            "{header}"
        );
    }
}

#[tokio::test]
async fn ten_thousand_hops_are_read_from_the_right() {
    for flags in [&[PROXY][..], &[PROXY, RFC_7239]] {
        let app = behind_a_proxy(flags).await;
        let (name, prefix) = if flags.len() == 1 {
            ("x-forwarded-for", "")
        } else {
            ("forwarded", "for=")
        };
        let hops =
            |hop: &str| vec![format!("{prefix}{hop}"); 10_000 / prefix.len().max(1)].join(",");
        let many = hops("6.6.6.6");
        assert_eq!(
            shown(&app, &[(name, &format!("{many},{prefix}192.0.2.1"))]).await,
            "192.0.2.1"
        );
        // Trusted proxies only: parsing stops within the chain.
        let trusted = hops("10.0.0.1");
        assert_eq!(
            shown(&app, &[(name, &format!("{prefix}192.0.2.1,{trusted}"))]).await,
            "10.0.0.1"
        );
    }
}
