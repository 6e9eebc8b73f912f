//! Tests of the stamping clock.

use chrono::TimeDelta;
use latchkey_domain::{
    ids::UserId,
    ports::{SessionStore as _, UserStore as _},
    session::{RevokedReason, Session},
    time::Moment,
};

use super::store::{Store, after, at, hash, new_session, revocation, start};

/// Asserts the time of the database's clock, or the caller's if the database has no clock.
async fn assert_stamped(store: &Store, before: Moment, stamp: Moment, now: Moment) {
    let later = store.sql.stamping_clock(now).await.unwrap();
    let own_clock = later != now;
    let right = if own_clock {
        before <= stamp && stamp <= later
    } else {
        stamp == super::store::to_micros(now)
    };
    assert!(
        right,
        "{stamp} between {before} and {later}, for a caller at {now}"
    );
}

async fn epoch_raised_at(store: &Store, user: &UserId) -> Moment {
    let all = store
        .sql
        .epochs_raised_since(Moment::UNIX_EPOCH, None, 100)
        .await
        .unwrap();
    all.into_iter().find(|(_, id, _)| id == user).unwrap().0
}

on_both_databases! {
    async fn revocation_is_stamped_by_the_database_clock(store: Store) {
        let ada = store.user("ada").await;
        for off in [TimeDelta::minutes(-4), TimeDelta::minutes(4)] {
            let (now, before) = (start() + off, store.sql.stamping_clock(start() + off).await.unwrap());
            let session = store.session(&ada).await;
            let (revoked, by_us) = store.sql.revoke(revocation(session.id, RevokedReason::LoggedOut, now)).await.unwrap().unwrap();
            assert!(by_us);
            assert_stamped(&store, before, revoked.revoked.unwrap().0, now).await;
        }
        let (now, before) = (after(-240), store.sql.stamping_clock(after(-240)).await.unwrap());
        let oldest = store.session(&ada).await;
        let newest = Session { created_at: after(9), ..new_session(&ada) };
        assert!(store.insert(&newest).await);
        let trimmed = store.sql.trim(&newest, 1, super::store::audit_event(now)).await.unwrap();
        assert_eq!(trimmed.iter().map(|session| session.id).collect::<Vec<_>>(), [oldest.id]);
        assert_stamped(&store, before, trimmed[0].revoked.unwrap().0, now).await;
    }

    async fn raised_epoch_is_stamped_by_the_database_clock(store: Store) {
        let now = after(-240);
        let before = store.sql.stamping_clock(now).await.unwrap();
        let mut users = Vec::new();
        for number in 0..5 {
            users.push(store.user(&format!("user{number}")).await.id);
        }
        users.sort();
        store.sql.revoke_all_sessions(&at(&users[0], now), None).await.unwrap();
        store.sql.set_active(&at(&users[1], now), false).await.unwrap();
        store.sql.set_password(&at(&users[2], now), &hash("new")).await.unwrap();
        store.sql.delete(&at(&users[3], now)).await.unwrap();
        store.sql.bump_epochs(now, 1000, Some(&users[3]), 1).await.unwrap();
        for user in &users {
            assert_stamped(&store, before, epoch_raised_at(&store, user).await, now).await;
        }
    }
}
