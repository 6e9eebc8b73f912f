//! Repeats by another client with a copy of the token, after the owner has refreshed.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use latchkey_domain::audit::AuditEntry;

use super::BLACKLISTED;
use latchkey_testkit::{
    Answer, Backend, Pair, TestApp, claim, detail, on_both_backends, servers::eventually,
};

const HERE: &str = "127.0.0.1";
const ELSEWHERE: &str = "127.0.0.9";
const PHONE: Option<&str> = Some("phone/1");
const OTHER: Option<&str> = Some("curl/8");

/// Signs a user in and refreshes once. Returns the spent pair and the current pair.
pub async fn refreshed(app: &TestApp) -> (Pair, Pair) {
    app.user("ada").await;
    let owner = app.sender(HERE, PHONE);
    let first = owner.pair_of("ada").await;
    let second = owner.refresh(&first.refresh).await.pair();
    (first, second)
}

/// Returns the reuse event. Fails unless there is exactly one.
pub async fn reuse(app: &TestApp) -> AuditEntry {
    let mut events: Vec<_> = app
        .events()
        .await
        .into_iter()
        .filter(|event| event.event == "reuse")
        .collect();
    assert_eq!(events.len(), 1, "{events:#?}");
    events.remove(0)
}

on_both_backends! {
    async fn other_address_and_agent_gets_no_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        app.advance(2);
        app.sender(ELSEWHERE, OTHER).refresh(&first.refresh).await.expect(401, BLACKLISTED);
        app.dead(&second).await;
        app.sender(HERE, PHONE).refresh(&second.refresh).await.expect(401, BLACKLISTED);
        let event = reuse(&app).await;
        for (name, value) in [
            ("differs", "address,agent"), ("view", "refresh"), ("repeats", ""), ("seconds_since_rotation", "2"),
            ("holder_ip", HERE), ("holder_user_agent", "phone/1"), ("presented_generation", "0"),
        ] {
            assert_eq!(detail(&event, name), value, "{name}");
        }
    }

    async fn other_address_without_agent_gets_no_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        app.sender(ELSEWHERE, None).refresh(&first.refresh).await.expect(401, BLACKLISTED);
        app.dead(&second).await;
    }

    /// The thief refreshes first and omits its `User-Agent`, so there is none to compare.
    async fn owner_refresh_after_a_thief_without_agent_is_reuse(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let owner = app.sender(HERE, PHONE);
        let first = owner.pair_of("ada").await;
        let stolen = app.sender(ELSEWHERE, None).refresh(&first.refresh).await.pair();
        owner.refresh(&first.refresh).await.expect(401, BLACKLISTED);
        app.dead(&stolen).await;
    }

    async fn fourth_repeat_from_another_address_or_agent_is_reuse(backend: Backend) {
        for (address, agent, differs) in [(ELSEWHERE, PHONE, "address"), (HERE, OTHER, "agent"), (HERE, None, "agent")] {
            let app = TestApp::start(backend).await;
            let (first, second) = refreshed(&app).await;
            let client = app.sender(address, agent);
            let mut given = Vec::new();
            for _ in 0..3 {
                given.push(client.refresh(&first.refresh).await.pair());
                assert_eq!(given.last().unwrap().refresh, second.refresh);
            }
            // The owner's retries are not counted.
            assert_eq!(app.sender(HERE, PHONE).refresh(&first.refresh).await.pair().refresh, second.refresh);
            client.refresh(&first.refresh).await.expect(401, BLACKLISTED);
            app.dead(&second).await;
            let event = reuse(&app).await;
            assert_eq!((detail(&event, "differs"), detail(&event, "repeats")), (differs, "3"));
        }
    }

    /// Models a phone that changes networks often.
    async fn repeats_are_counted_per_generation(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (mut old, mut pair) = refreshed(&app).await;
        for _ in 0..4 {
            for _ in 0..3 {
                assert_eq!(app.sender(ELSEWHERE, PHONE).refresh(&old.refresh).await.pair().refresh, pair.refresh);
            }
            (old, pair) = (pair.clone(), app.sender(HERE, PHONE).refresh(&pair.refresh).await.pair());
        }
        app.live(&pair).await;
    }

    async fn concurrent_repeats_from_another_address_are_limited(backend: Backend) {
        let app = TestApp::start(backend).await;
        let twin = app.twin().await;
        let (first, second) = refreshed(&app).await;
        let senders: Vec<_> = (0..24).map(|n| [&app, &twin][n % 2].sender(ELSEWHERE, PHONE)).collect();
        let answers = join_all(senders.iter().map(|sender| sender.refresh(&first.refresh))).await;
        let (given, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(given.len(), 3);
        assert!(given.iter().all(|answer| answer.pair().refresh == second.refresh));
        for answer in refused {
            answer.expect(401, BLACKLISTED);
        }
        app.dead(&second).await;
        reuse(&app).await;
    }

    async fn fifty_tabs_of_one_browser_get_the_same_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let first = app.sender(HERE, PHONE).pair_of("ada").await;
        let tabs: Vec<_> = (0..50).map(|_| app.sender(HERE, PHONE)).collect();
        let answers = join_all(tabs.iter().map(|tab| tab.refresh(&first.refresh))).await;
        let successors: BTreeSet<String> = answers.iter().map(|answer| answer.pair().refresh).collect();
        assert_eq!(successors.len(), 1);
        app.sender(HERE, PHONE).refresh(successors.first().unwrap()).await.pair();
    }

    async fn repeat_from_another_address_has_its_own_event(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, _) = refreshed(&app).await;
        app.sender(HERE, PHONE).refresh(&first.refresh).await.pair();
        app.advance(1);
        let repeated = app.sender(ELSEWHERE, PHONE).refresh(&first.refresh).await.pair();
        let event = app.eventually_event("elsewhere", |event| event.event == "refresh_repeated_elsewhere").await;
        assert_eq!((event.actor.as_str(), event.origin.ip.as_deref()), ("client", Some(ELSEWHERE)));
        assert_eq!(event.jti.as_deref(), Some(claim(&repeated.access, "jti").as_str()));
        for (name, value) in
            [("generation", "1"), ("differs", "address"), ("holder_ip", HERE), ("holder_user_agent", "phone/1")]
        {
            assert_eq!(detail(&event, name), value, "{name}");
        }
        app.eventually_event("here", |event| event.event == "refresh_repeated").await;
        let metrics = app.get("/metrics").await.text;
        for number in ["latchkey_reuse_grace_repeats_total 2", "latchkey_reuse_grace_repeats_other_client_total 1"] {
            assert!(metrics.contains(number), "{number}: {metrics}");
        }
    }

    /// Models a frontend server and a browser that refresh the same token.
    async fn grace_without_binding_repeats_for_any_client(backend: Backend) {
        let app = TestApp::start_with(backend, &["--refresh-reuse-grace-binding=none"]).await;
        let (first, second) = refreshed(&app).await;
        let (browser, server) = (app.sender(HERE, PHONE), app.sender(ELSEWHERE, OTHER));
        for _ in 0..5 {
            assert_eq!(server.refresh(&first.refresh).await.pair().refresh, second.refresh);
        }
        assert_eq!(server.verify(&first.refresh).await.status, 400);
        assert_eq!(server.profile(&first.refresh).await.status, 401);
        browser.refresh(&second.refresh).await.pair();
        eventually("the repeat is recorded", async || {
            app.events().await.iter().any(|event| detail(event, "differs") == "address,agent")
        })
        .await;
        app.advance(11);
        server.refresh(&first.refresh).await.expect(401, BLACKLISTED);
    }

    async fn tokens_without_spending_are_not_bound_to_clients(backend: Backend) {
        let app = TestApp::start_with(backend, &["--blacklist-after-rotation=false"]).await;
        let (first, second) = refreshed(&app).await;
        app.advance(3600);
        let other = app.sender(ELSEWHERE, OTHER);
        for _ in 0..5 {
            assert_eq!(other.refresh(&first.refresh).await.pair().refresh, second.refresh);
            other.verify(&first.refresh).await.expect(200, "{}");
        }
        let answers: Vec<Answer> = vec![other.profile(&first.refresh).await, other.blacklist(&first.refresh).await];
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401, 200]);
        assert!(app.events().await.iter().all(|event| !["reuse", "refresh_repeated_elsewhere"].contains(&&*event.event)));
    }
}
