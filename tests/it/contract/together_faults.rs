//! Rotations that go together where one of them, the table, the thread or the connection is not as it should be.

use std::{sync::Arc, thread};

use latchkey::{
    domain::session::{RevokedReason, Session},
    ports::{NewSession, SessionStore, StoreError},
};
use tokio::{runtime::Builder, sync::Barrier};

use super::{
    store::{Store, after, new_session, revocation, rotation_of, start, stopped, told},
    together::{at_once, rotated, sessions},
};
use crate::support::servers::eventually;

async fn several(store: &Store, count: usize) -> Vec<Session> {
    sessions(store, count)
        .await
        .into_iter()
        .map(|(_, session)| session)
        .collect()
}

async fn generation(store: &Store, session: &Session) -> Option<String> {
    let query = format!(
        "SELECT generation::text FROM sessions WHERE id = '{}'",
        session.id
    );
    store.column(&query).await.remove(0)
}

/// Whatever an import or somebody's hand has left there.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_its_own_sessions_fault_alone() {
    let store = Store::postgres().await;
    let all = several(&store, 6).await;
    store
        .execute("UPDATE users SET last_login = '-infinity' WHERE username = 'user2'")
        .await
        .unwrap();
    let outcomes = at_once(
        &store,
        all.iter().map(|session| rotation_of(session, 0)).collect(),
    )
    .await;
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(state) => assert!(number != 2 && state.is_some()),
            Err(error) => assert!(
                number == 2 && matches!(error, StoreError::Failed(_)),
                "{number}: {error}"
            ),
        }
    }
}

/// Of a table in parts a place says nothing without its part.
#[tokio::test]
async fn in_a_table_in_parts_each_gets_its_own_row() {
    let store = Store::postgres().await;
    let split = "ALTER TABLE sessions RENAME TO before;
        CREATE TABLE sessions (LIKE before INCLUDING DEFAULTS) PARTITION BY HASH (id);
        CREATE TABLE part0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE part1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        ALTER TABLE sessions ADD PRIMARY KEY (id)";
    store.execute(split).await.unwrap();
    let all = several(&store, 40).await;
    let (gone, live) = all.split_at(20);
    for session in gone {
        store
            .sql
            .revoke(revocation(session.id, RevokedReason::LoggedOut, after(1)))
            .await
            .unwrap();
    }
    assert!(
        at_once(
            &store,
            live.iter().map(|session| rotation_of(session, 0)).collect()
        )
        .await
        .iter()
        .all(rotated)
    );
    for session in gone {
        assert_eq!(generation(&store, session).await.as_deref(), Some("0"));
    }
    for session in live {
        assert_eq!(generation(&store, session).await.as_deref(), Some("1"));
    }
}

/// What a deferred constraint, or the strictest isolation, refuses at the very end was not done.
#[tokio::test]
async fn what_fails_when_it_is_committed_is_told_as_a_failure() {
    let store = Store::postgres().await;
    let all = several(&store, 3).await;
    let fails = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE CONSTRAINT TRIGGER no AFTER INSERT OR UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION no()";
    store.execute(fails).await.unwrap();
    for outcome in at_once(
        &store,
        all.iter().map(|session| rotation_of(session, 0)).collect(),
    )
    .await
    {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
    }
    for session in &all {
        assert_eq!(generation(&store, session).await.as_deref(), Some("0"));
    }
    let user = store.user("eve").await;
    let new = NewSession {
        session: new_session(&user),
        update_last_login: true,
        audit: told(start()),
    };
    assert!(SessionStore::insert(&store.sql, new).await.is_err());
}

/// Nobody knows what a statement did whose connection is gone, so nobody tries again in its client's place.
#[tokio::test]
async fn those_whose_connection_is_ended_are_told_so() {
    let store = Store::postgres().await;
    let all = several(&store, 5).await;
    let locker = store.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE sessions")
        .await
        .unwrap();
    let ended = async {
        let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the statement waits for the lock", async || {
            !store.column(end).await.is_empty()
        })
        .await;
    };
    let rotations = all.iter().map(|session| rotation_of(session, 0)).collect();
    let (outcomes, ()) = tokio::join!(at_once(&store, rotations), ended);
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
    }
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert!(
        at_once(
            &store,
            all.iter().map(|session| rotation_of(session, 0)).collect()
        )
        .await
        .iter()
        .all(rotated)
    );
}

/// Where threads share connections: the one that asked first ends while its statement is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_ends_takes_nobody_else_along() {
    let store = Store::postgres().await;
    let all = several(&store, 4).await;
    let locker = store.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE sessions")
        .await
        .unwrap();
    let waiting = "SELECT pid::text FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let wait = async |count: usize| {
        eventually("the statements wait for the lock", async || {
            store.column(waiting).await.len() == count
        })
        .await;
    };
    let mut leave = Vec::new();
    // As many as there may be statements at once.
    for (count, session) in (1..).zip(&all[..2]) {
        let (sql, rotation, left) = (
            store.sql.clone(),
            rotation_of(session, 0),
            Arc::new(Barrier::new(2)),
        );
        leave.push(Arc::clone(&left));
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::spawn(async move { sql.rotate(rotation, &stopped(after(60))).await });
                left.wait().await;
            });
        });
        wait(count).await;
    }
    let others = all[2..]
        .iter()
        .map(|session| rotation_of(session, 0))
        .collect();
    let rest = async {
        for thread in &leave {
            thread.wait().await;
        }
        locker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(at_once(&store, others), rest);
    assert!(outcomes.iter().all(rotated));
    for session in &all {
        eventually("the others are done, too", async || {
            generation(&store, session).await.as_deref() == Some("1")
        })
        .await;
    }
}

/// Of a user with very many sessions one is found as quickly as any other, by a planner that knows nothing of the table.
#[tokio::test]
async fn rows_are_found_by_the_primary_key_alone() {
    let store = Store::postgres().await;
    store
        .execute("ALTER TABLE sessions SET (autovacuum_enabled = off)")
        .await
        .unwrap();
    let user = store.user("ada").await;
    let first = store.session(&user).await;
    // On a table that was empty when the statement was planned.
    for generation in 0..12 {
        assert!(
            at_once(&store, vec![rotation_of(&first, generation)])
                .await
                .iter()
                .all(rotated)
        );
        assert!(
            !rotated(&at_once(&store, vec![rotation_of(&first, generation)]).await[0]),
            "and alone"
        );
    }
    let copies = format!(
        "INSERT INTO sessions (id, user_id, session_epoch, generation, created_at, rotated_at, expires_at)
         SELECT gen_random_uuid()::text, user_id, session_epoch, 0, created_at, rotated_at, expires_at
         FROM sessions, generate_series(1, 20000) WHERE id = '{}'",
        first.id
    );
    store.execute(&copies).await.unwrap();
    let read =
        "SELECT (sum(seq_tup_read) + coalesce((SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
        WHERE relname = 'sessions' AND indexrelname <> 'sessions_pkey'), 0))::text
        FROM pg_stat_user_tables WHERE relname = 'sessions'";
    let number = async || {
        store
            .column(read)
            .await
            .remove(0)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let by_key =
        "SELECT idx_scan::text FROM pg_stat_user_indexes WHERE indexrelname = 'sessions_pkey'";
    let scans = async || {
        store
            .column(by_key)
            .await
            .remove(0)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let (read_before, scans_before) = (number().await, scans().await);
    for generation in 12..24 {
        assert!(
            at_once(&store, vec![rotation_of(&first, generation)])
                .await
                .iter()
                .all(rotated)
        );
        assert!(
            !rotated(&at_once(&store, vec![rotation_of(&first, generation)]).await[0]),
            "and alone"
        );
    }
    eventually("the statistics are there", async || {
        // A connection tells what it did when it does something a second later.
        store.sql.ping().await.unwrap();
        scans().await >= scans_before + 36
    })
    .await;
    assert!(
        number().await - read_before < 20_000,
        "rows were read that nobody asked for"
    );
}
