//! Contract of `AuditStore`, and the audit events of the other stores.

use futures_util::future::join_all;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind, Origin},
    ids::UserId,
    ports::{AuditQuery, AuditStore, NewSession, Revoke, SessionStore, UserStore},
    session::{RevokedReason, Session},
};

use super::store::{
    Store, after, at, audit_event, hash, new_session, new_user, revocation, start, to_micros,
    unknown_user,
};

fn refused(second: i64, cause: &'static str) -> AuditEvent {
    AuditEvent::new(after(second), EventKind::TokenRefused, Actor::Client).with_cause(cause)
}

fn everything() -> AuditQuery {
    AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    }
}

/// Returns the causes of the matching events.
async fn causes(store: &Store, query: AuditQuery) -> Vec<String> {
    let events = store.sql.events(&query).await.unwrap();
    events
        .into_iter()
        .map(|event| event.cause.unwrap_or_default())
        .collect()
}

on_both_databases! {
    async fn operator_filter_matches_every_operator_and_no_other_actor(store: Store) {
        let by = |second, actor| (AuditEvent::new(after(second), EventKind::SessionRevoked, actor).with_cause("x"), 1);
        let operators = [by(1, Actor::Operator(None)), by(2, Actor::Operator(Some("ada %_".to_owned())))];
        let others = [by(3, Actor::Client), by(4, Actor::Service), by(5, Actor::User)];
        store.sql.append(&[operators, [others[0].clone(), others[1].clone()]].concat()).await.unwrap();
        let found = store.sql.events(&AuditQuery { by_operators: true, ..everything() }).await.unwrap();
        assert_eq!(found.iter().map(|event| event.actor.as_str()).collect::<Vec<_>>(), ["operator", "operator ada %_"]);
    }

    async fn event_is_stored_unchanged(store: Store) {
        let session = store.session(&store.user("ada").await).await;
        let origin = Origin { ip: Some("2001:db8::1".to_owned()), user_agent: Some("Länder \u{1f511} \"'\\".to_owned()) };
        let event = refused(0, "spent")
            .of_user(&session.user_id)
            .of_session(session.id)
            .of_token("0123")
            .from(&origin)
            .with("view", "verify")
            .with("odd", "a \"quote\", a \\ and a 🔑");
        store.sql.append(&[(event, 7), (refused(1, "plain"), 1)]).await.unwrap();
        let stored = store.sql.events(&AuditQuery { jti: Some("0123".to_owned()), ..everything() }).await.unwrap();
        assert_eq!(stored.len(), 1);
        let stored = &stored[0];
        assert_eq!((stored.event.as_str(), stored.cause.as_deref(), stored.actor.as_str()), ("token_refused", Some("spent"), "client"));
        assert_eq!((stored.at, stored.times, &stored.origin), (to_micros(start()), 7, &origin));
        assert_eq!((stored.user.as_ref(), stored.session), (Some(&session.user_id), Some(session.id)));
        let mut details = stored.details.clone();
        details.sort();
        let expected = [("odd", "a \"quote\", a \\ and a 🔑"), ("view", "verify")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(details, expected);
        let bare = store.sql.events(&AuditQuery { after: Some((stored.at, stored.id)), ..everything() }).await.unwrap();
        assert_eq!((bare[0].user.clone(), bare[0].session, bare[0].jti.clone(), bare[0].details.len()), (None, None, None, 0));
        assert_eq!(bare[0].origin, Origin::default());
    }

    async fn events_are_filtered_and_paged_oldest_first(store: Store) {
        let (ada, bob) = (UserId::new("ada"), UserId::new("bob"));
        let events: Vec<_> = (0..6).map(|number| {
            let event = refused(number, ["zero", "one", "two", "three", "four", "five"][usize::try_from(number).unwrap()]);
            (event.of_user(if number % 2 == 0 { &ada } else { &bob }), 1)
        }).collect();
        store.sql.append(&events).await.unwrap();
        let event = AuditEvent::new(after(9), EventKind::AllSessionsRevoked, Actor::User).with_cause("left").of_user(&ada);
        store.sql.append(&[(event, 1)]).await.unwrap();
        let of_ada = AuditQuery { user: Some(ada), ..everything() };
        assert_eq!(causes(&store, of_ada.clone()).await, ["zero", "two", "four", "left"]);
        assert_eq!(causes(&store, AuditQuery { since: Some(after(2)), ..of_ada.clone() }).await, ["two", "four", "left"]);
        assert_eq!(causes(&store, AuditQuery { kinds: vec![EventKind::AllSessionsRevoked], ..everything() }).await, ["left"]);
        assert!(causes(&store, AuditQuery { user: Some(unknown_user()), ..everything() }).await.is_empty());
        let first = store.sql.events(&AuditQuery { limit: 2, ..of_ada.clone() }).await.unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(causes(&store, AuditQuery { after: Some((first[1].at, first[1].id)), ..of_ada }).await, ["four", "left"]);
    }

    async fn purge_removes_old_events_in_batches(store: Store) {
        let events: Vec<_> = (0..5).map(|number| (refused(number, "old"), 1)).chain([(refused(5, "young"), 1)]).collect();
        store.sql.append(&events).await.unwrap();
        let purge = async |limit| AuditStore::purge(&store.sql, after(5), limit).await.unwrap();
        assert_eq!((purge(3).await, purge(3).await, purge(3).await), (3, 2, 0));
        assert_eq!(causes(&store, everything()).await, ["young"]);
    }

    async fn event_cannot_be_updated(store: Store) {
        store.sql.append(&[(refused(0, "spent"), 1)]).await.unwrap();
        for change in ["cause = 'nothing'", "times = times + 1", "at = at"] {
            let error = store.execute(&format!("UPDATE audit_events SET {change}")).await.unwrap_err();
            assert!(error.contains("audit events are not changed"), "{error}");
        }
        assert_eq!(causes(&store, everything()).await, ["spent"]);
    }

    /// Claims of a token contain any text. An event that the database rejects would block all later
    /// ones.
    async fn unsupported_characters_of_claims_are_removed(store: Store) {
        let long = "🔑".repeat(5000);
        let odd = refused(0, "odd").of_token("a\0b").of_user(&UserId::new("x\0y"));
        store.sql.append(&[(odd, 1), (refused(1, "long").of_token(&*long).of_user(&UserId::new(&*long)), 1)]).await.unwrap();
        let stored = store.sql.events(&everything()).await.unwrap();
        assert_eq!((stored[0].jti.as_deref(), stored[0].user.as_ref().map(UserId::as_str)), (Some("ab"), Some("xy")));
        assert_eq!(stored[1].jti.as_ref().unwrap().chars().count(), 255);
    }

    async fn ineffective_change_adds_no_event(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        let before = causes(&store, everything()).await.len();
        assert!(!store.insert(&Session { session_epoch: 1, ..new_session(&ada) }).await);
        store.sql.revoke_all_sessions(&at(&ada.id, after(1)), Some(7)).await.unwrap();
        store.sql.set_active(&at(&ada.id, after(1)), true).await.unwrap();
        store.sql.revoke_all_sessions(&at(&unknown_user(), after(1)), None).await.unwrap();
        UserStore::insert(&store.sql, new_user("ADA"), audit_event(start())).await.unwrap_err();
        store.sql.trim(&session, 1, audit_event(after(1))).await.unwrap();
        let revoke = |id, of| Revoke { of, ..revocation(id, RevokedReason::User, after(1)) };
        store.sql.revoke(revoke(new_session(&ada).id, None)).await.unwrap();
        for of in [(unknown_user(), 0), (ada.id.clone(), 1)] {
            let (_, by_us) = store.sql.revoke(revoke(session.id, Some(of))).await.unwrap().unwrap_or((session.clone(), false));
            assert!(!by_us);
        }
        assert_eq!(causes(&store, everything()).await.len(), before);
        assert_eq!(store.stored(session.id).await.unwrap().revoked, None);
    }

    /// A revocation and its audit event are one transaction: neither exists without the other.
    async fn change_fails_if_its_event_cannot_be_stored(store: Store) {
        let ada = store.user("ada").await;
        let (old, young) = (store.session(&ada).await, Session { created_at: after(1), ..new_session(&ada) });
        assert!(store.insert(&young).await);
        store.execute("ALTER TABLE audit_events RENAME TO elsewhere").await.unwrap();
        let (sql, now) = (&store.sql, after(2));
        let unsaved = new_session(&ada);
        for update_last_login in [true, false] {
            let new = NewSession { session: unsaved.clone(), update_last_login, audit: audit_event(now) };
            SessionStore::insert(sql, new).await.unwrap_err();
        }
        sql.revoke(revocation(old.id, RevokedReason::LoggedOut, now)).await.unwrap_err();
        sql.revoke(Revoke { of: Some((ada.id.clone(), 0)), ..revocation(old.id, RevokedReason::User, now) }).await.unwrap_err();
        sql.trim(&young, 1, audit_event(now)).await.unwrap_err();
        sql.revoke_all_sessions(&at(&ada.id, now), None).await.unwrap_err();
        sql.revoke_all_sessions(&at(&ada.id, now), Some(0)).await.unwrap_err();
        sql.set_active(&at(&ada.id, now), false).await.unwrap_err();
        sql.set_password(&at(&ada.id, now), &hash("another")).await.unwrap_err();
        UserStore::delete(sql, &at(&ada.id, now)).await.unwrap_err();
        UserStore::insert(sql, new_user("bob"), audit_event(now)).await.unwrap_err();

        store.execute("ALTER TABLE elsewhere RENAME TO audit_events").await.unwrap();
        assert_eq!(store.stored(unsaved.id).await, None);
        for session in [&old, &young] {
            assert_eq!(store.stored(session.id).await.unwrap().revoked, None);
        }
        assert_eq!(store.user_of(&old).await.unwrap(), ada, "neither the epoch nor the last login has changed");
        assert_eq!(sql.find_by_username(&super::store::name("bob")).await.unwrap(), None);
        assert!(sql.revoke(revocation(old.id, RevokedReason::LoggedOut, now)).await.unwrap().unwrap().1);
    }

    async fn revocation_for_a_user_needs_a_live_session_of_that_user(store: Store) {
        let (ada, eve) = (store.user("ada").await, store.user("eve").await);
        let session = store.session(&ada).await;
        let expired = Session { expires_at: after(10), ..new_session(&ada) };
        assert!(store.insert(&expired).await);
        let end = async |id, user: &UserId, epoch, second| {
            let of = Some((user.clone(), epoch));
            let ended = store.sql.revoke(Revoke { of, ..revocation(id, RevokedReason::User, after(second)) }).await.unwrap();
            ended.map(|(session, by_us)| (session.revoked.is_some(), by_us))
        };
        assert_eq!(end(session.id, &eve.id, 0, 1).await, None, "session of another user");
        assert_eq!(end(expired.id, &ada.id, 0, 10).await, Some((false, false)), "expired");
        assert_eq!(end(session.id, &ada.id, 1, 1).await, Some((false, false)), "wrong epoch");
        assert_eq!(end(session.id, &ada.id, 0, 1).await, Some((true, true)));
        assert_eq!(end(session.id, &ada.id, 0, 1).await, Some((true, false)), "revoked already");
    }

    /// The last trim decides, and keeps its own session only while that is live.
    async fn trim_keeps_the_newest_sessions_up_to_the_limit(store: Store) {
        let ada = store.user("ada").await;
        let mut sessions = Vec::new();
        for second in 0..6 {
            let session = Session { created_at: after(second), ..new_session(&ada) };
            assert!(store.insert(&session).await);
            sessions.push(session);
        }
        let other = store.session(&store.user("eve").await).await;
        let trim = async |newest: usize| {
            let trimmed = store.sql.trim(&sessions[newest], 3, audit_event(after(9))).await.unwrap();
            let mut trimmed: Vec<_> = trimmed.iter().map(|trimmed| sessions.iter().position(|session| session.id == trimmed.id).unwrap()).collect();
            trimmed.sort_unstable();
            trimmed
        };
        // A late trim for an old session keeps that session. A session it revoked takes no place in
        // later trims.
        assert_eq!(trim(1).await, [0, 2, 3]);
        assert_eq!(trim(2).await, [0; 0]);
        assert_eq!(trim(5).await, [0; 0]);
        assert_eq!(store.stored(other.id).await.unwrap().revoked, None);
        let events = store.sql.events(&AuditQuery { user: Some(ada.id.clone()), session: Some(sessions[0].id), ..everything() }).await.unwrap();
        assert_eq!(events.len(), 1, "each revoked session has an event with its user and its id");
    }

    /// Concurrent sign-ins cause such trims: each keeps its own session and revokes others.
    async fn concurrent_trims_see_each_other(store: Store) {
        for round in 0..5 {
            let ada = store.user(&format!("user{round}")).await;
            let sessions: Vec<Session> = (0..8).map(|_| new_session(&ada)).collect();
            for session in &sessions {
                assert!(store.insert(session).await);
            }
            let trims = sessions.iter().map(|session| store.sql.trim(session, 3, audit_event(after(1))));
            let trimmed: usize = join_all(trims).await.into_iter().map(|trimmed| trimmed.unwrap().len()).sum();
            assert_eq!(trimmed, 5, "each session was revoked by one trim");
            assert_eq!(store.sql.list_live(&ada.id, after(1)).await.unwrap().len(), 3);
        }
    }
}
