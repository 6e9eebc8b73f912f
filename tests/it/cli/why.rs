//! `latchkey why`: history of a session or a token.

use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use latchkey_domain::ids::SessionId;
use regex::Regex;
use reqwest::Method;
use serde_json::json;

use latchkey_testkit::{
    Answer, Backend, PASSWORD, Pair, Place, claim, on_both_backends, servers, sid,
};

/// Sends a request from an address and with a user agent.
async fn from(address: &str, agent: &str, url: &str, body: &serde_json::Value) -> Answer {
    let address: std::net::IpAddr = address.parse().unwrap();
    let client = reqwest::Client::builder()
        .local_address(address)
        .user_agent(agent)
        .build()
        .unwrap();
    let request = client
        .request(Method::POST, url)
        .header("content-type", "application/json");
    Answer::read(request.body(body.to_string()).send().await.unwrap()).await
}

async fn signed_in(url: &str) -> Pair {
    let body = json!({ "username": "ada", "password": PASSWORD });
    from("127.0.0.1", "phone", &format!("{url}/api/token/"), &body)
        .await
        .pair()
}

/// Asserts that `why` prints these lines, in which `…` matches anything and `TIME` a time.
#[track_caller]
fn reads(place: &Place, id: &str, story: &str) {
    let outcome = place.run(&format!("why {id}"));
    let printed = Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
        .unwrap()
        .replace_all(outcome.done(), "TIME")
        .into_owned();
    let pattern = story
        .trim()
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("\n");
    let pattern = pattern
        .split('…')
        .map(regex::escape)
        .collect::<Vec<_>>()
        .join("[^\n]*");
    assert!(
        Regex::new(&format!("^{pattern}\n$"))
            .unwrap()
            .is_match(&printed),
        "{printed}\n--- is not ---\n{story}"
    );
}

on_both_backends! {
    async fn why_of_a_session_and_its_tokens_is_the_same(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let first = signed_in(&server.url).await;
        server.pair("ada", PASSWORD).await;
        let session = sid(&first.access);
        reads(&place, &session, &format!("Session {session} of ada (…).\nIt has not been refreshed.\n\nTIME  the user signed in from 127.0.0.1 with \"phone\".\n\nThe session is live, and expires at TIME."));
        let next = server.refresh(&first.refresh).await.pair();
        let last = server.refresh(&next.refresh).await.pair();
        for (token, line) in [
            (&first.refresh, "The token is its refresh token of generation 0, which is spent. The current generation is 2."),
            (&next.refresh, "The token is its refresh token of generation 1, which is spent. The current generation is 2."),
            (&last.refresh, "The token is its refresh token of generation 2, the current one."),
            (&first.access, "The token is one of its access tokens."),
        ] {
            reads(&place, &claim(token, "jti"), &format!("
                Session {session} of ada (…).
                {line}
                It was refreshed 2 times, the last time at TIME from 127.0.0.1.

                TIME  the user signed in from 127.0.0.1 with \"phone\".

                The session is live, and expires at TIME."));
        }
        place.run(&format!("why {}", claim(&last.access, "jti"))).refused(1);
    }

    async fn why_of_an_unknown_id_suggests_others(backend: Backend) {
        let place = Place::on(backend).await.migrated();
        for id in ["00000000-0000-4000-8000-000000000000", "0123456789abcdef0123456789abcdef", "eyJhbGciOi", "'"] {
            let outcome = place.run(&format!("why {id}"));
            let expected = format!("no user, session or token matches {id}: try the username, or the claim sid of the token. An access token is found by its jti only if an audit event names it: that of a sign-in, and with LATCHKEY_AUDIT_REFRESHES=true that of a refresh");
            assert_eq!(outcome.refused(1), expected);
        }
        assert_eq!(place.run("why").code, Some(2));
    }

    /// Only a search of all sessions finds refresh tokens of old generations.
    async fn search_for_a_token_stops_and_reports_its_limits(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let first = signed_in(&server.url).await;
        let session = SessionId::parse(&sid(&first.access)).unwrap();
        let rotated = format!("UPDATE sessions SET generation = 100000 WHERE id = '{session}'");
        match backend {
            Backend::Embedded => {
                let mut sqlite = SqliteConnection::establish(place.path("data/latchkey.db").to_str().unwrap()).unwrap();
                diesel::sql_query(rotated).execute(&mut sqlite).unwrap();
            }
            Backend::PostgresAndRedis => servers::execute(&place.database(), &rotated).await,
        }
        let recent = place.run(&format!("why {}", session.refresh_jti(99_990)));
        assert!(recent.done().contains("its refresh token of generation 99990"), "{}", recent.out);

        let unknown = SessionId::new(uuid::Uuid::from_u128(7)).refresh_jti(0);
        for id in [session.refresh_jti(3), unknown.clone()] {
            let outcome = place.run(&format!("why {id}"));
            let line = outcome.refused(1);
            assert!(
                line.starts_with(&format!(
                    "{id} was not found among 64 refresh tokens of 1 session. The search covers"
                )),
                "{line}"
            );
            assert!(
                line.contains("up to 200000 sessions, for up to 5 seconds") && line.ends_with("or --exhaustive"),
                "{line}"
            );
        }
        let old = place.run(&format!("why {} --exhaustive", session.refresh_jti(3)));
        assert!(old.out.contains("its refresh token of generation 3, which is spent"), "{old:?}");
        assert!(place.run(&format!("why {unknown} --exhaustive")).err.contains("no user, session or token matches"));
    }

    async fn why_of_a_reuse_shows_both_addresses(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("--refresh-reuse-grace 0s");
        let first = signed_in(&server.url).await;
        let body = json!({ "refresh": first.refresh });
        let refresh = format!("{}/api/token/refresh/", server.url);
        from("127.0.0.3", "tablet", &refresh, &body).await.pair();
        assert_eq!(from("127.0.0.4", "curl/8", &refresh, &body).await.status, 401);
        server.stop("TERM");
        let session = sid(&first.access);
        reads(&place, &claim(&first.refresh, "jti"), &format!("
            Session {session} of ada (…).
            The token is its refresh token of generation 0, which is spent. The current generation is 1.
            It was refreshed once, at TIME from 127.0.0.3 with \"tablet\".

            TIME  the user signed in from 127.0.0.1 with \"phone\".
            TIME  the spent refresh token of generation 0 was presented again from 127.0.0.4 with \"curl/8\", … s after the client at 127.0.0.3 received generation 1. It came from a client with another address and another user agent. Either a client repeated an old refresh, such as a suspended tab or a restored device, or one of the two clients has a stolen token. The session was revoked.
            TIME  a refresh token was refused by a refresh (reuse) from 127.0.0.4 with \"curl/8\".

            The session was revoked at TIME: a spent refresh token was presented again. All its tokens are refused."));
    }

    async fn why_shows_a_foreign_repeat_and_a_reuse_by_verify(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("--refresh-reuse-grace 10m");
        let first = signed_in(&server.url).await;
        let body = json!({ "refresh": first.refresh });
        let refresh = format!("{}/api/token/refresh/", server.url);
        from("127.0.0.1", "phone", &refresh, &body).await.pair();
        from("127.0.0.3", "phone", &refresh, &body).await.pair();
        let question = json!({ "token": first.refresh });
        assert_eq!(from("127.0.0.4", "curl/8", &format!("{}/api/token/verify/", server.url), &question).await.status, 400);
        server.stop("TERM");
        let session = sid(&first.access);
        reads(&place, &session, &format!("
            Session {session} of ada (…).
            It was refreshed once, at TIME from 127.0.0.1 with \"phone\".

            TIME  the user signed in from 127.0.0.1 with \"phone\".
            TIME  a client with another address repeated its last refresh within the reuse grace, and received generation 1 again from 127.0.0.3 with \"phone\".
            TIME  the spent refresh token of generation 0 was presented again to verify from 127.0.0.4 with \"curl/8\", … s after the client at 127.0.0.1 received generation 1. It came from a client with another address and another user agent. Either a client repeated an old refresh, such as a suspended tab or a restored device, or one of the two clients has a stolen token. The session was revoked.
            TIME  a refresh token was refused by verify (reuse) from 127.0.0.4 with \"curl/8\".

            The session was revoked at TIME: a spent refresh token was presented again. All its tokens are refused."));
    }

    async fn why_shows_that_all_repeats_were_used(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("--refresh-reuse-grace 10m");
        let first = signed_in(&server.url).await;
        let body = json!({ "refresh": first.refresh });
        let refresh = format!("{}/api/token/refresh/", server.url);
        from("127.0.0.1", "phone", &refresh, &body).await.pair();
        for status in [200, 200, 200, 401] {
            assert_eq!(from("127.0.0.1", "curl/8", &refresh, &body).await.status, status);
        }
        server.stop("TERM");
        let outcome = place.run(&format!("why {}", sid(&first.access)));
        let expected = "It came from a client with another user agent, after the 3 repeats that such clients may have. \
             Either a client repeated an old refresh, such as a suspended tab or a restored device, or one of the two clients has a stolen token. The session was revoked.";
        assert!(outcome.done().contains(expected), "{}", outcome.done());
    }

    async fn why_names_the_cause_of_a_revocation(backend: Backend) {
        let place = Place::on(backend).await.with("USER", "grace");
        place.user("ada", PASSWORD);
        let server = place.serve("--sessions-per-user 4");
        let mut pairs = Vec::new();
        for _ in 0..5 {
            pairs.push(signed_in(&server.url).await);
        }
        server.blacklist(&pairs[1].refresh).await.expect(200, "{}");
        place.run(&format!("sessions revoke --session {}", sid(&pairs[2].access))).done();
        let client = reqwest::Client::new();
        let authorization = format!("Bearer {}", pairs[4].access);
        let one = format!("{}/api/auth/sessions/{}/", server.url, sid(&pairs[3].access));
        assert_eq!(client.delete(one).header("authorization", &authorization).send().await.unwrap().status(), 204);
        let signed_in = "TIME  the user signed in from 127.0.0.1 with \"phone\".";
        for (pair, revoked, reason) in [
            (&pairs[0], "the session was revoked: the user had too many sessions, and this was the oldest.", "the user had too many sessions, and this was the oldest"),
            (&pairs[1], "the session was revoked: the user logged out from 127.0.0.1.", "the user logged out"),
            (&pairs[2], "the session was revoked: an operator (grace) ended it.", "an operator ended it"),
            (&pairs[3], "the session was revoked: the user ended it in the list of sessions from 127.0.0.1.", "the user ended it in the list of sessions"),
        ] {
            let id = sid(&pair.access);
            reads(&place, &id, &format!("Session {id} of ada (…).\nIt has not been refreshed.\n\n{signed_in}\nTIME  {revoked}\n\nThe session was revoked at TIME: {reason}. All its tokens are refused."));
        }
    }

    /// The user signs out everywhere from another session, an operator revokes all sessions, and
    /// the user is deleted.
    async fn why_names_the_cause_of_a_stale_epoch(backend: Backend) {
        let place = Place::on(backend).await.with("USER", "grace");
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let (here, there) = (signed_in(&server.url).await, signed_in(&server.url).await);
        let client = reqwest::Client::new();
        let everywhere = client.post(format!("{}/api/auth/logout/all/", server.url));
        assert_eq!(everywhere.header("authorization", format!("Bearer {}", there.access)).send().await.unwrap().status(), 200);
        let state = "The session was revoked, with all sessions of the user. All its tokens are refused.";
        for pair in [&here, &there] {
            let id = sid(&pair.access);
            reads(&place, &id, &format!("Session {id} of ada (…).\nIt has not been refreshed.\n\nTIME  the user signed in from 127.0.0.1 with \"phone\".\nTIME  all sessions of the user were revoked: the user signed out everywhere from 127.0.0.1.\n\n{state}"));
        }
        let again = signed_in(&server.url).await;
        place.run("sessions revoke --all").done();
        let id = sid(&again.access);
        let story = format!("Session {id} of ada (…).\nIt has not been refreshed.\n\nTIME  the user signed in from 127.0.0.1 with \"phone\".\nTIME  all sessions of all users were revoked, by an operator (grace).");
        reads(&place, &id, &format!("{story}\n\n{state}"));
        place.run("users delete ada").done();
        let story = story.replace("of ada (…)", "of a user who was deleted (…)");
        reads(&place, &id, &format!("{story}\nTIME  all sessions of the user were revoked: the user was deleted, by an operator (grace).\n\nThe session has ended: the user was deleted. All its tokens are refused."));
    }
}

/// The audit trail keeps the events of a removed session. With `--audit-refreshes`, it names every
/// access token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_session_still_has_its_events() {
    let url = servers::fresh_database().await;
    let place = Place::new().with("DATABASE_URL", &url);
    place.user("ada", PASSWORD);
    let server = place.serve("--audit-refreshes true");
    let first = signed_in(&server.url).await;
    let next = server.refresh(&first.refresh).await.pair();
    server.stop("TERM");
    let (id, jti) = (sid(&next.access), claim(&next.access, "jti"));
    let events = "TIME  the user signed in from 127.0.0.1 with \"phone\".\nTIME  it was refreshed to generation 1, from 127.0.0.1.";
    let state = "It was refreshed once, at TIME from 127.0.0.1.";
    reads(
        &place,
        &jti,
        &format!(
            "Session {id} of ada (…).\nThe token is one of its access tokens.\n{state}\n\n{events}\n\nThe session is live, and expires at TIME."
        ),
    );
    servers::execute(url.rsplit('/').next().unwrap(), "DELETE FROM sessions").await;
    for known in [id, jti] {
        let ended = "The session has ended, and is no longer in the database. Its events in the audit trail:";
        reads(&place, &known, &format!("{ended}\n\n{events}"));
    }
}

mod of_a_user {
    use serde_json::json;

    use super::{from, reads, signed_in};
    use latchkey_testkit::{Backend, PASSWORD, Place, claim, on_both_backends, servers, sid};

    on_both_backends! {
        async fn why_of_a_user_lists_refusals_and_revocations(backend: Backend) {
            let place = Place::on(backend).await.with("USER", "grace");
            place.user("ada", PASSWORD);
            place.run("why ada").done();
            let nothing = "User ada (…) is active, with 0 live sessions. Last sign-in: never.\n\nNothing was refused or ended in the last 7 days.";
            reads(&place, "ADA", nothing);
            let server = place.serve("");
            let pair = signed_in(&server.url).await;
            let wrong = json!({ "username": "ada", "password": "wrong" });
            assert_eq!(from("127.0.0.3", "curl/8", &format!("{}/api/token/", server.url), &wrong).await.status, 401);
            server.blacklist(&pair.refresh).await.expect(200, "{}");
            assert_eq!(server.refresh(&pair.refresh).await.status, 401);
            servers::eventually("the refusals are logged", async || {
                let log = server.log();
                let line = |what: &str| log.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
                let (sign_in, token) = (line("sign-in refused"), line("token refused"));
                sign_in.contains("127.0.0.3") && sign_in.contains(&claim(&pair.access, "sub"))
                    && token.contains(&sid(&pair.access)) && token.contains("127.0.0.1") && token.contains(&claim(&pair.access, "sub"))
            })
            .await;
            server.stop("TERM");
            let session = sid(&pair.access);
            let story = format!("
                User ada (…) is active, with 0 live sessions. Last sign-in: TIME.

                Refused or ended in the last 7 days:
                TIME  a sign-in was refused (wrong_password) from 127.0.0.3 with \"curl/8\".
                TIME  the session was revoked: the user logged out from 127.0.0.1. Session {session}.
                TIME  a refresh token was refused by a refresh (logged_out) from 127.0.0.1. Session {session}.");
            reads(&place, "ada", &story);
            reads(&place, &claim(&pair.access, "sub"), &story);
            place.run("users deactivate ada").done();
            assert!(place.run("why ada").done().contains("is inactive. All sign-ins and tokens are refused.\n"));
            place.run("users delete ada").done();
            place.run("why ada").refused(1);
            let deleted = place.run(&format!("why {}", claim(&pair.access, "sub")));
            assert!(deleted.done().contains("was deleted. All sign-ins and tokens are refused.\n"), "{deleted:?}");
        }
    }
}
