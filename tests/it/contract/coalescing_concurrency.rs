//! Tests of batched rotations under concurrency: locked rows, two instances, cancelled requests.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt as _, future::join_all};
use latchkey_domain::session::Session;
use tokio::sync::Barrier;

use super::{
    coalescing::{rotate_all, rotated, sessions},
    store::{Store, after, rotation_of, start, stopped, to_micros},
};
use latchkey_testkit::servers::{self, eventually, own::OwnPostgres};

#[tokio::test]
async fn locked_row_does_not_delay_other_rotations() {
    let store = Store::postgres().await.coalesced();
    let all = sessions(&store, 20).await;
    let held = all[7].1.id;
    let holder = store.client().await;
    holder
        .batch_execute(&format!(
            "BEGIN; SELECT FROM sessions WHERE id = '{held}' FOR UPDATE"
        ))
        .await
        .unwrap();

    let clock = stopped(after(60));
    // Twice the limit of concurrent statements, so that a blocked statement would be noticed.
    for generation in 0..4 {
        let mut waits = store.rotations.rotate(rotation_of(&all[7].1, 0), &clock);
        let others = all.iter().filter(|(_, session)| session.id != held);
        let others = join_all(others.map(|(_, session)| {
            store
                .rotations
                .rotate(rotation_of(session, generation), &clock)
        }));
        let done = tokio::select! {
            biased;
            outcome = &mut waits => panic!("rotated despite the lock: {outcome:?}"),
            done = others => done,
        };
        assert!(done.iter().all(rotated));
        assert!((&mut waits).now_or_never().is_none());
        if generation == 3 {
            holder.batch_execute("COMMIT").await.unwrap();
            assert!(rotated(&waits.await), "rotated once the lock was released");
        }
    }
    assert_eq!(store.stored(held).await.unwrap().generation, 1);
}

/// Each instance batches the same rows in another order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opposite_orders_of_two_instances_do_not_deadlock() {
    let url = servers::fresh_database().await;
    let stores = [
        Store::at(&url).await.coalesced(),
        Store::at(&url).await.coalesced(),
    ];
    let all: Vec<Session> = sessions(&stores[0], 48)
        .await
        .into_iter()
        .map(|(_, session)| session)
        .collect();
    let barrier = Arc::new(Barrier::new(2));
    for generation in 0..20 {
        let tasks = stores.iter().enumerate().map(|(number, store)| {
            let (rotations, barrier, mut order) = (
                Arc::clone(&store.rotations),
                Arc::clone(&barrier),
                all.clone(),
            );
            if number == 1 {
                order.reverse();
            }
            tokio::spawn(async move {
                let clock = stopped(after(60));
                barrier.wait().await;
                let outcomes = join_all(
                    order
                        .iter()
                        .map(|session| rotations.rotate(rotation_of(session, generation), &clock)),
                );
                order
                    .iter()
                    .map(|session| session.id.to_string())
                    .zip(outcomes.await)
                    .collect::<Vec<_>>()
            })
        });
        let mut winners: BTreeMap<String, usize> = BTreeMap::new();
        for outcomes in join_all(tasks).await {
            for (id, outcome) in outcomes.unwrap() {
                *winners.entry(id).or_default() += usize::from(rotated(&outcome));
            }
        }
        assert_eq!(winners.len(), 48);
        assert!(winners.values().all(|count| *count == 1), "{winners:?}");
    }
}

/// The request that started the flusher is cancelled at once. The flusher still serves the others,
/// and later ones.
#[tokio::test]
async fn cancelled_request_does_not_cancel_its_batch() {
    let store = Store::postgres().await.coalesced();
    let all = sessions(&store, 6).await;
    let clock = stopped(after(60));
    for generation in 0..3 {
        let mut first = store
            .rotations
            .rotate(rotation_of(&all[0].1, generation), &clock);
        assert!((&mut first).now_or_never().is_none());
        let others = all[1..].iter().map(|(_, session)| {
            store
                .rotations
                .rotate(rotation_of(session, generation), &clock)
        });
        let mut others = Box::pin(join_all(others));
        assert!((&mut others).now_or_never().is_none());
        drop(first);
        assert!(others.await.iter().all(rotated));
    }
    let stored = store.stored(all[0].1.id).await.unwrap();
    assert_eq!(
        (stored.generation, stored.rotated_at),
        (0, to_micros(start())),
        "the cancelled rotation was not written"
    );
}

/// Counts the statements in the log of Postgres.
#[tokio::test]
async fn concurrent_rotations_share_statements() {
    let settings = [
        "log_min_duration_statement=0",
        "logging_collector=on",
        "log_filename=log",
    ];
    let settings = settings.map(|setting| format!("-c{setting}"));
    let postgres = OwnPostgres::start_with(&settings.each_ref().map(String::as_str)).await;
    let store = Store::at(&postgres.url()).await.coalesced();
    let all = sessions(&store, 100).await;
    let outcomes = rotate_all(
        &store,
        all.iter()
            .map(|(_, session)| rotation_of(session, 0))
            .collect(),
    )
    .await;
    assert!(outcomes.iter().all(rotated));
    let marker = servers::unique("mark");
    postgres.execute(&format!("SELECT '{marker}'")).await;
    let log = async || std::fs::read_to_string(postgres.log()).unwrap();
    eventually("the log is written", async || log().await.contains(&marker)).await;
    let log = log().await;
    let executions = log
        .lines()
        .filter(|line| line.contains(" execute ") && line.contains("UPDATE sessions"));
    assert_eq!(executions.count(), 2, "64 and 36");
}
