//! Rotations that go together in one statement: each as if it had gone alone, and none at another's expense.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use futures_util::{FutureExt as _, future::join_all};
use latchkey::{
    crypto::random,
    domain::{
        ids::UserId,
        session::{RevokedReason, Session, SessionState},
        user::User,
    },
    ports::{Rotation, SessionStore, StoreError, UserStore},
};
use tokio::sync::Barrier;

use super::store::{Store, after, at, cut, new_session, revocation, rotation_of, start, stopped};
use crate::support::servers::{self, eventually, own::OwnPostgres};

pub(super) type Outcome = Result<Option<SessionState>, StoreError>;

/// Sessions of as many users.
pub(super) async fn sessions(store: &Store, count: usize) -> Vec<(User, Session)> {
    let mut all = Vec::new();
    for number in 0..count {
        let user = store.user(&format!("user{number}")).await;
        all.push((user.clone(), store.session(&user).await));
    }
    all
}

/// All of these at once: the first brings a runner, which finds the others in the line when it looks.
pub(super) async fn at_once(store: &Store, rotations: Vec<Rotation>) -> Vec<Outcome> {
    let clock = stopped(after(60));
    join_all(
        rotations
            .into_iter()
            .map(|rotation| store.sql.rotate(rotation, &clock)),
    )
    .await
}

pub(super) fn rotated(outcome: &Outcome) -> bool {
    outcome.as_ref().unwrap().is_some()
}

/// From an address and with an agent of its own.
fn of_its_own(session: &Session, generation: u32) -> Rotation {
    let (ip, user_agent) = (
        Some(format!("ip of {}", session.id)),
        Some(format!("agent of {}", session.id)),
    );
    Rotation {
        ip,
        user_agent,
        ..rotation_of(session, generation)
    }
}

#[tokio::test]
async fn of_many_that_go_together_each_gets_what_is_its_own() {
    let store = Store::postgres().await;
    let all = sessions(&store, 150).await;
    let rotations = all
        .iter()
        .map(|(_, session)| of_its_own(session, 0))
        .collect();
    for (outcome, (user, session)) in at_once(&store, rotations).await.into_iter().zip(&all) {
        let expected = Session {
            generation: 1,
            created_at: cut(session.created_at),
            rotated_at: cut(after(60)),
            expires_at: cut(session.expires_at),
            last_ip: Some(format!("ip of {}", session.id)),
            user_agent: Some(format!("agent of {}", session.id)),
            ..session.clone()
        };
        let state = outcome.unwrap().unwrap();
        assert_eq!(
            (&state.session, &state.user),
            (&expected, &Some(user.clone()))
        );
        assert_eq!(store.stored(session.id).await, Some(expected));
    }
}

/// Every way in which a condition can fail, many times over, among those whose conditions hold.
#[tokio::test]
async fn each_has_its_own_condition_and_what_came_twice_is_done_once() {
    let store = Store::postgres().await;
    let all = sessions(&store, 120).await;
    let (mut rotations, mut expected, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (user, session)) in all.iter().enumerate() {
        let right = rotation_of(session, 0);
        let (rotation, holds) = match number % 12 {
            0 => (
                Rotation {
                    generation: 1,
                    ..right
                },
                false,
            ),
            1 => (
                Rotation {
                    user: all[(number + 5) % 120].0.id.clone(),
                    ..right
                },
                false,
            ),
            2 => (
                Rotation {
                    session_epoch: 1,
                    ..right
                },
                false,
            ),
            3 => (
                Rotation {
                    id: random::session_id(),
                    ..right
                },
                false,
            ),
            4 => {
                store
                    .sql
                    .revoke(revocation(session.id, RevokedReason::LoggedOut, after(1)))
                    .await
                    .unwrap();
                (right, false)
            }
            5 => {
                store
                    .sql
                    .revoke_all_sessions(&at(&user.id, after(1)), None)
                    .await
                    .unwrap();
                (right, false)
            }
            6 => {
                store
                    .sql
                    .set_active(&at(&user.id, after(1)), false)
                    .await
                    .unwrap();
                (right, false)
            }
            7 => {
                let over = Session {
                    expires_at: after(60),
                    ..new_session(user)
                };
                assert!(store.insert(&over).await);
                (rotation_of(&over, 0), false)
            }
            8 => {
                let just_not = Session {
                    expires_at: after(60) + TimeDelta::milliseconds(1),
                    ..new_session(user)
                };
                assert!(store.insert(&just_not).await);
                (rotation_of(&just_not, 0), true)
            }
            9 => {
                again.push((number, right.clone()));
                (right, true)
            }
            10 => (
                Rotation {
                    user: UserId::new("nobody"),
                    ..right
                },
                false,
            ),
            _ => (right, true),
        };
        rotations.push(rotation);
        expected.push(holds);
    }
    let (twice, more): (Vec<usize>, Vec<Rotation>) = again.into_iter().unzip();
    rotations.extend(more);
    let outcomes: Vec<bool> = at_once(&store, rotations)
        .await
        .iter()
        .map(rotated)
        .collect();
    let (first, second) = outcomes.split_at(120);
    let mut done: Vec<bool> = first.to_vec();
    for (number, other) in twice.iter().zip(second) {
        assert!(done[*number] != *other, "exactly one of the two");
        done[*number] = true;
    }
    assert_eq!(done, expected);
    for (number, (_, session)) in all
        .iter()
        .enumerate()
        .filter(|(number, _)| !matches!(number % 12, 7 | 8))
    {
        let generation = u32::from(expected[number]);
        assert_eq!(
            store.stored(session.id).await.unwrap().generation,
            generation,
            "{}",
            number % 12
        );
    }
}

#[tokio::test]
async fn a_token_that_comes_many_times_in_one_statement_is_exchanged_once() {
    let store = Store::postgres().await;
    let all = sessions(&store, 2).await;
    for generation in 0..3 {
        let many = (0..40)
            .map(|number| rotation_of(&all[usize::from(number % 10 == 3)].1, generation))
            .collect();
        let outcomes = at_once(&store, many).await;
        for (_, session) in &all {
            let done = outcomes
                .iter()
                .filter_map(|outcome| outcome.as_ref().unwrap().as_ref());
            assert_eq!(
                done.filter(|state| state.session.id == session.id).count(),
                1
            );
            assert_eq!(
                store.stored(session.id).await.unwrap().generation,
                generation + 1
            );
        }
    }
}

#[tokio::test]
async fn a_row_that_somebody_holds_keeps_nobody_else_waiting() {
    let store = Store::postgres().await;
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
    // Twice as many as there may be statements at once: none of them is stuck for the others that come later.
    for generation in 0..4 {
        let mut waits = store.sql.rotate(rotation_of(&all[7].1, 0), &clock);
        let others = all.iter().filter(|(_, session)| session.id != held);
        let others = join_all(
            others.map(|(_, session)| store.sql.rotate(rotation_of(session, generation), &clock)),
        );
        let done = tokio::select! {
            biased;
            outcome = &mut waits => panic!("its row was held: {outcome:?}"),
            done = others => done,
        };
        assert!(done.iter().all(rotated));
        assert!((&mut waits).now_or_never().is_none());
        if generation == 3 {
            holder.batch_execute("COMMIT").await.unwrap();
            assert!(rotated(&waits.await), "alone, once the row was free");
        }
    }
    assert_eq!(store.stored(held).await.unwrap().generation, 1);
}

/// Each statement of one instance meets those of the other on the same rows, in another order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_that_rotate_the_same_sessions_in_opposite_order_wait_for_no_dead_lock() {
    let url = servers::fresh_database().await;
    let stores = [Store::at(&url).await, Store::at(&url).await];
    let all: Vec<Session> = sessions(&stores[0], 48)
        .await
        .into_iter()
        .map(|(_, session)| session)
        .collect();
    let barrier = Arc::new(Barrier::new(2));
    for generation in 0..20 {
        let tasks = stores.iter().enumerate().map(|(number, store)| {
            let (sql, barrier, mut mine) = (store.sql.clone(), Arc::clone(&barrier), all.clone());
            if number == 1 {
                mine.reverse();
            }
            tokio::spawn(async move {
                let clock = stopped(after(60));
                barrier.wait().await;
                let outcomes = join_all(
                    mine.iter()
                        .map(|session| sql.rotate(rotation_of(session, generation), &clock)),
                );
                mine.iter()
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

/// An agent's name that this database cannot hold is refused by the server, for the whole statement.
#[tokio::test]
async fn one_that_the_database_refuses_spoils_it_for_nobody_else() {
    let store = Store::postgres().await;
    store
        .execute("ALTER TABLE sessions ADD CHECK (user_agent NOT LIKE '%→')")
        .await
        .unwrap();
    let all = sessions(&store, 10).await;
    let rotations = all.iter().enumerate().map(|(number, (_, session))| {
        let user_agent = if number == 4 {
            "a browser →"
        } else {
            "a browser é"
        };
        Rotation {
            user_agent: Some(user_agent.to_owned()),
            ..rotation_of(session, 0)
        }
    });
    let outcomes = at_once(&store, rotations.collect()).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(state) => assert!(number != 4 && state.is_some()),
            Err(error) => assert!(
                number == 4 && matches!(error, StoreError::Unavailable(_)),
                "{number}: {error}"
            ),
        }
    }
    let agents = store
        .column("SELECT DISTINCT user_agent AS value FROM sessions ORDER BY 1 NULLS FIRST")
        .await;
    assert_eq!(agents, [None, Some("a browser é".to_owned())]);
}

/// Whoever brought the runner goes away at once; it serves the others all the same, and then the next ones.
#[tokio::test]
async fn who_goes_away_takes_nobody_along() {
    let store = Store::postgres().await;
    let all = sessions(&store, 6).await;
    let clock = stopped(after(60));
    for generation in 0..3 {
        let mut first = store.sql.rotate(rotation_of(&all[0].1, generation), &clock);
        assert!((&mut first).now_or_never().is_none());
        let others = all[1..]
            .iter()
            .map(|(_, session)| store.sql.rotate(rotation_of(session, generation), &clock));
        let mut others = Box::pin(join_all(others));
        assert!((&mut others).now_or_never().is_none());
        drop(first);
        assert!(others.await.iter().all(rotated));
    }
    let stored = store.stored(all[0].1.id).await.unwrap();
    assert_eq!(
        (stored.generation, stored.rotated_at),
        (0, cut(start())),
        "nobody waited for it any more"
    );
}

/// What Postgres counts: how many statements there were, and what they changed.
#[tokio::test]
async fn those_who_come_at_once_share_statements() {
    let settings = [
        "log_min_duration_statement=0",
        "logging_collector=on",
        "log_filename=log",
    ];
    let settings = settings.map(|setting| format!("-c{setting}"));
    let postgres = OwnPostgres::start_with(&settings.each_ref().map(String::as_str)).await;
    let store = Store::at(&postgres.url()).await;
    let all = sessions(&store, 100).await;
    let outcomes = at_once(
        &store,
        all.iter()
            .map(|(_, session)| rotation_of(session, 0))
            .collect(),
    )
    .await;
    assert!(outcomes.iter().all(rotated));
    let mark = servers::unique("mark");
    postgres.execute(&format!("SELECT '{mark}'")).await;
    let log = async || std::fs::read_to_string(postgres.log()).unwrap();
    eventually("the log is written", async || log().await.contains(&mark)).await;
    let log = log().await;
    let executions = log
        .lines()
        .filter(|line| line.contains(" execute ") && line.contains("UPDATE sessions"));
    assert_eq!(executions.count(), 2, "64 and 36");
}
