//! The table of what a refresh token is worth, row by row.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{Grace, RevokedReason, Session, SessionState, Standing};
use crate::domain::{
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
        user_version: 3,
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
        version: 3,
        created_at: start(),
        last_login: None,
    };
    SessionState {
        session,
        user: Some(user),
    }
}

const TEN_SECONDS: Grace = Grace::Window(TimeDelta::seconds(10));

fn after(seconds: i64) -> Moment {
    start() + TimeDelta::seconds(seconds)
}

#[test]
fn the_live_generation_is_current_and_a_later_one_was_never_issued() {
    assert_eq!(
        state(5).standing(5, after(1), TEN_SECONDS),
        Standing::Current
    );
    assert_eq!(
        state(5).standing(6, after(1), TEN_SECONDS),
        Standing::Unissued
    );
}

#[test]
fn grace_is_for_the_parent_alone_and_ends_on_the_second() {
    assert_eq!(
        state(5).standing(4, after(10), TEN_SECONDS),
        Standing::Grace
    );
    assert_eq!(
        state(5).standing(4, after(11), TEN_SECONDS),
        Standing::Spent
    );
    assert_eq!(state(5).standing(3, after(0), TEN_SECONDS), Standing::Spent);
}

#[test]
fn no_grace_is_strict_even_in_the_same_instant() {
    assert_eq!(
        state(1).standing(0, after(0), Grace::Window(TimeDelta::zero())),
        Standing::Spent
    );
}

#[test]
fn a_clock_set_back_does_not_turn_a_retry_into_a_theft() {
    assert_eq!(
        state(1).standing(0, after(-60), TEN_SECONDS),
        Standing::Grace
    );
}

#[test]
fn endless_grace_forgives_every_generation_that_was_issued() {
    assert_eq!(
        state(5).standing(0, after(86_400), Grace::Endless),
        Standing::Grace
    );
}

#[test]
fn nothing_of_a_dead_session_is_forgiven_or_punished() {
    let mut revoked = state(5);
    revoked.session.revoked = Some((after(1), RevokedReason::LoggedOut));
    let mut cut_off = state(5);
    cut_off
        .user
        .as_mut()
        .into_iter()
        .for_each(|user| user.version = 4);
    let mut inactive = state(5);
    inactive
        .user
        .as_mut()
        .into_iter()
        .for_each(|user| user.is_active = false);
    let mut gone = state(5);
    gone.user = None;
    for generation in [5, 4, 0] {
        let standing = |state: &SessionState| state.standing(generation, after(2), TEN_SECONDS);
        assert_eq!(
            standing(&revoked),
            Standing::Revoked(RevokedReason::LoggedOut)
        );
        assert_eq!(standing(&cut_off), Standing::CutOff);
        assert_eq!(standing(&inactive), Standing::NoActiveUser);
        assert_eq!(standing(&gone), Standing::NoActiveUser);
    }
    assert_eq!(
        state(5).standing(5, after(30 * 86_400), TEN_SECONDS),
        Standing::Ended
    );
}

#[test]
fn an_access_token_lives_as_long_as_its_session_whatever_the_generation() {
    assert_eq!(state(5).access_standing(3, after(3600)), Standing::Current);
    assert_eq!(state(5).access_standing(2, after(3600)), Standing::CutOff);
}
