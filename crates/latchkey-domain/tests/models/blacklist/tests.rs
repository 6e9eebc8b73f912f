//! Explorations. Each has a few faults, which can occur at any step.

use super::{
    Blacklist, Rules,
    properties::{ENTRIES_ONLY_INCREASE, ENTRY_NOT_AHEAD_OF_ROW, NO_MISSED_REVOCATION},
};
use crate::{assert_holds, assert_violated};

const NO_FAULTS: Blacklist = Blacklist {
    flushes: 0,
    restarts: 0,
    failures: 0,
    crashes: 0,
    jumps: 0,
    foreign_rebuilds: 0,
    rules: Rules::Implemented,
};

#[test]
fn fault_free_run_misses_no_revocation() {
    assert_holds("blacklist, no faults", NO_FAULTS);
}

#[test]
fn flush_at_any_step_misses_no_revocation() {
    assert_holds(
        "blacklist, two flushes",
        Blacklist {
            flushes: 2,
            ..NO_FAULTS
        },
    );
}

#[test]
fn old_snapshot_misses_no_revocation() {
    assert_holds(
        "blacklist, restart from an old snapshot",
        Blacklist {
            restarts: 1,
            ..NO_FAULTS
        },
    );
}

#[test]
fn failed_or_unanswered_commands_miss_no_revocation() {
    assert_holds(
        "blacklist, two failing commands",
        Blacklist {
            failures: 2,
            ..NO_FAULTS
        },
    );
    assert_holds(
        "blacklist, a failing command and a flush",
        Blacklist {
            failures: 1,
            flushes: 1,
            ..NO_FAULTS
        },
    );
}

#[test]
fn crash_between_row_and_entry_misses_no_revocation() {
    assert_holds(
        "blacklist, a crash and a flush",
        Blacklist {
            crashes: 1,
            flushes: 1,
            ..NO_FAULTS
        },
    );
}

#[test]
fn clock_jumps_miss_no_revocation() {
    assert_holds(
        "blacklist, two clock jumps",
        Blacklist {
            jumps: 2,
            ..NO_FAULTS
        },
    );
    assert_holds(
        "blacklist, a clock jump and a flush",
        Blacklist {
            jumps: 1,
            flushes: 1,
            ..NO_FAULTS
        },
    );
}

#[test]
fn foreign_rebuild_misses_no_revocation() {
    assert_holds(
        "blacklist, a flush and a foreign rebuild",
        Blacklist {
            flushes: 1,
            foreign_rebuilds: 1,
            ..NO_FAULTS
        },
    );
    assert_holds(
        "blacklist, a clock jump and a foreign rebuild",
        Blacklist {
            jumps: 1,
            foreign_rebuilds: 1,
            ..NO_FAULTS
        },
    );
}

#[test]
fn trust_in_foreign_epochs_violates_the_model() {
    assert_violated(
        NO_MISSED_REVOCATION,
        Blacklist {
            flushes: 1,
            foreign_rebuilds: 1,
            rules: Rules::EveryEpochIsTrusted,
            ..NO_FAULTS
        },
    );
}

#[test]
fn epoch_that_outlives_entries_violates_the_model() {
    for rules in [Rules::EpochsNeverExpire, Rules::ClockJumpsAreIgnored] {
        assert_violated(
            NO_MISSED_REVOCATION,
            Blacklist {
                jumps: 2,
                rules,
                ..NO_FAULTS
            },
        );
    }
}

#[test]
fn epoch_renewed_after_a_jump_violates_the_model() {
    for rules in [Rules::EpochIsRenewedAfterJump, Rules::SealAfterJump] {
        assert_violated(
            NO_MISSED_REVOCATION,
            Blacklist {
                jumps: 3,
                rules,
                ..NO_FAULTS
            },
        );
    }
}

#[test]
fn seal_without_ticket_violates_the_model() {
    assert_violated(
        NO_MISSED_REVOCATION,
        Blacklist {
            flushes: 1,
            rules: Rules::SealWithoutTicket,
            ..NO_FAULTS
        },
    );
}

#[test]
fn late_write_that_lowers_an_entry_violates_the_model() {
    for property in [NO_MISSED_REVOCATION, ENTRIES_ONLY_INCREASE] {
        assert_violated(
            property,
            Blacklist {
                rules: Rules::LastWriteWins,
                ..NO_FAULTS
            },
        );
    }
}

#[test]
fn ignored_failed_write_violates_the_model() {
    assert_violated(
        NO_MISSED_REVOCATION,
        Blacklist {
            failures: 1,
            rules: Rules::FailedWritesAreIgnored,
            ..NO_FAULTS
        },
    );
}

#[test]
fn trust_after_a_failed_connection_violates_the_model() {
    assert_violated(
        NO_MISSED_REVOCATION,
        Blacklist {
            restarts: 1,
            rules: Rules::FailedConnectionsAreTrusted,
            ..NO_FAULTS
        },
    );
}

#[test]
fn entry_written_before_the_row_violates_the_model() {
    assert_violated(
        ENTRY_NOT_AHEAD_OF_ROW,
        Blacklist {
            rules: Rules::EntryFirst,
            ..NO_FAULTS
        },
    );
}
