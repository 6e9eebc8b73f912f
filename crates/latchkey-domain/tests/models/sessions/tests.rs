//! Explorations. Each takes a few seconds at most.

use chrono::TimeDelta;
use latchkey_domain::session::ReuseGrace;

use super::{
    HOME, Operation, Place, Rules, Sessions,
    properties::{
        CAUSE, GRACE, ONE_CURRENT, ONE_SUCCESSOR, OTHER_CLIENT_REFUSED, OTHER_CLIENT_REVOKES,
        PROMPT, REVOKED,
    },
};
use crate::{assert_holds, assert_violated};

const NO_GRACE: ReuseGrace = ReuseGrace::Window(TimeDelta::zero());

fn ticks(number: i64) -> ReuseGrace {
    ReuseGrace::Window(TimeDelta::seconds(number))
}

/// Two tabs with the same token, a thief with a stolen token, and time beyond the grace.
fn two_tabs_and_a_thief(grace: ReuseGrace) -> Sessions {
    Sessions {
        grace,
        clients: vec![(0, 2), (0, 1)],
        roaming: false,
        thief: HOME,
        limit: 1,
        verifications: 0,
        prompt: false,
        thefts: 1,
        log_outs: 0,
        operator: Vec::new(),
        forgeries: 0,
        last_tick: 2,
        expires_at: 9,
        rules: Rules::Implemented,
    }
}

/// A log-out and the operator race two tabs.
fn revocations(grace: ReuseGrace) -> Sessions {
    Sessions {
        thefts: 0,
        log_outs: 1,
        operator: vec![Operation::SignOutAll],
        last_tick: 0,
        ..two_tabs_and_a_thief(grace)
    }
}

fn prompt_client(grace: ReuseGrace) -> Sessions {
    Sessions {
        clients: vec![(0, 4)],
        prompt: true,
        thefts: 0,
        last_tick: 3,
        ..two_tabs_and_a_thief(grace)
    }
}

/// One client of the owner, and a thief at another place.
fn thief_at(thief: Place) -> Sessions {
    Sessions {
        clients: vec![(0, 2)],
        thief,
        thefts: 2,
        last_tick: 1,
        ..two_tabs_and_a_thief(ticks(1))
    }
}

/// The thief refreshes once and verifies once, in either order.
fn thief_that_verifies() -> Sessions {
    Sessions {
        thefts: 1,
        verifications: 1,
        ..thief_at(OTHER_CLIENT)
    }
}

const OTHER_ADDRESS: Place = Place { address: 7, ..HOME };
const OTHER_CLIENT: Place = Place {
    address: 7,
    agent: 7,
};

#[test]
fn thief_with_other_client_gets_no_successor() {
    assert_holds("thief with another client", thief_that_verifies());
    assert_holds(
        "thief with another client, two tabs",
        Sessions {
            thief: OTHER_CLIENT,
            last_tick: 1,
            ..two_tabs_and_a_thief(ticks(1))
        },
    );
}

#[test]
fn thief_with_other_address_gets_limited_repeats() {
    assert_holds("thief with another address", thief_at(OTHER_ADDRESS));
}

/// The client sends four requests: one rotation and at most three repeats.
#[test]
fn roaming_client_that_retries_in_time_is_never_refused() {
    assert_holds(
        "prompt client that roams",
        Sessions {
            roaming: true,
            limit: 3,
            ..prompt_client(ticks(1))
        },
    );
}

#[test]
fn grace_for_every_client_violates_the_model() {
    for property in [OTHER_CLIENT_REFUSED, OTHER_CLIENT_REVOKES] {
        assert_violated(
            property,
            Sessions {
                rules: Rules::Unbound,
                ..thief_that_verifies()
            },
        );
    }
}

#[test]
fn repeats_without_limit_violate_the_model() {
    assert_violated(
        GRACE,
        Sessions {
            rules: Rules::RepeatsAreUnlimited,
            ..thief_at(OTHER_ADDRESS)
        },
    );
}

#[test]
fn limited_grace_keeps_every_property() {
    assert_holds(
        "two tabs and a thief, grace of one tick",
        two_tabs_and_a_thief(ticks(1)),
    );
}

#[test]
fn zero_grace_keeps_every_property() {
    assert_holds(
        "two tabs and a thief, no grace",
        Sessions {
            last_tick: 1,
            ..two_tabs_and_a_thief(NO_GRACE)
        },
    );
}

#[test]
fn unlimited_grace_keeps_every_property() {
    assert_holds(
        "two tabs and a thief, unlimited grace",
        two_tabs_and_a_thief(ReuseGrace::Unlimited),
    );
}

#[test]
fn revocation_at_any_step_ends_the_session() {
    for (name, grace) in [
        ("limited grace", ticks(1)),
        ("no grace", NO_GRACE),
        ("unlimited grace", ReuseGrace::Unlimited),
    ] {
        assert_holds(
            &format!("log-out and stale epoch, {name}"),
            revocations(grace),
        );
    }
}

#[test]
fn forged_token_at_any_step_changes_no_row() {
    assert_holds(
        "forger",
        Sessions {
            forgeries: 1,
            thefts: 0,
            last_tick: 1,
            ..two_tabs_and_a_thief(ticks(1))
        },
    );
}

#[test]
fn reactivation_restores_no_session() {
    let operator = vec![Operation::Deactivate, Operation::Activate];
    assert_holds(
        "deactivated and activated",
        Sessions {
            operator,
            log_outs: 0,
            ..revocations(ticks(1))
        },
    );
}

#[test]
fn expired_session_returns_no_token() {
    assert_holds(
        "expiry of the session",
        Sessions {
            expires_at: 1,
            thefts: 0,
            ..two_tabs_and_a_thief(ticks(2))
        },
    );
}

#[test]
fn revocation_leaves_other_sessions_alone() {
    let two = Sessions {
        clients: vec![(0, 2), (1, 1)],
        log_outs: 1,
        last_tick: 1,
        ..two_tabs_and_a_thief(ticks(1))
    };
    assert_holds("two sessions", two);
}

/// The grace starts at the arrival of the request that rotates, so the time of its statement
/// counts. Answers get lost, servers crash, and abandoned requests continue.
#[test]
fn client_that_retries_in_time_is_never_refused() {
    assert_holds("prompt client, limited grace", prompt_client(ticks(1)));
    assert_holds(
        "prompt client, unlimited grace",
        prompt_client(ReuseGrace::Unlimited),
    );
}

#[test]
fn check_then_act_violates_the_model() {
    for property in [ONE_SUCCESSOR, ONE_CURRENT] {
        assert_violated(
            property,
            Sessions {
                rules: Rules::CheckThenAct,
                ..two_tabs_and_a_thief(ticks(1))
            },
        );
    }
}

#[test]
fn grace_extended_by_a_repeat_violates_the_model() {
    assert_violated(
        GRACE,
        Sessions {
            rules: Rules::SlidingWindow,
            ..two_tabs_and_a_thief(ticks(1))
        },
    );
}

#[test]
fn rotation_of_a_revoked_session_violates_the_model() {
    assert_violated(
        REVOKED,
        Sessions {
            rules: Rules::RevokedSessionsRotate,
            ..revocations(ticks(1))
        },
    );
}

#[test]
fn reuse_within_the_grace_violates_the_model() {
    for (property, world) in [
        (CAUSE, two_tabs_and_a_thief(ticks(1))),
        (PROMPT, prompt_client(ticks(1))),
    ] {
        assert_violated(
            property,
            Sessions {
                rules: Rules::NoGrace,
                ..world
            },
        );
    }
}
