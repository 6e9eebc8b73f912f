//! Tests of each status of a token.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{ReuseGrace, RevokedReason, Session, SessionState, TokenStatus};
use crate::{
    ids::{SessionId, UserId},
    time::Moment,
    user::User,
};

fn start() -> Moment {
    Moment::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

fn state(generation: u32) -> SessionState {
    let user_id = UserId::new("ada");
    let session = Session {
        id: SessionId::new(Uuid::nil()),
        user_id: user_id.clone(),
        session_epoch: 3,
        generation,
        created_at: start(),
        rotated_at: start(),
        expires_at: start() + TimeDelta::days(30),
        revoked: None,
        last_ip: None,
        user_agent: None,
    };
    let user = User {
        id: user_id,
        username: "ada".to_owned(),
        email: String::new(),
        first_name: String::new(),
        last_name: String::new(),
        is_active: true,
        is_staff: false,
        session_epoch: 3,
        created_at: start(),
        last_login: None,
    };
    SessionState {
        session,
        user: Some(user),
    }
}

const TEN_SECONDS: ReuseGrace = ReuseGrace::Window(TimeDelta::seconds(10));

fn after(seconds: i64) -> Moment {
    start() + TimeDelta::seconds(seconds)
}

#[test]
fn only_the_latest_generation_is_current() {
    assert_eq!(
        state(5).token_status(5, after(1), TEN_SECONDS),
        TokenStatus::Current
    );
    assert_eq!(
        state(5).token_status(6, after(1), TEN_SECONDS),
        TokenStatus::UnknownGeneration
    );
}

#[test]
fn grace_is_limited_to_the_predecessor_and_the_window() {
    assert_eq!(
        state(5).token_status(4, after(10), TEN_SECONDS),
        TokenStatus::Grace
    );
    assert_eq!(
        state(5).token_status(4, after(11), TEN_SECONDS),
        TokenStatus::Spent
    );
    assert_eq!(
        state(5).token_status(3, after(0), TEN_SECONDS),
        TokenStatus::Spent
    );
}

#[test]
fn window_of_zero_disables_the_grace() {
    assert_eq!(
        state(1).token_status(0, after(0), ReuseGrace::Window(TimeDelta::zero())),
        TokenStatus::Spent
    );
}

#[test]
fn repeat_before_the_rotation_is_within_the_grace() {
    assert_eq!(
        state(1).token_status(0, after(-60), TEN_SECONDS),
        TokenStatus::Grace
    );
}

#[test]
fn unlimited_grace_covers_all_generations() {
    assert_eq!(
        state(5).token_status(0, after(86_400), ReuseGrace::Unlimited),
        TokenStatus::Grace
    );
}

#[test]
fn status_of_a_dead_session_overrides_grace_and_reuse() {
    let mut revoked = state(5);
    revoked.session.revoked = Some((after(1), RevokedReason::LoggedOut));
    let mut stale = state(5);
    stale
        .user
        .as_mut()
        .into_iter()
        .for_each(|user| user.session_epoch = 4);
    let mut inactive = state(5);
    inactive
        .user
        .as_mut()
        .into_iter()
        .for_each(|user| user.is_active = false);
    let mut deleted = state(5);
    deleted.user = None;
    for generation in [5, 4, 0] {
        let status = |state: &SessionState| state.token_status(generation, after(2), TEN_SECONDS);
        assert_eq!(
            status(&revoked),
            TokenStatus::Revoked(RevokedReason::LoggedOut)
        );
        assert_eq!(status(&stale), TokenStatus::StaleEpoch);
        assert_eq!(status(&inactive), TokenStatus::NoActiveUser);
        assert_eq!(status(&deleted), TokenStatus::NoActiveUser);
    }
    assert_eq!(
        state(5).token_status(5, after(30 * 86_400), TEN_SECONDS),
        TokenStatus::Ended
    );
}

#[test]
fn access_token_does_not_depend_on_the_generation() {
    assert_eq!(
        state(5).access_token_status(3, after(3600)),
        TokenStatus::Current
    );
    assert_eq!(
        state(5).access_token_status(2, after(3600)),
        TokenStatus::StaleEpoch
    );
}
