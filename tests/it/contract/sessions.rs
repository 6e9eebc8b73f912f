//! The contract of `SessionStore`.

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use latchkey::{
    crypto::random,
    domain::session::{RevokedReason, Session},
    ports::{NewSession, Rotation, SessionStore, UserStore as _},
};

use super::store::{
    Store, after, at, cut, hash, name, new_session, revocation, rotation_of, start, stopped,
    stranger, told,
};

on_both_databases! {
    async fn a_session_is_kept_as_it_was_given_with_moments_to_the_microsecond(store: Store) {
        store.sql.ping().await.unwrap();
        let ada = store.user("ada").await;
        let session = Session { user_agent: Some("Länder/1.0 \u{1f511}".to_owned()), ..new_session(&ada) };
        assert!(store.insert(&session).await);
        let state = store.sql.find(session.id).await.unwrap().unwrap();
        let expected = Session {
            created_at: cut(session.created_at),
            rotated_at: cut(session.rotated_at),
            expires_at: cut(session.expires_at),
            ..session
        };
        assert_eq!((state.session, state.user), (expected, Some(ada)));
        assert_eq!(store.sql.find(random::session_id()).await.unwrap(), None);
    }

    async fn a_sign_in_is_noted_at_the_user_if_asked(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        assert_eq!(store.user_of(&session).await.unwrap().last_login, None);
        let new = NewSession { session: new_session(&ada), update_last_login: true, audit: told(start()) };
        assert!(store.sign_in(new).await);
        assert_eq!(store.user_of(&session).await.unwrap().last_login, Some(cut(start())));
    }

    async fn no_session_is_made_for_a_user_who_is_inactive_cut_off_deleted_or_unknown(store: Store) {
        let ada = store.user("ada").await;
        let mut refused = vec![Session { session_epoch: 1, ..new_session(&ada) }];
        let inactive = store.user("inactive").await;
        let off = store.sql.set_active(&at(&inactive.id, after(1)), false).await.unwrap().unwrap();
        refused.push(new_session(&off));
        let cut_off = store.user("cut-off").await;
        store.sql.revoke_all_sessions(&at(&cut_off.id, after(1)), None).await.unwrap();
        refused.push(new_session(&cut_off));
        let deleted = store.user("deleted").await;
        store.sql.delete(&at(&deleted.id, after(1))).await.unwrap();
        refused.push(Session { session_epoch: 1, ..new_session(&deleted) });
        refused.push(Session { user_id: stranger(), ..new_session(&ada) });
        for session in refused {
            for update_last_login in [false, true] {
                let new = NewSession { session: session.clone(), update_last_login, audit: told(start()) };
                assert!(!store.sign_in(new).await, "{session:?}");
            }
            assert_eq!(store.stored(session.id).await, None);
        }
        assert_eq!(store.sql.find_by_username(&name("cut-off")).await.unwrap().unwrap().last_login, None);
    }

    async fn a_rotation_raises_the_generation_and_notes_when_and_from_where(store: Store) {
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
        let state = store.sql.rotate(rotation, &stopped(after(60))).await.unwrap().unwrap();
        let expected = Session {
            generation: 1,
            created_at: cut(session.created_at),
            rotated_at: cut(after(60)),
            expires_at: cut(session.expires_at),
            last_ip: Some("2001:db8::1".to_owned()),
            user_agent: Some("a browser".to_owned()),
            ..session.clone()
        };
        assert_eq!((&state.session, state.user), (&expected, Some(ada)));
        assert_eq!(store.stored(session.id).await, Some(expected));
    }

    async fn a_generation_is_rotated_once(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        assert_eq!(store.rotate(session.id, 0, after(1)).await, Some(1));
        for generation in [0, 2, u32::MAX] {
            assert_eq!(store.rotate(session.id, generation, after(2)).await, None);
        }
        assert_eq!(store.rotate(session.id, 1, after(3)).await, Some(2));
        let stored = store.stored(session.id).await.unwrap();
        assert_eq!((stored.generation, stored.rotated_at), (2, cut(after(3))));
    }

    async fn of_many_who_rotate_one_generation_at_once_one_wins(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        for generation in 0..3 {
            let all = (0..32).map(|_| {
                let sql = store.sql.clone();
                let rotation = rotation_of(&session, generation);
                tokio::spawn(async move { sql.rotate(rotation, &stopped(after(1))).await.unwrap().is_some() })
            });
            let mut won = 0;
            for task in all.collect::<Vec<_>>() {
                won += u32::from(task.await.unwrap());
            }
            assert_eq!(won, 1);
        }
        assert_eq!(store.stored(session.id).await.unwrap().generation, 3);
    }

    async fn a_session_that_is_unknown_revoked_or_over_is_not_rotated(store: Store) {
        let ada = store.user("ada").await;
        assert_eq!(store.rotate(random::session_id(), 0, after(1)).await, None);
        let revoked = store.session(&ada).await;
        store.sql.revoke(revocation(revoked.id, RevokedReason::LoggedOut, after(1))).await.unwrap();
        assert_eq!(store.rotate(revoked.id, 0, after(1)).await, None);
        let over = store.session(&ada).await;
        assert_eq!(store.rotate(over.id, 0, over.expires_at).await, None);
        assert_eq!(store.rotate(over.id, 0, over.expires_at - TimeDelta::milliseconds(1)).await, Some(1));
    }

    async fn a_session_whose_user_is_inactive_cut_off_or_deleted_is_not_rotated(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        store.sql.set_active(&at(&ada.id, after(1)), false).await.unwrap();
        assert_eq!(store.rotate(session.id, 0, after(2)).await, None);
        store.sql.set_active(&at(&ada.id, after(3)), true).await.unwrap();
        assert_eq!(store.rotate(session.id, 0, after(4)).await, None, "the cut-off outlasts the inactivity");

        let bob = store.user("bob").await;
        let session = store.session(&bob).await;
        store.sql.set_password(&at(&bob.id, after(1)), &hash("new")).await.unwrap();
        assert_eq!(store.rotate(session.id, 0, after(2)).await, None);
        let bob = store.sql.find_by_username(&name("bob")).await.unwrap().unwrap();
        let session = store.session(&bob).await;
        assert_eq!(store.rotate(session.id, 0, after(2)).await, Some(1), "a new sign-in is at the new version");
        store.sql.delete(&at(&bob.id, after(3))).await.unwrap();
        assert_eq!(store.rotate(session.id, 1, after(4)).await, None);
    }

    async fn a_revocation_is_the_firsts_and_says_who_did_it(store: Store) {
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

    async fn of_many_who_revoke_at_once_one_did_it(store: Store) {
        let ada = store.user("ada").await;
        let session = store.session(&ada).await;
        let all = (0..20).map(|number| {
            let (sql, id) = (store.sql.clone(), session.id);
            tokio::spawn(async move { sql.revoke(revocation(id, RevokedReason::LoggedOut, after(number))).await.unwrap().unwrap() })
        });
        let mut by_us = 0;
        let mut afterwards = Vec::new();
        for task in all.collect::<Vec<_>>() {
            let (session, did) = task.await.unwrap();
            by_us += u32::from(did);
            afterwards.push(session);
        }
        assert_eq!(by_us, 1);
        assert!(afterwards.windows(2).all(|pair| pair[0] == pair[1]), "{afterwards:?}");
    }

    async fn live_sessions_are_those_that_could_still_be_refreshed_the_newest_first(store: Store) {
        let ada = store.user("ada").await;
        let bob = store.user("bob").await;
        store.session(&bob).await;
        let mut made = Vec::new();
        for age in 0..4 {
            let session = Session { created_at: after(age), expires_at: after(100 + age), ..new_session(&ada) };
            assert!(store.insert(&session).await);
            made.push(session.id);
        }
        store.sql.revoke(revocation(made[2], RevokedReason::LoggedOut, after(10))).await.unwrap();
        let ids = |live: Vec<Session>| live.iter().map(|session| session.id).collect::<Vec<_>>();
        let live = store.sql.list_live(&ada.id, after(100)).await.unwrap();
        assert_eq!(ids(live), [made[3], made[1]], "the first is over, the third is revoked");
        assert!(store.sql.list_live(&stranger(), after(1)).await.unwrap().is_empty());
        store.sql.revoke_all_sessions(&at(&ada.id, after(20)), None).await.unwrap();
        assert!(store.sql.list_live(&ada.id, after(21)).await.unwrap().is_empty());
    }

    async fn all_sessions_are_paged_by_id_dead_or_alive(store: Store) {
        assert!(store.sql.page(None, 2).await.unwrap().sessions.is_empty());
        let ada = store.user("ada").await;
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(store.session(&ada).await.id);
        }
        made.sort();
        store.sql.revoke(revocation(made[1], RevokedReason::LoggedOut, after(1))).await.unwrap();
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
        assert_eq!((seen, pages), (made, 3));
    }

    async fn what_was_revoked_at_a_moment_or_later_is_found_by_moment_and_id(store: Store) {
        let ada = store.user("ada").await;
        let mut made = Vec::new();
        for age in [30, 10, 20, 20, 20] {
            let session = store.session(&ada).await;
            store.sql.revoke(revocation(session.id, RevokedReason::Operator, after(age))).await.unwrap();
            store.stamp_revocation(session.id, after(age)).await;
            made.push((cut(after(age)), session.id));
        }
        made.sort();
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
            assert_eq!(paged(after(0), limit).await, made);
            assert_eq!(paged(after(20), limit).await, made[1..]);
            assert_eq!(paged(after(31), limit).await, []);
        }
    }

    async fn purging_takes_what_ended_in_batches_and_nothing_else_however_long_it_was_not_used(store: Store) {
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
        let left: Vec<_> = store.sql.page(None, 100).await.unwrap().sessions.iter().map(|left| left.id).collect();
        assert_eq!((removed, left), (vec![4, 2, 0], kept));
    }

    async fn a_counter_that_is_at_its_end_stays_a_counter(store: Store) {
        let ada = store.user("ada").await;
        let session = Session { generation: u32::MAX - 5, ..new_session(&ada) };
        assert!(store.insert(&session).await);
        assert_eq!(store.stored(session.id).await.unwrap().generation, i32::MAX.unsigned_abs());
        assert!(!store.insert(&Session { session_epoch: u32::MAX, ..new_session(&ada) }).await);
    }
}

/// On a single-threaded runtime, as the web server's are: a client went away while its statement was under way.
#[tokio::test]
async fn a_statement_that_nobody_waits_for_any_more_harms_nobody_on_sqlite() {
    let store = Store::sqlite().await;
    let ada = store.user("ada").await;
    let mut left = 0;
    for _ in 0..50 {
        let session = new_session(&ada);
        let new = NewSession {
            session: session.clone(),
            update_last_login: false,
            audit: told(start()),
        };
        left += u32::from(
            SessionStore::insert(&store.sql, new)
                .now_or_never()
                .is_none(),
        );
        left += u32::from(store.sql.find(session.id).now_or_never().is_none());
        store.sql.find(session.id).await.unwrap();
        assert_eq!(
            store
                .rotate(store.session(&ada).await.id, 0, after(1))
                .await,
            Some(1)
        );
    }
    assert!(left > 20, "only {left} were under way");
}
