//! Tests of batched rotations with a faulty row, table, thread or connection.

use std::{sync::Arc, thread};

use latchkey_domain::{
    ports::{NewSession, SessionStore, StoreError},
    session::{RevokedReason, Session},
};
use tokio::{runtime::Builder, sync::Barrier};

use super::{
    coalescing::{rotate_all, rotated, sessions},
    store::{Store, after, audit_event, new_session, revocation, rotation_of, start, stopped},
};
use latchkey_testkit::servers::eventually;

async fn new_sessions(store: &Store, count: usize) -> Vec<Session> {
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

/// An import or a manual change may have stored such a value.
#[tokio::test]
async fn unreadable_row_fails_only_its_own_session() {
    let store = Store::postgres().await.coalesced();
    let all = new_sessions(&store, 6).await;
    store
        .execute("UPDATE users SET last_login = '-infinity' WHERE username = 'user2'")
        .await
        .unwrap();
    let outcomes = rotate_all(
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

/// In a partitioned table, a `ctid` is unique within its partition only.
#[tokio::test]
async fn partitioned_table_rotates_the_right_rows() {
    let store = Store::postgres().await.coalesced();
    let split = "ALTER TABLE sessions RENAME TO before;
        CREATE TABLE sessions (LIKE before INCLUDING DEFAULTS) PARTITION BY HASH (id);
        CREATE TABLE part0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE part1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        ALTER TABLE sessions ADD PRIMARY KEY (id)";
    store.execute(split).await.unwrap();
    let all = new_sessions(&store, 40).await;
    let (revoked, live) = all.split_at(20);
    for session in revoked {
        store
            .sql
            .revoke(revocation(session.id, RevokedReason::LoggedOut, after(1)))
            .await
            .unwrap();
    }
    assert!(
        rotate_all(
            &store,
            live.iter().map(|session| rotation_of(session, 0)).collect()
        )
        .await
        .iter()
        .all(rotated)
    );
    for session in revoked {
        assert_eq!(generation(&store, session).await.as_deref(), Some("0"));
    }
    for session in live {
        assert_eq!(generation(&store, session).await.as_deref(), Some("1"));
    }
}

/// A deferred constraint or serializable isolation can reject a transaction at its commit.
#[tokio::test]
async fn failed_commit_is_reported() {
    let store = Store::postgres().await.coalesced();
    let all = new_sessions(&store, 3).await;
    let fails = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE CONSTRAINT TRIGGER no AFTER INSERT OR UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION no()";
    store.execute(fails).await.unwrap();
    for outcome in rotate_all(
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
        audit: audit_event(start()),
    };
    assert!(SessionStore::insert(&store.sql, new).await.is_err());
}

/// After a broken connection the outcome is unknown, so nothing is retried on behalf of the client.
#[tokio::test]
async fn terminated_connection_is_reported_to_the_whole_batch() {
    let store = Store::postgres().await.coalesced();
    let all = new_sessions(&store, 5).await;
    let locker = store.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE sessions")
        .await
        .unwrap();
    let terminate = async {
        let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the statement waits for the lock", async || {
            !store.column(end).await.is_empty()
        })
        .await;
    };
    let rotations = all.iter().map(|session| rotation_of(session, 0)).collect();
    let (outcomes, ()) = tokio::join!(rotate_all(&store, rotations), terminate);
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_))),
            "{outcome:?}"
        );
    }
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert!(
        rotate_all(
            &store,
            all.iter().map(|session| rotation_of(session, 0)).collect()
        )
        .await
        .iter()
        .all(rotated)
    );
}

/// Threads share connections here. The thread whose request sent the statement ends before it
/// completes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_thread_does_not_cancel_other_rotations() {
    let store = Store::postgres().await.coalesced();
    let all = new_sessions(&store, 4).await;
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
    let mut barriers = Vec::new();
    // One for each concurrent statement.
    for (count, session) in (1..).zip(&all[..2]) {
        let (rotations, rotation, barrier) = (
            Arc::clone(&store.rotations),
            rotation_of(session, 0),
            Arc::new(Barrier::new(2)),
        );
        barriers.push(Arc::clone(&barrier));
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::spawn(async move { rotations.rotate(rotation, &stopped(after(60))).await });
                barrier.wait().await;
            });
        });
        wait(count).await;
    }
    let others = all[2..]
        .iter()
        .map(|session| rotation_of(session, 0))
        .collect();
    let end_threads = async {
        for thread in &barriers {
            thread.wait().await;
        }
        locker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(rotate_all(&store, others), end_threads);
    assert!(outcomes.iter().all(rotated));
    for session in &all {
        eventually("the other rotations are done", async || {
            generation(&store, session).await.as_deref() == Some("1")
        })
        .await;
    }
}

/// A row is found quickly for a user with very many sessions, also without table statistics.
#[tokio::test]
async fn rows_are_found_by_the_primary_key_only() {
    let store = Store::postgres().await.coalesced();
    store
        .execute("ALTER TABLE sessions SET (autovacuum_enabled = off)")
        .await
        .unwrap();
    let user = store.user("ada").await;
    let first = store.session(&user).await;
    // Planned while the table is empty.
    for generation in 0..12 {
        assert!(
            rotate_all(&store, vec![rotation_of(&first, generation)])
                .await
                .iter()
                .all(rotated)
        );
        assert!(
            !rotated(&rotate_all(&store, vec![rotation_of(&first, generation)]).await[0]),
            "by the single statement"
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
            rotate_all(&store, vec![rotation_of(&first, generation)])
                .await
                .iter()
                .all(rotated)
        );
        assert!(
            !rotated(&rotate_all(&store, vec![rotation_of(&first, generation)]).await[0]),
            "by the single statement"
        );
    }
    eventually("the statistics are written", async || {
        // A connection reports its statistics with the next statement a second later.
        store.sql.ping().await.unwrap();
        scans().await >= scans_before + 36
    })
    .await;
    assert!(
        number().await - read_before < 20_000,
        "unrelated rows were read"
    );
}
