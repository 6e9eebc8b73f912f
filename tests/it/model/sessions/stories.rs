//! What was explored. Each world has the most that can be looked through in a few seconds.

use chrono::TimeDelta;
use latchkey::domain::session::ReuseGrace;

use super::{
    HOME, Operation, Place, Rules, Sessions,
    promises::{CAUSE, EFFECT, ELSEWHERE, ENDED, ONE_LIVE, ONE_SUCCESSOR, PROMPT, WINDOW},
};
use crate::model::{explored, found_broken};

const STRICT: ReuseGrace = ReuseGrace::Window(TimeDelta::zero());

fn ticks(number: i64) -> ReuseGrace {
    ReuseGrace::Window(TimeDelta::seconds(number))
}

/// Two tabs that have the same token, a thief who steals one of theirs, and time beyond the window.
fn two_tabs_and_a_thief(grace: ReuseGrace) -> Sessions {
    Sessions {
        grace,
        clients: vec![(0, 2), (0, 1)],
        roaming: false,
        thief: HOME,
        limit: 1,
        questions: 0,
        prompt: false,
        thefts: 1,
        log_outs: 0,
        operator: Vec::new(),
        forgeries: 0,
        horizon: 2,
        ends: 9,
        rules: Rules::Ours,
    }
}

/// Those who end sessions race those who use them.
fn somebody_ends_it(grace: ReuseGrace) -> Sessions {
    Sessions {
        thefts: 0,
        log_outs: 1,
        operator: vec![Operation::SignOutAll],
        horizon: 0,
        ..two_tabs_and_a_thief(grace)
    }
}

fn a_prompt_client(grace: ReuseGrace) -> Sessions {
    Sessions {
        clients: vec![(0, 4)],
        prompt: true,
        thefts: 0,
        horizon: 3,
        ..two_tabs_and_a_thief(grace)
    }
}

/// The owner's only client, and a thief at another place.
fn a_thief_at(thief: Place) -> Sessions {
    Sessions {
        clients: vec![(0, 2)],
        thief,
        thefts: 2,
        horizon: 1,
        ..two_tabs_and_a_thief(ticks(1))
    }
}

/// The thief refreshes once and asks `verify` once, in either order.
fn a_thief_who_asks() -> Sessions {
    Sessions {
        thefts: 1,
        questions: 1,
        ..a_thief_at(ELSE)
    }
}

const OTHER_ADDRESS: Place = Place { address: 7, ..HOME };
const ELSE: Place = Place {
    address: 7,
    agent: 7,
};

#[test]
fn a_thief_elsewhere_gets_no_successor_after_the_owners_rotation_and_is_detected() {
    explored("a thief elsewhere", a_thief_who_asks());
    explored(
        "a thief elsewhere, two tabs",
        Sessions {
            thief: ELSE,
            horizon: 1,
            ..two_tabs_and_a_thief(ticks(1))
        },
    );
}

#[test]
fn a_thief_with_another_address_gets_no_more_repeats_than_the_limit() {
    explored("a thief with another address", a_thief_at(OTHER_ADDRESS));
}

/// Every response is lost: one exchange and all repeats.
#[test]
fn a_client_that_changes_networks_while_it_retries_in_time_is_never_refused() {
    explored(
        "a prompt client that roams",
        Sessions {
            roaming: true,
            limit: 3,
            ..a_prompt_client(ticks(1))
        },
    );
}

#[test]
fn the_model_finds_a_grace_that_is_bound_to_no_client() {
    for promise in [ELSEWHERE, EFFECT] {
        found_broken(
            promise,
            Sessions {
                rules: Rules::Unbound,
                ..a_thief_who_asks()
            },
        );
    }
}

#[test]
fn the_model_finds_a_count_without_a_limit() {
    found_broken(
        WINDOW,
        Sessions {
            rules: Rules::CountsWithoutLimit,
            ..a_thief_at(OTHER_ADDRESS)
        },
    );
}

#[test]
fn with_a_window_every_promise_is_kept() {
    explored(
        "two tabs and a thief, a window of one tick",
        two_tabs_and_a_thief(ticks(1)),
    );
}

#[test]
fn with_no_window_every_promise_is_kept() {
    explored(
        "two tabs and a thief, strictly once",
        Sessions {
            horizon: 1,
            ..two_tabs_and_a_thief(STRICT)
        },
    );
}

#[test]
fn with_an_endless_window_every_promise_is_kept() {
    explored(
        "two tabs and a thief, endless",
        two_tabs_and_a_thief(ReuseGrace::Unlimited),
    );
}

#[test]
fn whoever_ends_a_session_at_whatever_moment_it_is_over() {
    for (name, grace) in [
        ("a window", ticks(1)),
        ("strictly once", STRICT),
        ("endless", ReuseGrace::Unlimited),
    ] {
        explored(
            &format!("log-out and cut-off, {name}"),
            somebody_ends_it(grace),
        );
    }
}

#[test]
fn a_forged_token_changes_nothing_at_whatever_moment_it_comes() {
    explored(
        "a forger",
        Sessions {
            forgeries: 1,
            thefts: 0,
            horizon: 1,
            ..two_tabs_and_a_thief(ticks(1))
        },
    );
}

/// What was cut off stays dead, also when the user may come in again.
#[test]
fn an_activation_brings_nothing_back() {
    let operator = vec![Operation::Deactivate, Operation::Activate];
    explored(
        "deactivated and activated",
        Sessions {
            operator,
            log_outs: 0,
            ..somebody_ends_it(ticks(1))
        },
    );
}

#[test]
fn a_session_that_ends_by_itself_gives_nothing_more() {
    explored(
        "the absolute end",
        Sessions {
            ends: 1,
            thefts: 0,
            ..two_tabs_and_a_thief(ticks(2))
        },
    );
}

#[test]
fn the_death_of_one_session_leaves_the_other_alone() {
    let two = Sessions {
        clients: vec![(0, 2), (1, 1)],
        log_outs: 1,
        horizon: 1,
        ..two_tabs_and_a_thief(ticks(1))
    };
    explored("two sessions", two);
}

/// In time since it first sent the token: the window counts from the arrival of the request that won, however long its
/// statement took. It loses answers, its server dies under it, and what it gave up is still under way.
#[test]
fn a_client_that_retries_in_time_is_never_refused() {
    explored("a prompt client, a window", a_prompt_client(ticks(1)));
    explored(
        "a prompt client, endless",
        a_prompt_client(ReuseGrace::Unlimited),
    );
}

#[test]
fn the_model_finds_the_two_successors_of_check_then_act() {
    for promise in [ONE_SUCCESSOR, ONE_LIVE] {
        found_broken(
            promise,
            Sessions {
                rules: Rules::CheckThenAct,
                ..two_tabs_and_a_thief(ticks(1))
            },
        );
    }
}

#[test]
fn the_model_finds_a_window_that_moves_at_each_replay() {
    found_broken(
        WINDOW,
        Sessions {
            rules: Rules::MovingWindow,
            ..two_tabs_and_a_thief(ticks(1))
        },
    );
}

#[test]
fn the_model_finds_a_rotation_that_does_not_look_at_revocations() {
    found_broken(
        ENDED,
        Sessions {
            rules: Rules::RotatesTheRevoked,
            ..somebody_ends_it(ticks(1))
        },
    );
}

#[test]
fn the_model_finds_that_a_lost_answer_is_not_forgiven() {
    for (promise, world) in [
        (CAUSE, two_tabs_and_a_thief(ticks(1))),
        (PROMPT, a_prompt_client(ticks(1))),
    ] {
        found_broken(
            promise,
            Sessions {
                rules: Rules::NoForgiveness,
                ..world
            },
        );
    }
}
