//! Tests of batched rotations: each has the result of a single rotation, and none delays another.

use chrono::TimeDelta;
use futures_util::future::join_all;
use latchkey_crypto::random;
use latchkey_domain::{
    ids::UserId,
    ports::{Rotation, SessionStore, StoreError, UserStore},
    session::{RevokedReason, Session, SessionState},
    user::User,
};

use super::store::{Store, after, at, new_session, revocation, rotation_of, stopped, to_micros};

pub(super) type Outcome = Result<Option<SessionState>, StoreError>;

/// Inserts sessions, each of a separate user.
pub(super) async fn sessions(store: &Store, count: usize) -> Vec<(User, Session)> {
    let mut all = Vec::new();
    for number in 0..count {
        let user = store.user(&format!("user{number}")).await;
        all.push((user.clone(), store.session(&user).await));
    }
    all
}

/// Starts all rotations at once. The first one starts a flusher, which finds the others queued.
pub(super) async fn rotate_all(store: &Store, rotations: Vec<Rotation>) -> Vec<Outcome> {
    let clock = stopped(after(60));
    join_all(
        rotations
            .into_iter()
            .map(|rotation| store.rotations.rotate(rotation, &clock)),
    )
    .await
}

pub(super) fn rotated(outcome: &Outcome) -> bool {
    outcome.as_ref().unwrap().is_some()
}

/// Returns a rotation with a distinct address and user agent.
fn from_distinct_client(session: &Session, generation: u32) -> Rotation {
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
async fn each_rotation_in_a_batch_gets_its_own_result() {
    let store = Store::postgres().await.coalesced();
    let all = sessions(&store, 150).await;
    let rotations = all
        .iter()
        .map(|(_, session)| from_distinct_client(session, 0))
        .collect();
    for (outcome, (user, session)) in rotate_all(&store, rotations).await.into_iter().zip(&all) {
        let expected = Session {
            generation: 1,
            created_at: to_micros(session.created_at),
            rotated_at: to_micros(after(60)),
            expires_at: to_micros(session.expires_at),
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

/// Mixes all failing conditions, many times over, with rotations that succeed.
#[tokio::test]
async fn each_rotation_in_a_batch_has_its_own_condition() {
    let store = Store::postgres().await.coalesced();
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
                let expired = Session {
                    expires_at: after(60),
                    ..new_session(user)
                };
                assert!(store.insert(&expired).await);
                (rotation_of(&expired, 0), false)
            }
            8 => {
                let about_to_expire = Session {
                    expires_at: after(60) + TimeDelta::milliseconds(1),
                    ..new_session(user)
                };
                assert!(store.insert(&about_to_expire).await);
                (rotation_of(&about_to_expire, 0), true)
            }
            9 => {
                again.push((number, right.clone()));
                (right, true)
            }
            10 => (
                Rotation {
                    user: UserId::new("unknown"),
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
    let outcomes: Vec<bool> = rotate_all(&store, rotations)
        .await
        .iter()
        .map(rotated)
        .collect();
    let (first, second) = outcomes.split_at(120);
    let mut done: Vec<bool> = first.to_vec();
    for (number, other) in twice.iter().zip(second) {
        assert!(done[*number] != *other, "exactly one of the two succeeds");
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
async fn repeated_token_in_one_batch_is_rotated_once() {
    let store = Store::postgres().await.coalesced();
    let all = sessions(&store, 2).await;
    for generation in 0..3 {
        let many = (0..40)
            .map(|number| rotation_of(&all[usize::from(number % 10 == 3)].1, generation))
            .collect();
        let outcomes = rotate_all(&store, many).await;
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

/// The server rejects a user agent that this database cannot store, and with it the whole batch.
#[tokio::test]
async fn rejected_row_fails_only_its_own_rotation() {
    let store = Store::postgres().await.coalesced();
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
    let outcomes = rotate_all(&store, rotations.collect()).await;
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
