//! What was explored. Faults of every kind come at every moment, a few of them in each world.

use super::{
    Marks, Rules,
    promises::{BELIEVED, FORWARD, TRUTH},
};
use crate::model::{explored, found_broken};

const CALM: Marks = Marks {
    floods: 0,
    restarts: 0,
    failures: 0,
    crashes: 0,
    jumps: 0,
    strangers: 0,
    rules: Rules::Ours,
};

#[test]
fn without_faults_no_revocation_is_missed() {
    explored("marks, no faults", CALM);
}

#[test]
fn redis_may_forget_at_any_moment() {
    explored("marks, emptied twice", Marks { floods: 2, ..CALM });
}

#[test]
fn redis_may_start_again_with_what_it_had_saved() {
    explored(
        "marks, started from an old snapshot",
        Marks {
            restarts: 1,
            ..CALM
        },
    );
}

#[test]
fn commands_may_fail_or_be_done_unheard() {
    explored(
        "marks, failing commands",
        Marks {
            failures: 2,
            ..CALM
        },
    );
    explored(
        "marks, a failing command, emptied once",
        Marks {
            failures: 1,
            floods: 1,
            ..CALM
        },
    );
}

#[test]
fn a_process_may_die_between_the_row_and_the_mark() {
    explored(
        "marks, a crash, emptied once",
        Marks {
            crashes: 1,
            floods: 1,
            ..CALM
        },
    );
}

#[test]
fn the_clock_of_redis_may_jump_again_and_again() {
    explored("marks, two jumps of the clock", Marks { jumps: 2, ..CALM });
    explored(
        "marks, a jump, emptied once",
        Marks {
            jumps: 1,
            floods: 1,
            ..CALM
        },
    );
}

#[test]
fn a_copy_of_the_database_may_fill_what_was_emptied() {
    explored(
        "marks, emptied once, filled by another deployment",
        Marks {
            floods: 1,
            strangers: 1,
            ..CALM
        },
    );
    explored(
        "marks, a jump, filled by another deployment",
        Marks {
            jumps: 1,
            strangers: 1,
            ..CALM
        },
    );
}

#[test]
fn the_model_finds_an_epoch_that_is_trusted_regardless_of_its_owner() {
    found_broken(
        BELIEVED,
        Marks {
            floods: 1,
            strangers: 1,
            rules: Rules::EveryEpochIsTrusted,
            ..CALM
        },
    );
}

#[test]
fn the_model_finds_an_epoch_that_outlives_its_entries() {
    for rules in [Rules::EpochsAreEndless, Rules::JumpsAreNotSeen] {
        found_broken(
            BELIEVED,
            Marks {
                jumps: 2,
                rules,
                ..CALM
            },
        );
    }
}

#[test]
fn the_model_finds_an_epoch_that_is_renewed_after_a_jump_that_only_one_noticed() {
    for rules in [Rules::RenewedAfterAJump, Rules::SealedAfterAJump] {
        found_broken(
            BELIEVED,
            Marks {
                jumps: 3,
                rules,
                ..CALM
            },
        );
    }
}

#[test]
fn the_model_finds_a_seal_that_ignores_its_ticket() {
    found_broken(
        BELIEVED,
        Marks {
            floods: 1,
            rules: Rules::SealWithoutTicket,
            ..CALM
        },
    );
}

#[test]
fn the_model_finds_a_late_write_that_lowers_a_mark() {
    for promise in [BELIEVED, FORWARD] {
        found_broken(
            promise,
            Marks {
                rules: Rules::LastWriteWins,
                ..CALM
            },
        );
    }
}

#[test]
fn the_model_finds_a_failed_write_that_is_forgotten() {
    found_broken(
        BELIEVED,
        Marks {
            failures: 1,
            rules: Rules::FailuresAreForgotten,
            ..CALM
        },
    );
}

#[test]
fn the_model_finds_a_connection_that_is_trusted_after_it_failed() {
    found_broken(
        BELIEVED,
        Marks {
            restarts: 1,
            rules: Rules::ConnectionsAreTrusted,
            ..CALM
        },
    );
}

#[test]
fn the_model_finds_a_mark_that_is_written_before_the_row() {
    found_broken(
        TRUTH,
        Marks {
            rules: Rules::MarkFirst,
            ..CALM
        },
    );
}
