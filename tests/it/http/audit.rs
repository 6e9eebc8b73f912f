//! Events in the audit trail, and requests without an event.

use futures_util::StreamExt as _;
use latchkey_domain::{ids::SessionId, password::Password};
use latchkey_verifier::Kind;
use reqwest::Method;
use serde_json::{Value, json};

use latchkey_testkit::{
    Answer, Backend, PASSWORD, TestApp, claim, detail, on_both_backends,
    servers::{eventually, own::OwnPostgres},
    sid, username,
};

const ORIGIN: (&str, &str) = ("127.0.0.7", "curl/8.5");

/// Sends a body from another address and with another `User-Agent`.
async fn from_another_client(app: &TestApp, path: &str, body: Value) -> Answer {
    let address: std::net::IpAddr = ORIGIN.0.parse().unwrap();
    let client = reqwest::Client::builder()
        .local_address(address)
        .user_agent(ORIGIN.1)
        .build()
        .unwrap();
    app.send(
        client
            .post(app.url(path))
            .header("content-type", "application/json")
            .body(body.to_string()),
    )
    .await
}

on_both_backends! {
    async fn sign_in_event_has_address_agent_and_token(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let pair = from_another_client(&app, "/api/token/", json!({ "username": "ada", "password": PASSWORD })).await.pair();
        // The embedded backend also has an event for the first user, which the service creates.
        let events: Vec<_> = app.events().await.into_iter().filter(|event| event.actor != "latchkey").collect();
        let (created, event) = (&events[0], &events[1]);
        assert_eq!((created.event.as_str(), created.actor.as_str()), ("user_created", "operator test"));
        assert_eq!((event.event.as_str(), event.actor.as_str(), &event.cause), ("sign_in", "user", &None));
        assert_eq!((event.origin.ip.as_deref(), event.origin.user_agent.as_deref()), (Some(ORIGIN.0), Some(ORIGIN.1)));
        assert_eq!(event.jti.as_deref(), Some(claim(&pair.access, "jti").as_str()));
        assert_eq!(event.session.unwrap().to_string(), sid(&pair.access));
        assert_eq!((event.user.as_ref(), event.at.timestamp()), (created.user.as_ref(), app.now()));
    }

    /// Users sometimes type the password into the name field.
    async fn refused_sign_in_event_has_cause_but_no_unknown_name(backend: Backend) {
        let app = TestApp::start(backend).await;
        for name in ["ada", "idle"] {
            app.user(name).await;
        }
        app.accounts().await.set_active(&username("idle"), false).await.unwrap();
        for (name, password) in [("ada", "wrong"), ("hunter2-typed-here", "wrong"), ("idle", PASSWORD), ("a\u{1}b", "x")] {
            let body = json!({ "username": name, "password": password });
            assert_eq!(from_another_client(&app, "/api/token/", body).await.status, 401);
        }
        for (cause, known) in [("wrong_password", true), ("user_inactive", true), ("unknown_user", false)] {
            let event = app.eventually_event(cause, |event| event.cause.as_deref() == Some(cause)).await;
            assert_eq!((event.event.as_str(), event.actor.as_str()), ("sign_in_refused", "client"));
            assert_eq!(event.user.is_some(), known, "{cause}");
            assert_eq!(event.origin.ip.as_deref(), Some(ORIGIN.0));
        }
        assert!(!format!("{:?}", app.events().await).contains("hunter2"));
    }

    async fn refusals_of_our_tokens_are_counted_in_one_event(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.log_out(&pair.refresh).await;
        let mut forged = pair.access.clone();
        forged.replace_range(forged.len() - 8.., "AAAAAAAA");
        for number in 0..5 {
            assert_eq!(app.verify("junk").await.status, 401);
            assert_eq!(app.verify(&forged).await.status, 401);
            // Another `User-Agent` does not count as another client.
            let request = app.request(Method::GET, "/api/auth/user/").header("user-agent", format!("agent{number}"));
            app.send(request.header("authorization", format!("Bearer {}", pair.access))).await;
        }
        app.refresh(&pair.refresh).await;
        app.verify(&pair.access).await;
        app.eventually_event("verify", |event| detail(event, "view") == "verify").await;
        let refresh = app.eventually_event("refresh", |event| detail(event, "view") == "refresh").await;
        assert_eq!((detail(&refresh, "token"), refresh.cause.as_deref()), ("refresh", Some("logged_out")));
        let refused: Vec<_> = app.events().await.into_iter().filter(|event| event.event == "token_refused").collect();
        let protected: Vec<_> = refused.iter().filter(|event| detail(event, "view") == "protected").collect();
        assert_eq!(protected.iter().map(|event| event.times).sum::<u32>(), 5);
        assert!(protected.len() <= 3, "{protected:#?}");
        for event in &refused {
            assert_eq!(event.session.unwrap().to_string(), sid(&pair.access));
            assert!(event.jti.is_some() && event.user.is_some());
        }
        assert_eq!(refused.iter().map(|event| event.times).sum::<u32>(), 7, "forged tokens have no event");
        // Expired tokens are normal, so they have no event.
        app.advance(400);
        let idle = app.obtain("ada", PASSWORD).await.pair();
        app.advance(300);
        app.me(&format!("Bearer {}", idle.access)).await;
        app.me(&format!("Bearer {}", idle.refresh)).await;
        app.eventually_event("wrong type", |event| event.cause.as_deref() == Some("wrong_type")).await;
        assert!(app.events().await.iter().all(|event| event.cause.as_deref() != Some("expired")));
    }

    async fn repeat_and_reuse_events_have_both_clients(backend: Backend) {
        let app = TestApp::start(backend).await;
        let first = app.signed_in("ada").await;
        app.advance(60);
        // The same `User-Agent` at another address.
        let holder = app.sender("127.0.0.1", Some(ORIGIN.1));
        holder.refresh(&first.refresh).await.pair();
        app.advance(5);
        holder.refresh(&first.refresh).await.pair();
        let event = app.eventually_event("repeated", |event| event.event == "refresh_repeated").await;
        assert_eq!((detail(&event, "generation"), event.origin.ip.as_deref()), ("1", Some("127.0.0.1")));
        let repeated = from_another_client(&app, "/api/token/refresh/", json!({ "refresh": first.refresh })).await.pair();
        let event = app.eventually_event("elsewhere", |event| event.event == "refresh_repeated_elsewhere").await;
        assert_eq!((detail(&event, "generation"), event.origin.ip.as_deref()), ("1", Some(ORIGIN.0)));
        assert_eq!(event.jti.as_deref(), Some(claim(&repeated.access, "jti").as_str()));
        app.advance(15);
        assert_eq!(from_another_client(&app, "/api/token/refresh/", json!({ "refresh": first.refresh })).await.status, 401);
        let event = app.events().await.into_iter().find(|event| event.event == "reuse").unwrap();
        assert_eq!((event.origin.ip.as_deref(), event.origin.user_agent.as_deref()), (Some(ORIGIN.0), Some(ORIGIN.1)));
        assert_eq!(event.jti.as_deref(), Some(claim(&first.refresh, "jti").as_str()));
        for (name, value) in [
            ("presented_generation", "0"), ("current_generation", "1"), ("seconds_since_rotation", "20"),
            ("seconds_since_sign_in", "80"), ("holder_ip", "127.0.0.1"), ("differs", "address"), ("view", "refresh"),
        ] {
            assert_eq!(detail(&event, name), value, "{name}");
        }
        // Later refusals are recorded too. They may come from the owner.
        assert_eq!(app.refresh(&repeated.refresh).await.status, 401);
        let jti = claim(&repeated.refresh, "jti");
        let event = app.eventually_event("refusal after the reuse", |event| event.jti.as_deref() == Some(&*jti)).await;
        assert_eq!((event.event.as_str(), event.cause.as_deref()), ("token_refused", Some("reuse")));
    }

    async fn revocation_events_name_their_actor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let mut pairs = vec![app.signed_in("ada").await];
        for _ in 0..4 {
            pairs.push(app.obtain("ada", PASSWORD).await.pair());
        }
        app.blacklist(&pairs[0].refresh).await.expect(200, "{}");
        app.end_session(&sid(&pairs[1].access), &pairs[2].access).await.expect(204, "");
        let accounts = app.accounts().await;
        accounts.end_session(app.own_sessions(&pairs[2].access).await.iter().find_map(|session| {
            let id = session["id"].as_str().unwrap();
            (id == sid(&pairs[3].access)).then(|| SessionId::parse(id).unwrap())
        }).unwrap()).await.unwrap();
        app.log_out_everywhere(&pairs[2].access).await.expect(200, r#"{"detail":"Successfully logged out."}"#);
        let name = username("ada");
        accounts.set_active(&name, false).await.unwrap();
        accounts.set_active(&name, true).await.unwrap();
        let password = Password::parse_new("another password".to_owned()).unwrap();
        accounts.set_password(&name, password).await.unwrap();
        accounts.sign_out(&name).await.unwrap();
        accounts.delete(&name).await.unwrap();
        accounts.revoke_all_users(|_| ()).await.unwrap();
        let recorded: Vec<_> = app.events().await.into_iter().skip_while(|event| event.event != "session_revoked")
            .map(|event| format!("{} {} by {}", event.event, event.cause.unwrap_or_default(), event.actor)).collect();
        assert_eq!(recorded, [
            "session_revoked logged_out by user",
            "session_revoked ended_by_user by user",
            "session_revoked operator by operator test",
            "cut_off signed_out_everywhere by user",
            "cut_off deactivated by operator test",
            "cut_off activated by operator test",
            "cut_off password_changed by operator test",
            "cut_off signed_out_everywhere by operator test",
            "cut_off deleted by operator test",
            "everybody_cut_off signed_out_everywhere by operator test",
        ]);
        let by = app.events().await.into_iter().find(|event| event.cause.as_deref() == Some("ended_by_user")).unwrap();
        assert_eq!(detail(&by, "by_session"), sid(&pairs[2].access));
    }

    async fn audit_refreshes_records_each_refresh(backend: Backend) {
        let app = TestApp::start_with(backend, &["--audit-refreshes=true"]).await;
        let quiet = app.twin_with(|config| config.audit.audit_refreshes = false).await;
        let pair = app.signed_in("ada").await;
        let next = app.refresh(&pair.refresh).await.pair();
        quiet.refresh(&next.refresh).await.pair();
        let event = app.eventually_event("refreshed", |event| event.event == "refreshed").await;
        assert_eq!((detail(&event, "generation"), event.actor.as_str()), ("1", "user"));
        assert_eq!(event.jti.as_deref(), Some(claim(&next.access, "jti").as_str()));
    }

    /// A claim that the database cannot store must not block later events.
    async fn malformed_claim_does_not_block_later_events(backend: Backend) {
        let app = TestApp::start(backend).await;
        let pair = app.signed_in("ada").await;
        app.log_out(&pair.refresh).await;
        for jti in ["a\0b".to_owned(), "🔑".repeat(1000)] {
            let odd = app.forge().altered(&pair.access, Kind::Access, &json!({ "jti": jti }));
            assert_eq!(app.verify(&odd).await.status, 400);
        }
        app.eventually_event("odd", |event| event.jti.as_deref() == Some("ab")).await;
        app.obtain("unknown", "x").await;
        app.eventually_event("later event", |event| event.cause.as_deref() == Some("unknown_user")).await;
    }
}

/// Events are queued while the database is unavailable. Events beyond the queue are counted as
/// dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_queued_while_the_database_is_unavailable() {
    let mut postgres = OwnPostgres::start_with(&[]).await;
    let app = TestApp::start_with(
        Backend::Embedded,
        &[&format!("--database-url={}", postgres.url())],
    )
    .await;
    let pair = app.signed_in("ada").await;
    postgres.stop();
    // A token of the wrong kind is refused without a query.
    let header = format!("Bearer {}", pair.refresh);
    for _ in 0..3 {
        assert_eq!(app.me(&header).await.status, 401);
    }
    let sent = 9500;
    let many = futures_util::stream::iter(0..sent - 3)
        .map(|_| app.me(&header))
        .buffer_unordered(32);
    many.for_each(|answer| async move { assert_eq!(answer.status, 401) })
        .await;
    let counter = async |name: &str| -> u32 {
        let text = app.get("/metrics").await.text;
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    let dropped = counter("latchkey_audit_events_dropped_total").await;
    assert!(
        (1308..=5404).contains(&dropped),
        "{dropped} of {sent} dropped: the queue holds 4096, with the batch 8192 at most"
    );
    postgres.again().await;
    let mut kept = 0;
    eventually("every queued event is written", async || {
        let events = app.events().await;
        kept = events
            .iter()
            .filter(|event| event.cause.as_deref() == Some("wrong_type"))
            .map(|event| event.times)
            .sum();
        kept + dropped >= sent
    })
    .await;
    assert_eq!(kept + dropped, sent);
}
