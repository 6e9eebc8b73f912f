//! Contract of `SessionStore::count_repeat`.

use std::sync::Arc;

use latchkey_crypto::random;
use latchkey_domain::{
    ports::{Repeat, SessionStore as _},
    session::{RevokedReason, Session},
};
use tokio::sync::Barrier;

use super::store::{after, revocation, rotation_of, stopped};

fn repeat(session: &Session, generation: u32) -> Repeat {
    Repeat {
        id: session.id,
        generation,
        limit: 3,
    }
}

on_every_rotation_store! {
    async fn repeats_of_a_generation_are_counted_up_to_the_limit(store: Store) {
        let session = store.session(&store.user("ada").await).await;
        for generation in 1..4 {
            store.rotate(session.id, generation - 1, after(i64::from(generation))).await.unwrap();
            let mut counted = Vec::new();
            for _ in 0..5 {
                counted.push(store.sql.count_repeat(repeat(&session, generation)).await.unwrap());
            }
            assert_eq!(counted, [true, true, true, false, false], "generation {generation}");
        }
    }

    async fn concurrent_repeats_are_counted_up_to_the_limit(store: Store) {
        let session = store.session(&store.user("ada").await).await;
        for generation in 1..4 {
            store.rotate(session.id, generation - 1, after(i64::from(generation))).await.unwrap();
            let barrier = Arc::new(Barrier::new(32));
            let all = (0..32).map(|_| {
                let (sql, barrier, repeat) = (store.sql.clone(), Arc::clone(&barrier), repeat(&session, generation));
                tokio::spawn(async move {
                    barrier.wait().await;
                    sql.count_repeat(repeat).await.unwrap()
                })
            });
            let mut counted = 0;
            for task in all.collect::<Vec<_>>() {
                counted += u32::from(task.await.unwrap());
            }
            assert_eq!(counted, 3, "generation {generation}");
        }
    }

    async fn repeat_without_a_matching_live_session_is_not_counted(store: Store) {
        let session = store.session(&store.user("ada").await).await;
        store.rotate(session.id, 0, after(1)).await.unwrap();
        for generation in [0, 2] {
            assert!(!store.sql.count_repeat(repeat(&session, generation)).await.unwrap(), "{generation}");
        }
        let unknown = Repeat { id: random::session_id(), generation: 1, limit: 3 };
        assert!(!store.sql.count_repeat(unknown).await.unwrap());
        store.sql.revoke(revocation(session.id, RevokedReason::Operator, after(2))).await.unwrap();
        assert!(!store.sql.count_repeat(repeat(&session, 1)).await.unwrap());
    }

    /// After a concurrent repeat and rotation, the row has both. The count of the old generation no
    /// longer applies.
    async fn repeat_that_races_a_rotation_changes_only_its_count(store: Store) {
        let session = store.session(&store.user("ada").await).await;
        store.rotate(session.id, 0, after(1)).await.unwrap();
        for generation in 1..9 {
            let before = store.stored(session.id).await.unwrap();
            let (sql, counted) = (store.sql.clone(), repeat(&session, generation));
            let counted = tokio::spawn(async move { sql.count_repeat(counted).await.unwrap() });
            let next = store.rotations.rotate(rotation_of(&session, generation), &stopped(after(2))).await.unwrap().unwrap();
            let _ = counted.await.unwrap();
            assert_eq!(store.stored(session.id).await.unwrap(), next.session);
            assert_eq!(next.session.generation, before.generation + 1);
            assert!(!store.sql.count_repeat(repeat(&session, generation)).await.unwrap());
        }
    }
}
