//! Contract of `SessionStore`.

use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use latchkey_crypto::random;
use latchkey_domain::{
    ports::{NewSession, Rotation, SessionStore, UserStore as _},
    session::{RevokedReason, Session},
};

use super::store::{
    Store, after, at, audit_event, hash, name, new_session, revocation, rotation_of, start,
    stopped, to_micros, unknown_user,
};

on_every_rotation_store! {
    async fn session_is_stored_unchanged_with_times_in_microseconds(store: Store) {
        store.sql.ping().await.unwrap();
        let ada = store.user("ada").await;
        let session = Session { user_agent: Some("Länder/1.0 \u{1f511}".to_owned()), ..new_session(&ada) };
        assert!(store.insert(&session).await);
        let state = store.sql.find(session.id).await.unwrap().unwrap();
        let expected = Session {
            created_at: to_micros(session.created_at),
            rotated_at: to_micros(session.rotated_at),
            expires_at: to_micros(session.expires_at),
            ..session
        };
        assert_eq!((state.session, state.user), (expected, Some(ada)));
        assert_eq!(store.sql.find(random::session_id()).await.unwrap(), None);
    }

    async fn sign_in_updates_the_last_login_on_request(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        assert_eq!(store.user_of(&session).await.unwrap().last_login, None);
        let new = NewSession { session: new_session(&ada), update_last_login: true, audit: audit_event(start()) };
        assert!(store.sign_in(new).await);
        assert_eq!(store.user_of(&session).await.unwrap().last_login, Some(to_micros(start())));
    }

    async fn session_of_an_invalid_user_is_not_inserted(store: Store) {
        let ada = store.user("ada").await;
        let mut refused = vec![Session { session_epoch: 1, ..new_session(&ada) }];
        let inactive = store.user("inactive").await;
        let off = store.sql.set_active(&at(&inactive.id, after(1)), false).await.unwrap().unwrap();
        refused.push(new_session(&off));
        let stale = store.user("stale").await;
        store.sql.revoke_all_sessions(&at(&stale.id, after(1)), None).await.unwrap();
        refused.push(new_session(&stale));
        let deleted = store.user("deleted").await;
        store.sql.delete(&at(&deleted.id, after(1))).await.unwrap();
        refused.push(Session { session_epoch: 1, ..new_session(&deleted) });
        refused.push(Session { user_id: unknown_user(), ..new_session(&ada) });
        for session in refused {
            for update_last_login in [false, true] {
                let new = NewSession { session: session.clone(), update_last_login, audit: audit_event(start()) };
                assert!(!store.sign_in(new).await, "{session:?}");
            }
            assert_eq!(store.stored(session.id).await, None);
        }
        assert_eq!(store.sql.find_by_username(&name("stale")).await.unwrap().unwrap().last_login, None);
    }

    async fn rotation_stores_generation_time_and_client(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        let rotation = Rotation {
            id: session.id,
            user: ada.id.clone(),
            session_epoch: ada.session_epoch,
            generation: 0,
            ip: Some("2001:db8::1".to_owned()),
            user_agent: Some("a browser".to_owned()),
        };
        let state = store.rotations.rotate(rotation, &stopped(after(60))).await.unwrap().unwrap();
        let expected = Session {
            generation: 1,
            created_at: to_micros(session.created_at),
            rotated_at: to_micros(after(60)),
            expires_at: to_micros(session.expires_at),
            last_ip: Some("2001:db8::1".to_owned()),
            user_agent: Some("a browser".to_owned()),
            ..session.clone()
        };
        assert_eq!((&state.session, state.user), (&expected, Some(ada)));
        assert_eq!(store.stored(session.id).await, Some(expected));
    }

    async fn generation_is_rotated_once(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        assert_eq!(store.rotate(session.id, 0, after(1)).await, Some(1));
        for generation in [0, 2, u32::MAX] {
            assert_eq!(store.rotate(session.id, generation, after(2)).await, None);
        }
        assert_eq!(store.rotate(session.id, 1, after(3)).await, Some(2));
        let stored = store.stored(session.id).await.unwrap();
        assert_eq!((stored.generation, stored.rotated_at), (2, to_micros(after(3))));
    }

    async fn concurrent_rotations_of_one_generation_succeed_once(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        for generation in 0..3 {
            let all = (0..32).map(|_| {
                let rotations = Arc::clone(&store.rotations);
                let rotation = rotation_of(&session, generation);
                tokio::spawn(async move { rotations.rotate(rotation, &stopped(after(1))).await.unwrap().is_some() })
            });
            let mut won = 0;
            for task in all.collect::<Vec<_>>() {
                won += u32::from(task.await.unwrap());
            }
            assert_eq!(won, 1);
        }
        assert_eq!(store.stored(session.id).await.unwrap().generation, 3);
    }

    async fn unknown_revoked_or_expired_session_is_not_rotated(store: Store) {
        let ada = store.user("ada").await;
        assert_eq!(store.rotate(random::session_id(), 0, after(1)).await, None);
        let revoked = store.session(&ada).await;
        store.sql.revoke(revocation(revoked.id, RevokedReason::LoggedOut, after(1))).await.unwrap();
        assert_eq!(store.rotate(revoked.id, 0, after(1)).await, None);
        let expired = store.session(&ada).await;
        assert_eq!(store.rotate(expired.id, 0, expired.expires_at).await, None);
        assert_eq!(store.rotate(expired.id, 0, expired.expires_at - TimeDelta::milliseconds(1)).await, Some(1));
    }

    async fn session_of_an_invalid_user_is_not_rotated(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        store.sql.set_active(&at(&ada.id, after(1)), false).await.unwrap();
        assert_eq!(store.rotate(session.id, 0, after(2)).await, None);
        store.sql.set_active(&at(&ada.id, after(3)), true).await.unwrap();
        assert_eq!(store.rotate(session.id, 0, after(4)).await, None, "the raised epoch outlasts the inactivity");

        let bob = store.user("bob").await;
        let session = store.session(&bob).await;
        store.sql.set_password(&at(&bob.id, after(1)), &hash("new")).await.unwrap();
        assert_eq!(store.rotate(session.id, 0, after(2)).await, None);
        let bob = store.sql.find_by_username(&name("bob")).await.unwrap().unwrap();
        let session = store.session(&bob).await;
        assert_eq!(store.rotate(session.id, 0, after(2)).await, Some(1), "a new sign-in has the new epoch");
        store.sql.delete(&at(&bob.id, after(3))).await.unwrap();
        assert_eq!(store.rotate(session.id, 1, after(4)).await, None);
    }

    async fn second_revocation_returns_the_first_one(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        let other = store.session(&ada).await;
        let first = store.sql.revoke(revocation(session.id, RevokedReason::Reuse, after(1))).await.unwrap().unwrap();
        assert_eq!((first.0.revoked.unwrap().1, first.1), (RevokedReason::Reuse, true));
        let second = store.sql.revoke(revocation(session.id, RevokedReason::LoggedOut, after(2))).await.unwrap().unwrap();
        assert_eq!(second, (first.0.clone(), false));
        assert_eq!(store.stored(session.id).await, Some(first.0));
        assert_eq!(store.sql.revoke(revocation(random::session_id(), RevokedReason::Operator, after(1))).await.unwrap(), None);
        assert_eq!(store.stored(other.id).await.unwrap().revoked, None);
    }

    async fn concurrent_revocations_succeed_once(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        let all = (0..20).map(|number| {
            let (sql, id) = (store.sql.clone(), session.id);
            tokio::spawn(async move { sql.revoke(revocation(id, RevokedReason::LoggedOut, after(number))).await.unwrap().unwrap() })
        });
        let mut by_us = 0;
        let mut afterwards = Vec::new();
        for task in all.collect::<Vec<_>>() {
            let (session, revoked_by_call) = task.await.unwrap();
            by_us += u32::from(revoked_by_call);
            afterwards.push(session);
        }
        assert_eq!(by_us, 1);
        assert!(afterwards.windows(2).all(|pair| pair[0] == pair[1]), "{afterwards:?}");
    }

    async fn live_sessions_are_listed_newest_first(store: Store) {
        let ada = store.user("ada").await;
        let bob = store.user("bob").await;
        store.session(&bob).await;
        let mut inserted = Vec::new();
        for age in 0..4 {
            let session = Session { created_at: after(age), expires_at: after(100 + age), ..new_session(&ada) };
            assert!(store.insert(&session).await);
            inserted.push(session.id);
        }
        store.sql.revoke(revocation(inserted[2], RevokedReason::LoggedOut, after(10))).await.unwrap();
        let ids = |live: Vec<Session>| live.iter().map(|session| session.id).collect::<Vec<_>>();
        let live = store.sql.list_live(&ada.id, after(100)).await.unwrap();
        assert_eq!(ids(live), [inserted[3], inserted[1]], "the first is expired, the third is revoked");
        assert!(store.sql.list_live(&unknown_user(), after(1)).await.unwrap().is_empty());
        store.sql.revoke_all_sessions(&at(&ada.id, after(20)), None).await.unwrap();
        assert!(store.sql.list_live(&ada.id, after(21)).await.unwrap().is_empty());
    }

    async fn pages_contain_all_sessions_by_id(store: Store) {
        assert!(store.sql.page(None, 2).await.unwrap().sessions.is_empty());
        let ada = store.user("ada").await;
        let mut inserted = Vec::new();
        for _ in 0..5 {
            inserted.push(store.session(&ada).await.id);
        }
        inserted.sort();
        store.sql.revoke(revocation(inserted[1], RevokedReason::LoggedOut, after(1))).await.unwrap();
        store.sql.delete(&at(&ada.id, after(2))).await.unwrap();
        let (mut seen, mut next, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.sql.page(next, 2).await.unwrap();
            seen.extend(page.sessions.iter().map(|session| session.id));
            pages += 1;
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (inserted, 3));
    }

    async fn revoked_sessions_are_paged_by_time_and_id(store: Store) {
        let ada = store.user("ada").await;
        let mut inserted = Vec::new();
        for age in [30, 10, 20, 20, 20] {
            let session = store.session(&ada).await;
            store.sql.revoke(revocation(session.id, RevokedReason::Operator, after(age))).await.unwrap();
            store.stamp_revocation(session.id, after(age)).await;
            inserted.push((to_micros(after(age)), session.id));
        }
        inserted.sort();
        store.session(&ada).await;
        let key = |session: &Session| (session.revoked.unwrap().0, session.id);
        let paged = async |since, limit| {
            let (mut found, mut last) = (Vec::new(), None);
            loop {
                let page = store.sql.revoked_since(since, last, limit).await.unwrap();
                assert!(page.len() <= usize::try_from(limit).unwrap());
                found.extend(page.iter().map(key));
                last = page.last().map(key);
                if last.is_none() {
                    return found;
                }
            }
        };
        for limit in [1, 2, 100] {
            assert_eq!(paged(after(0), limit).await, inserted);
            assert_eq!(paged(after(20), limit).await, inserted[1..]);
            assert_eq!(paged(after(31), limit).await, []);
        }
    }

    async fn purge_removes_only_expired_sessions_in_batches(store: Store) {
        let ada = store.user("ada").await;
        let mut kept = Vec::new();
        for number in 0..9 {
            let session = match number % 3 {
                2 => Session { rotated_at: after(-10_000_000), expires_at: after(10), ..new_session(&ada) },
                _ => Session { expires_at: after(9), ..new_session(&ada) },
            };
            assert!(store.insert(&session).await);
            if number % 3 == 2 {
                kept.push(session.id);
            }
        }
        kept.sort();
        let mut removed = Vec::new();
        while removed.last() != Some(&0) {
            removed.push(SessionStore::purge(&store.sql, after(10), 4).await.unwrap());
        }
        let cancelled: Vec<_> = store.sql.page(None, 100).await.unwrap().sessions.iter().map(|cancelled| cancelled.id).collect();
        assert_eq!((removed, cancelled), (vec![4, 2, 0], kept));
    }

    async fn counter_beyond_the_column_is_limited_to_its_maximum(store: Store) {
        let ada = store.user("ada").await;
        let session = Session { generation: u32::MAX - 5, ..new_session(&ada) };
        assert!(store.insert(&session).await);
        assert_eq!(store.stored(session.id).await.unwrap().generation, i32::MAX.unsigned_abs());
        assert!(!store.insert(&Session { session_epoch: u32::MAX, ..new_session(&ada) }).await);
    }
}

/// Runs on a single-threaded runtime like a worker's, with requests cancelled during their
/// statements.
#[tokio::test]
async fn cancelled_statement_on_sqlite_affects_no_other() {
    let store = Store::sqlite().await;
    let ada = store.user("ada").await;
    let mut cancelled = 0;
    for _ in 0..50 {
        let session = new_session(&ada);
        let new = NewSession {
            session: session.clone(),
            update_last_login: false,
            audit: audit_event(start()),
        };
        cancelled += u32::from(
            SessionStore::insert(&store.sql, new)
                .now_or_never()
                .is_none(),
        );
        cancelled += u32::from(store.sql.find(session.id).now_or_never().is_none());
        store.sql.find(session.id).await.unwrap();
        assert_eq!(
            store
                .rotate(store.session(&ada).await.id, 0, after(1))
                .await,
            Some(1)
        );
    }
    assert!(cancelled > 20, "only {cancelled} statements were cancelled");
}
