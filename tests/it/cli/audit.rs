//! `latchkey audit`, and the retention of the audit trail.

use latchkey_domain::{audit::EventKind, session::RevokedReason};
use serde_json::{Value, json};

use latchkey_testkit::{Backend, PASSWORD, Place, claim, on_both_backends, servers, sid};

/// Returns the events that `latchkey audit` prints.
fn shown(place: &Place, words: &str) -> Vec<Value> {
    let outcome = place.run(&format!("audit --json {words}"));
    outcome
        .done()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect()
}

on_both_backends! {
    async fn queued_audit_events_are_written_at_a_stop(backend: Backend) {
        let place = Place::on(backend).await;
        place.user("ada", PASSWORD);
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        for _ in 0..3 {
            server.obtain("ada", "wrong").await;
            assert_eq!(server.get("/api/auth/user/").await.status, 401);
            server.blacklist(&pair.access).await;
        }
        let (status, _) = server.stop("TERM");
        assert!(status.success());
        let events = shown(&place, "");
        let times = |name: &str| events.iter().filter(|event| event["event"] == name).map(|event| event["times"].as_u64().unwrap()).sum::<u64>();
        assert_eq!((times("sign_in_refused"), times("token_refused")), (3, 3), "{events:#?}");
    }

    async fn audit_prints_a_table_or_json_lines_of_one_or_all_users(backend: Backend) {
        let place = Place::on(backend).await.with("USER", "grace");
        place.user("ada", PASSWORD);
        place.user("bob", PASSWORD);
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        server.pair("bob", PASSWORD).await;
        place.run(&format!("sessions revoke --session {}", sid(&pair.access))).done();
        let all = shown(&place, "");
        let expected = ["user_created", "user_created", "key_made", "key_made", "sign_in", "sign_in", "session_revoked"];
        assert_eq!(names(&all), expected);
        let of_ada = shown(&place, "--user ADA --since 5m");
        assert_eq!(names(&of_ada), ["user_created", "sign_in"]);
        assert!(shown(&place, "--since 0s").is_empty());
        let sign_in = &of_ada[1];
        let keys: Vec<&String> = sign_in.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["id", "at", "event", "cause", "actor", "user", "username", "session", "jti", "ip", "user_agent", "details", "times"]);
        assert_eq!((&sign_in["ip"], &sign_in["session"], &sign_in["times"]), (&json!("127.0.0.1"), &json!(sid(&pair.access)), &json!(1)));
        assert_eq!(all[6]["actor"], "operator grace");
        let table = place.run("audit").done().to_owned();
        assert_eq!(table.lines().count(), 8, "{table}");
        assert!(table.starts_with("TIME (UTC)") && table.contains("operator grace"), "{table}");

        let id = claim(&pair.access, "sub");
        place.run("users delete ada").done();
        assert_eq!(names(&shown(&place, &format!("--user {id}"))), ["user_created", "sign_in", "cut_off"]);
        let unknown = place.run("audit --user ada");
        assert_eq!(unknown.refused(1), "there is no user ada, and no event of a deleted user with this id in this period");
        assert_eq!(place.run("audit --user ada --json").refused(1), unknown.refused(1));
        assert_eq!(place.run("audit --user bob --since 0s").done(), "there are no events in this period\n");
        place.run("audit --since yesterday").refused(2);
    }

    async fn audit_shows_usernames_and_filters_by_time_and_event(backend: Backend) {
        let place = Place::on(backend).await.with("LATCHKEY_OPERATOR", "grace");
        place.user("ada", PASSWORD);
        place.user("bob", PASSWORD);
        place.run("users deactivate ada").done();
        let id = place.run("users show ada --json").json()["id"].as_str().unwrap().to_owned();
        let table = place.run("audit --event user_created").done().to_owned();
        assert!(table.contains(&format!("ada ({id})")) && !table.contains("cut_off"), "{table}");
        let both = shown(&place, "--event user_created --event cut_off --user ada");
        assert_eq!(names(&both), ["user_created", "cut_off"]);
        assert_eq!((&both[0]["username"], &both[0]["actor"]), (&json!("ada"), &json!("operator grace")));
        assert!(shown(&place, "--until 1h").is_empty());
        assert_eq!(shown(&place, "--since 2000-01-01 --until 2999-12-31T23:59:59Z").len(), 3);
        assert_eq!(shown(&place, "--since 2000-01-01T00:00 --until 0s").len(), 3);
        let unknown = place.run("audit --event sign_out");
        let line = unknown.refused(2);
        assert!(line.starts_with("--event is \"sign_out\"") && line.contains("sign_in_refused"), "{line}");
        assert!(place.run("audit --until 2d").refused(2).starts_with("--until is not after --since"));
        for wrong in ["now", "2026-13-01", "-1h", "1h2"] {
            place.run(&format!("audit --until={wrong}")).refused(2);
        }
        place.run("users delete ada").done();
        let deleted = shown(&place, &format!("--user {id}"));
        assert_eq!((deleted.len(), &deleted[0]["username"]), (3, &json!(null)));
    }
}

#[test]
fn every_event_and_reason_is_documented() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/reference/audit.md"
    ))
    .unwrap();
    for kind in EventKind::ALL {
        assert!(
            text.contains(&format!("\n| `{}` |", kind.as_str())),
            "{kind:?}"
        );
    }
    for reason in RevokedReason::ALL {
        assert!(
            text.contains(&format!("`{}`", reason.as_str())),
            "{reason:?}"
        );
    }
}

/// The events are inserted with times in the past, in place of a wait.
#[tokio::test]
async fn audit_events_are_removed_after_the_retention() {
    let url = servers::fresh_database().await;
    let place = Place::new().with("DATABASE_URL", &url);
    place.user("ada", PASSWORD);
    let database = url.rsplit('/').next().unwrap();
    let old = "INSERT INTO audit_events (at, event, actor, details, times) SELECT now() AT TIME ZONE 'UTC' - d * interval '1 day', 'sign_in', 'user', '{}', 1 FROM generate_series(1, 1200) d";
    servers::execute(database, old).await;
    assert_eq!(
        shown(&place, "--since 36500d").len(),
        1201,
        "more than a page"
    );
    let forever = Place::new()
        .with("DATABASE_URL", &url)
        .with("LATCHKEY_AUDIT_RETENTION", "0");
    assert_eq!(
        forever.run("flush-expired").done(),
        "removed 0 sessions, 0 deleted users and 0 audit events\n"
    );
    assert_eq!(
        place.run("flush-expired").done(),
        "removed 0 sessions, 0 deleted users and 1111 audit events\n"
    );
    assert_eq!(shown(&place, "--since 36500d").len(), 90);
    place.run("flush-expired --audit-retention 1d").done();
    assert_eq!(names(&shown(&place, "--since 36500d")), ["user_created"]);
}
