//! The contract of `AuditStore`, and what the other stores promise about the audit trail.

use futures_util::future::join_all;
use latchkey::{
    domain::{
        audit::{Actor, AuditEvent, EventKind, Origin},
        ids::UserId,
        session::{RevokedReason, Session},
    },
    ports::{AuditQuery, AuditStore, NewSession, Revoke, SessionStore, UserStore},
};

use super::store::{
    Store, after, at, cut, hash, new_session, new_user, revocation, start, stranger, told,
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

/// The causes of the events that fit.
async fn causes(store: &Store, query: AuditQuery) -> Vec<String> {
    let events = store.sql.events(&query).await.unwrap();
    events
        .into_iter()
        .map(|event| event.cause.unwrap_or_default())
        .collect()
}

on_both_databases! {
    async fn events_by_operators_alone_are_those_of_every_operator_and_no_other_actor(store: Store) {
        let by = |second, actor| (AuditEvent::new(after(second), EventKind::SessionRevoked, actor).with_cause("x"), 1);
        let operators = [by(1, Actor::Operator(None)), by(2, Actor::Operator(Some("ada %_".to_owned())))];
        let others = [by(3, Actor::Client), by(4, Actor::Service), by(5, Actor::User)];
        store.sql.append(&[operators, [others[0].clone(), others[1].clone()]].concat()).await.unwrap();
        let found = store.sql.events(&AuditQuery { by_operators: true, ..everything() }).await.unwrap();
        assert_eq!(found.iter().map(|event| event.actor.as_str()).collect::<Vec<_>>(), ["operator", "operator ada %_"]);
    }

    async fn an_event_is_kept_as_it_was_told(store: Store) {
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
        let kept = store.sql.events(&AuditQuery { jti: Some("0123".to_owned()), ..everything() }).await.unwrap();
        assert_eq!(kept.len(), 1);
        let kept = &kept[0];
        assert_eq!((kept.event.as_str(), kept.cause.as_deref(), kept.actor.as_str()), ("token_refused", Some("spent"), "client"));
        assert_eq!((kept.at, kept.times, &kept.origin), (cut(start()), 7, &origin));
        assert_eq!((kept.user.as_ref(), kept.session), (Some(&session.user_id), Some(session.id)));
        let mut details = kept.details.clone();
        details.sort();
        let expected = [("odd", "a \"quote\", a \\ and a 🔑"), ("view", "verify")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(details, expected);
        let bare = store.sql.events(&AuditQuery { after: Some((kept.at, kept.id)), ..everything() }).await.unwrap();
        assert_eq!((bare[0].user.clone(), bare[0].session, bare[0].jti.clone(), bare[0].details.len()), (None, None, None, 0));
        assert_eq!(bare[0].origin, Origin::default());
    }

    async fn events_are_found_by_all_that_is_asked_of_them_in_pages_the_oldest_first(store: Store) {
        let (ada, bob) = (UserId::new("ada"), UserId::new("bob"));
        let events: Vec<_> = (0..6).map(|number| {
            let event = refused(number, ["zero", "one", "two", "three", "four", "five"][usize::try_from(number).unwrap()]);
            (event.of_user(if number % 2 == 0 { &ada } else { &bob }), 1)
        }).collect();
        store.sql.append(&events).await.unwrap();
        let cut_off = AuditEvent::new(after(9), EventKind::AllSessionsRevoked, Actor::User).with_cause("left").of_user(&ada);
        store.sql.append(&[(cut_off, 1)]).await.unwrap();
        let of_ada = AuditQuery { user: Some(ada), ..everything() };
        assert_eq!(causes(&store, of_ada.clone()).await, ["zero", "two", "four", "left"]);
        assert_eq!(causes(&store, AuditQuery { since: Some(after(2)), ..of_ada.clone() }).await, ["two", "four", "left"]);
        assert_eq!(causes(&store, AuditQuery { kinds: vec![EventKind::AllSessionsRevoked], ..everything() }).await, ["left"]);
        assert!(causes(&store, AuditQuery { user: Some(stranger()), ..everything() }).await.is_empty());
        let first = store.sql.events(&AuditQuery { limit: 2, ..of_ada.clone() }).await.unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(causes(&store, AuditQuery { after: Some((first[1].at, first[1].id)), ..of_ada }).await, ["four", "left"]);
    }

    async fn old_events_go_so_many_at_a_time_and_the_others_stay(store: Store) {
        let events: Vec<_> = (0..5).map(|number| (refused(number, "old"), 1)).chain([(refused(5, "young"), 1)]).collect();
        store.sql.append(&events).await.unwrap();
        let purge = async |limit| AuditStore::purge(&store.sql, after(5), limit).await.unwrap();
        assert_eq!((purge(3).await, purge(3).await, purge(3).await), (3, 2, 0));
        assert_eq!(causes(&store, everything()).await, ["young"]);
    }

    async fn an_event_is_never_changed(store: Store) {
        store.sql.append(&[(refused(0, "spent"), 1)]).await.unwrap();
        for change in ["cause = 'nothing'", "times = times + 1", "at = at"] {
            let error = store.execute(&format!("UPDATE audit_events SET {change}")).await.unwrap_err();
            assert!(error.contains("audit events are not changed"), "{error}");
        }
        assert_eq!(causes(&store, everything()).await, ["spent"]);
    }

    /// Claims of a token hold whatever its maker put there. One event that the database does not take would hold up
    /// all others for ever.
    async fn what_a_claim_may_hold_is_kept_as_far_as_it_can_be(store: Store) {
        let long = "🔑".repeat(5000);
        let odd = refused(0, "odd").of_token("a\0b").of_user(&UserId::new("x\0y"));
        store.sql.append(&[(odd, 1), (refused(1, "long").of_token(&*long).of_user(&UserId::new(&*long)), 1)]).await.unwrap();
        let kept = store.sql.events(&everything()).await.unwrap();
        assert_eq!((kept[0].jti.as_deref(), kept[0].user.as_ref().map(UserId::as_str)), (Some("ab"), Some("xy")));
        assert_eq!(kept[1].jti.as_ref().unwrap().chars().count(), 255);
    }

    async fn what_did_not_happen_is_not_told(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        let before = causes(&store, everything()).await.len();
        assert!(!store.insert(&Session { session_epoch: 1, ..new_session(&ada) }).await);
        store.sql.revoke_all_sessions(&at(&ada.id, after(1)), Some(7)).await.unwrap();
        store.sql.set_active(&at(&ada.id, after(1)), true).await.unwrap();
        store.sql.revoke_all_sessions(&at(&stranger(), after(1)), None).await.unwrap();
        UserStore::insert(&store.sql, new_user("ADA"), told(start())).await.unwrap_err();
        store.sql.trim(&session, 1, told(after(1))).await.unwrap();
        let revoke = |id, of| Revoke { of, ..revocation(id, RevokedReason::User, after(1)) };
        store.sql.revoke(revoke(new_session(&ada).id, None)).await.unwrap();
        for of in [(stranger(), 0), (ada.id.clone(), 1)] {
            let (_, by_us) = store.sql.revoke(revoke(session.id, Some(of))).await.unwrap().unwrap_or((session.clone(), false));
            assert!(!by_us);
        }
        assert_eq!(causes(&store, everything()).await.len(), before);
        assert_eq!(store.stored(session.id).await.unwrap().revoked, None);
    }

    /// What ends a session and what tells of it are one transaction: without the one there is not the other.
    async fn what_cannot_be_told_does_not_happen(store: Store) {
        let ada = store.user("ada").await;
        let (old, young) = (store.session(&ada).await, Session { created_at: after(1), ..new_session(&ada) });
        assert!(store.insert(&young).await);
        store.execute("ALTER TABLE audit_events RENAME TO elsewhere").await.unwrap();
        let (sql, now) = (&store.sql, after(2));
        let made = new_session(&ada);
        for update_last_login in [true, false] {
            let new = NewSession { session: made.clone(), update_last_login, audit: told(now) };
            SessionStore::insert(sql, new).await.unwrap_err();
        }
        sql.revoke(revocation(old.id, RevokedReason::LoggedOut, now)).await.unwrap_err();
        sql.revoke(Revoke { of: Some((ada.id.clone(), 0)), ..revocation(old.id, RevokedReason::User, now) }).await.unwrap_err();
        sql.trim(&young, 1, told(now)).await.unwrap_err();
        sql.revoke_all_sessions(&at(&ada.id, now), None).await.unwrap_err();
        sql.revoke_all_sessions(&at(&ada.id, now), Some(0)).await.unwrap_err();
        sql.set_active(&at(&ada.id, now), false).await.unwrap_err();
        sql.set_password(&at(&ada.id, now), &hash("another")).await.unwrap_err();
        UserStore::delete(sql, &at(&ada.id, now)).await.unwrap_err();
        UserStore::insert(sql, new_user("bob"), told(now)).await.unwrap_err();

        store.execute("ALTER TABLE elsewhere RENAME TO audit_events").await.unwrap();
        assert_eq!(store.stored(made.id).await, None);
        for session in [&old, &young] {
            assert_eq!(store.stored(session.id).await.unwrap().revoked, None);
        }
        assert_eq!(store.user_of(&old).await.unwrap(), ada, "neither cut off nor noted as signed in");
        assert_eq!(sql.find_by_username(&super::store::name("bob")).await.unwrap(), None);
        assert!(sql.revoke(revocation(old.id, RevokedReason::LoggedOut, now)).await.unwrap().unwrap().1);
    }

    async fn only_a_live_session_of_the_user_is_ended_for_the_user(store: Store) {
        let (ada, eve) = (store.user("ada").await, store.user("eve").await);
        let session = store.session(&ada).await;
        let over = Session { expires_at: after(10), ..new_session(&ada) };
        assert!(store.insert(&over).await);
        let end = async |id, user: &UserId, version, second| {
            let of = Some((user.clone(), version));
            let ended = store.sql.revoke(Revoke { of, ..revocation(id, RevokedReason::User, after(second)) }).await.unwrap();
            ended.map(|(session, by_us)| (session.revoked.is_some(), by_us))
        };
        assert_eq!(end(session.id, &eve.id, 0, 1).await, None, "another user's");
        assert_eq!(end(over.id, &ada.id, 0, 10).await, Some((false, false)), "over");
        assert_eq!(end(session.id, &ada.id, 1, 1).await, Some((false, false)), "cut off");
        assert_eq!(end(session.id, &ada.id, 0, 1).await, Some((true, true)));
        assert_eq!(end(session.id, &ada.id, 0, 1).await, Some((true, false)), "dead");
    }

    /// The last one to look decides, and counts itself only while nobody has ended it.
    async fn trims_keep_the_newest_whoever_looks_and_never_fewer_than_may_stay(store: Store) {
        let ada = store.user("ada").await;
        let mut sessions = Vec::new();
        for second in 0..6 {
            let session = Session { created_at: after(second), ..new_session(&ada) };
            assert!(store.insert(&session).await);
            sessions.push(session);
        }
        let other = store.session(&store.user("eve").await).await;
        let trim = async |newest: usize| {
            let gone = store.sql.trim(&sessions[newest], 3, told(after(9))).await.unwrap();
            let mut gone: Vec<_> = gone.iter().map(|gone| sessions.iter().position(|session| session.id == gone.id).unwrap()).collect();
            gone.sort_unstable();
            gone
        };
        // An old one that looks late stays for itself; who was ended by it takes nobody's place.
        assert_eq!(trim(1).await, [0, 2, 3]);
        assert_eq!(trim(2).await, [0; 0]);
        assert_eq!(trim(5).await, [0; 0]);
        assert_eq!(store.stored(other.id).await.unwrap().revoked, None);
        let told = store.sql.events(&AuditQuery { user: Some(ada.id.clone()), session: Some(sessions[0].id), ..everything() }).await.unwrap();
        assert_eq!(told.len(), 1, "each that goes is told of, with its user and its id");
    }

    /// As when many sign in at once: each would keep itself, and take the others for those that must go.
    async fn of_many_trims_at_once_all_see_what_the_others_did(store: Store) {
        for round in 0..5 {
            let ada = store.user(&format!("user{round}")).await;
            let sessions: Vec<Session> = (0..8).map(|_| new_session(&ada)).collect();
            for session in &sessions {
                assert!(store.insert(session).await);
            }
            let trims = sessions.iter().map(|session| store.sql.trim(session, 3, told(after(1))));
            let gone: usize = join_all(trims).await.into_iter().map(|gone| gone.unwrap().len()).sum();
            assert_eq!(gone, 5, "each that went was taken by one");
            assert_eq!(store.sql.list_live(&ada.id, after(1)).await.unwrap().len(), 3);
        }
    }
}
