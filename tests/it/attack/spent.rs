//! Repeats of a refresh by another client: it has a copy of the token, and the owner has just refreshed.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use latchkey::domain::audit::AuditEntry;

use super::BLACKLISTED;
use crate::support::{Answer, Backend, Pair, TestApp, claim, detail, servers::eventually};

const HERE: &str = "127.0.0.1";
const ELSEWHERE: &str = "127.0.0.9";
const PHONE: Option<&str> = Some("phone/1");
const OTHER: Option<&str> = Some("curl/8");

/// Ada signs in and refreshes on her phone. Returns the spent pair and the live one.
pub async fn refreshed(app: &TestApp) -> (Pair, Pair) {
    app.user("ada").await;
    let owner = app.sender(HERE, PHONE);
    let first = owner.signed_in("ada").await;
    let second = owner.refresh(&first.refresh).await.pair();
    (first, second)
}

/// Returns the only event that ended the session.
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
    async fn a_thief_with_another_address_and_agent_gets_no_successor_within_the_grace(backend: Backend) {
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

    async fn a_thief_that_hides_its_agent_gets_no_successor_either(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, second) = refreshed(&app).await;
        app.sender(ELSEWHERE, None).refresh(&first.refresh).await.expect(401, BLACKLISTED);
        app.dead(&second).await;
    }

    /// The thief refreshes first and omits its `User-Agent`, so that the owner has nothing to be compared with.
    async fn a_thief_who_refreshes_first_without_an_agent_is_found_by_the_owners_own_refresh(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let owner = app.sender(HERE, PHONE);
        let first = owner.signed_in("ada").await;
        let stolen = app.sender(ELSEWHERE, None).refresh(&first.refresh).await.pair();
        owner.refresh(&first.refresh).await.expect(401, BLACKLISTED);
        app.dead(&stolen).await;
    }

    async fn a_client_with_another_address_or_another_agent_gets_three_repeats_and_then_ends_the_session(backend: Backend) {
        for (address, agent, differs) in [(ELSEWHERE, PHONE, "address"), (HERE, OTHER, "agent"), (HERE, None, "agent")] {
            let app = TestApp::start(backend).await;
            let (first, second) = refreshed(&app).await;
            let client = app.sender(address, agent);
            let mut given = Vec::new();
            for _ in 0..3 {
                given.push(client.refresh(&first.refresh).await.pair());
                assert_eq!(given.last().unwrap().refresh, second.refresh);
            }
            // The owner's retries do not count, before and after.
            assert_eq!(app.sender(HERE, PHONE).refresh(&first.refresh).await.pair().refresh, second.refresh);
            client.refresh(&first.refresh).await.expect(401, BLACKLISTED);
            app.dead(&second).await;
            let event = reuse(&app).await;
            assert_eq!((detail(&event, "differs"), detail(&event, "repeats")), (differs, "3"));
        }
    }

    /// A phone that changes networks all day long.
    async fn each_generation_has_repeats_of_its_own(backend: Backend) {
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

    async fn of_many_repeats_from_another_address_at_once_three_are_given(backend: Backend) {
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

    async fn fifty_tabs_of_one_browser_all_get_the_same_successor(backend: Backend) {
        let app = TestApp::start(backend).await;
        app.user("ada").await;
        let first = app.sender(HERE, PHONE).signed_in("ada").await;
        let tabs: Vec<_> = (0..50).map(|_| app.sender(HERE, PHONE)).collect();
        let answers = join_all(tabs.iter().map(|tab| tab.refresh(&first.refresh))).await;
        let successors: BTreeSet<String> = answers.iter().map(|answer| answer.pair().refresh).collect();
        assert_eq!(successors.len(), 1);
        app.sender(HERE, PHONE).refresh(successors.first().unwrap()).await.pair();
    }

    async fn a_repeat_from_another_address_is_an_event_and_a_number_of_its_own(backend: Backend) {
        let app = TestApp::start(backend).await;
        let (first, _) = refreshed(&app).await;
        app.sender(HERE, PHONE).refresh(&first.refresh).await.pair();
        app.advance(1);
        let repeated = app.sender(ELSEWHERE, PHONE).refresh(&first.refresh).await.pair();
        let event = app.eventually_told("elsewhere", |event| event.event == "refresh_repeated_elsewhere").await;
        assert_eq!((event.actor.as_str(), event.origin.ip.as_deref()), ("client", Some(ELSEWHERE)));
        assert_eq!(event.jti.as_deref(), Some(claim(&repeated.access, "jti").as_str()));
        for (name, value) in
            [("generation", "1"), ("differs", "address"), ("holder_ip", HERE), ("holder_user_agent", "phone/1")]
        {
            assert_eq!(detail(&event, name), value, "{name}");
        }
        app.eventually_told("here", |event| event.event == "refresh_repeated").await;
        let metrics = app.get("/metrics").await.text;
        for number in ["latchkey_grace_hits_total 2", "latchkey_grace_hits_elsewhere_total 1"] {
            assert!(metrics.contains(number), "{number}: {metrics}");
        }
    }

    /// The backend of a frontend and the browser refresh the same token.
    async fn without_the_binding_any_client_may_repeat_as_often_as_it_likes(backend: Backend) {
        let app = TestApp::start_with(backend, &["--refresh-reuse-grace-binding=none"]).await;
        let (first, second) = refreshed(&app).await;
        let (browser, server) = (app.sender(HERE, PHONE), app.sender(ELSEWHERE, OTHER));
        for _ in 0..5 {
            assert_eq!(server.refresh(&first.refresh).await.pair().refresh, second.refresh);
        }
        assert_eq!(server.verify(&first.refresh).await.status, 400);
        assert_eq!(server.me(&first.refresh).await.status, 401);
        browser.refresh(&second.refresh).await.pair();
        // It is still recorded.
        eventually("it is recorded", async || {
            app.events().await.iter().any(|event| detail(event, "differs") == "address,agent")
        })
        .await;
        app.advance(11);
        server.refresh(&first.refresh).await.expect(401, BLACKLISTED);
    }

    async fn without_spent_tokens_no_client_is_compared(backend: Backend) {
        let app = TestApp::start_with(backend, &["--blacklist-after-rotation=false"]).await;
        let (first, second) = refreshed(&app).await;
        app.advance(3600);
        let other = app.sender(ELSEWHERE, OTHER);
        for _ in 0..5 {
            assert_eq!(other.refresh(&first.refresh).await.pair().refresh, second.refresh);
            other.verify(&first.refresh).await.expect(200, "{}");
        }
        let answers: Vec<Answer> = vec![other.me(&first.refresh).await, other.blacklist(&first.refresh).await];
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401, 200]);
        assert!(app.events().await.iter().all(|event| !["reuse", "refresh_repeated_elsewhere"].contains(&&*event.event)));
    }
}
