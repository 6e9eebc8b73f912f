//! Tests of `OperatorWatch`: each revocation by an operator in the audit trail is counted once.

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    ports::{AuditStore, Clock as _},
};
use latchkey_service::{Metrics, metrics::EventLabel, revocation::OperatorWatch};

use super::store::Store;
use latchkey_testkit::ManualClock;

const KINDS: [(EventKind, &str); 4] = [
    (EventKind::AllSessionsRevoked, "cut_off"),
    (EventKind::AllUsersSignedOut, "everybody_cut_off"),
    (EventKind::KeyRevoked, "key_revoked"),
    (EventKind::SessionRevoked, "session_revoked"),
];

fn counted(metrics: &Metrics) -> [u64; 4] {
    KINDS.map(|(_, event)| {
        metrics
            .operator_revocations
            .get_or_create(&EventLabel { event })
            .get()
    })
}

fn events(clock: &ManualClock, ago: i64, actor: &Actor) -> Vec<(AuditEvent, u32)> {
    let at = clock.now() - TimeDelta::seconds(ago);
    KINDS
        .map(|(kind, _)| (AuditEvent::new(at, kind, actor.clone()), 1))
        .to_vec()
}

on_both_databases! {
    async fn each_running_instance_counts_a_revocation_once(store: Store) {
        let clock = Arc::new(ManualClock::default());
        let operator = Actor::Operator(Some("ops".to_owned()));
        let instance = || {
            let metrics = Metrics::default();
            (OperatorWatch::new(Arc::new(store.sql.clone()), Arc::clone(&clock) as _, metrics.clone()), metrics)
        };
        let ((first, of_first), (second, of_second)) = (instance(), instance());
        store.sql.append(&events(&clock, 1, &operator)).await.unwrap();
        first.poll().await.unwrap();
        assert_eq!(counted(&of_first), [0; 4], "revoked before the start of the instance");

        let users_own = [events(&clock, 0, &Actor::User), events(&clock, 0, &Actor::Service), events(&clock, 0, &Actor::Client)];
        store.sql.append(&users_own.concat()).await.unwrap();
        store.sql.append(&events(&clock, 0, &operator)).await.unwrap();
        second.poll().await.unwrap();
        // The operator's clock is behind, or its commit was late.
        store.sql.append(&events(&clock, 60, &Actor::Operator(None))).await.unwrap();
        for _ in 0..3 {
            first.poll().await.unwrap();
            second.poll().await.unwrap();
        }
        assert_eq!((counted(&of_first), counted(&of_second)), ([2; 4], [1; 4]));

        // Longer than the watch remembers events.
        for _ in 0..5 {
            clock.advance_ms(50_000);
            store.sql.append(&events(&clock, 0, &operator)).await.unwrap();
            first.poll().await.unwrap();
        }
        assert_eq!(counted(&of_first), [7; 4]);
    }

    async fn revocations_on_several_pages_are_all_counted(store: Store) {
        let clock = Arc::new(ManualClock::default());
        let metrics = Metrics::default();
        let watch = OperatorWatch::new(Arc::new(store.sql.clone()), Arc::clone(&clock) as _, metrics.clone());
        watch.poll().await.unwrap();
        let event = events(&clock, 0, &Actor::Operator(None)).pop().unwrap();
        store.sql.append(&vec![event; 1201]).await.unwrap();
        watch.poll().await.unwrap();
        assert_eq!(counted(&metrics), [0, 0, 0, 1201]);
    }
}

/// A start without a database must not count earlier revocations later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_before_a_failed_first_poll_are_not_counted() {
    let store = Store::postgres().await;
    let clock = Arc::new(ManualClock::default());
    let metrics = Metrics::default();
    let watch = OperatorWatch::new(
        Arc::new(store.sql.clone()),
        Arc::clone(&clock) as _,
        metrics.clone(),
    );
    store
        .sql
        .append(&events(&clock, 0, &Actor::Operator(None)))
        .await
        .unwrap();
    store
        .execute("ALTER TABLE audit_events RENAME TO away")
        .await
        .unwrap();
    watch.poll().await.unwrap_err();
    store
        .execute("ALTER TABLE away RENAME TO audit_events")
        .await
        .unwrap();
    watch.poll().await.unwrap();
    assert_eq!(counted(&metrics), [0; 4]);
}
