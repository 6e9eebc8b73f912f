//! Trust over time, with a simulated clock.

use super::*;
use crate::store::redis::key_names::BUCKETS;

const INFO: &str = "run_id:a1\r\nmaster_replid:b2\r\nevicted_keys:0\r\nmaxmemory:0\r\n";

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn epochs(value: &str) -> Epochs {
    let mut epochs = Epochs::default();
    for bucket in 0..BUCKETS {
        epochs.note(bucket, Some(value.to_owned()));
    }
    epochs
}

/// The result of a look after this time, by our clock and by the server's.
fn seen(belief: &Trust, ours: Duration, theirs: Duration) -> Observation {
    let asked = belief.started_at + ours;
    let reading = ClockReading {
        asked,
        answered: asked,
        theirs: seconds(1_800_000_000) + theirs,
    };
    let mut seen = Observation {
        asked,
        epochs: epochs("own:a.1"),
        ..Observation::new(belief.failures.load(Ordering::Acquire))
    };
    seen.add("127.0.0.1:6379", &[], ServerInfo::parse(INFO), reading);
    seen
}

fn filled() -> Trust {
    let belief = Trust::new(DeploymentId::new("own"));
    let ticket = belief.begin_rebuild(seen(&belief, Duration::ZERO, Duration::ZERO));
    let ended = seen(&belief, Duration::ZERO, Duration::ZERO);
    assert!(belief.end_rebuild(ticket, epochs("own:a.1"), &ended));
    belief
}

/// The process was paused, or there was no look for another reason: the next check must not trust Redis.
#[test]
fn a_look_is_trusted_for_no_longer_than_an_epoch_lives() {
    let belief = filled();
    assert!(belief.is_given_at(belief.started_at + seconds(59)));
    assert!(!belief.is_given_at(belief.started_at + seconds(60)));
}

#[test]
fn looks_in_time_keep_trust_and_a_late_one_asks_for_a_rebuild() {
    let belief = filled();
    for second in [50, 100, 150] {
        let look = belief.assess(&seen(&belief, seconds(second), seconds(second)));
        assert_eq!(look.state, CacheState::Current);
        assert!(belief.is_given_at(belief.started_at + seconds(second + 59)));
    }
    for second in [211, 212] {
        let look = belief.assess(&seen(&belief, seconds(second), seconds(second)));
        assert_eq!(
            look.state,
            CacheState::Unknown,
            "a late look does not restore trust"
        );
        assert!(!belief.is_given_at(belief.started_at + seconds(second)));
    }
    let ticket = belief.begin_rebuild(seen(&belief, seconds(213), seconds(213)));
    assert!(belief.end_rebuild(
        ticket,
        epochs("own:a.1"),
        &seen(&belief, seconds(214), seconds(214))
    ));
    assert!(belief.is_given_at(belief.started_at + seconds(215)));
}

/// The machine was suspended for an hour: its monotonic clock stood still, other instances kept the epoch alive.
#[test]
fn an_hour_that_passed_only_on_the_server_asks_for_a_rebuild() {
    let belief = filled();
    assert_eq!(
        belief
            .assess(&seen(&belief, seconds(1), seconds(3601)))
            .state,
        CacheState::Unknown
    );
}

#[test]
fn drift_adds_up_from_the_rebuild_on() {
    let belief = filled();
    for look in 1..=5 {
        let memory = belief
            .assess(&seen(&belief, seconds(look * 50), seconds(look * 51)))
            .state;
        assert_eq!(memory, CacheState::Current, "{look}");
    }
    assert_eq!(
        belief
            .assess(&seen(&belief, seconds(300), seconds(306)))
            .state,
        CacheState::Unknown
    );
}

#[test]
fn a_rebuild_during_which_the_clock_jumped_is_not_trusted() {
    let belief = Trust::new(DeploymentId::new("own"));
    let ticket = belief.begin_rebuild(seen(&belief, Duration::ZERO, Duration::ZERO));
    assert!(!belief.end_rebuild(
        ticket,
        epochs("own:a.1"),
        &seen(&belief, seconds(1), seconds(31))
    ));
    assert!(!belief.is_given_at(belief.started_at + seconds(1)));
}

#[test]
fn an_answer_requested_before_a_rebuild_ended_is_not_trusted_after_it() {
    let belief = Trust::new(DeploymentId::new("own"));
    let ticket = belief.begin_rebuild(seen(&belief, Duration::ZERO, Duration::ZERO));
    let before = belief.counters();
    assert!(belief.end_rebuild(
        ticket,
        epochs("own:a.1"),
        &seen(&belief, Duration::ZERO, Duration::ZERO)
    ));
    assert!(!belief.is_given_for(0, Some("own:a.1"), before));
    assert!(belief.is_given_for(0, Some("own:a.1"), belief.counters()));
    for epoch in [
        None,
        Some("1"),
        Some("own"),
        Some("own:a.2"),
        Some("other:a.1"),
    ] {
        assert!(
            !belief.is_given_for(0, epoch, belief.counters()),
            "{epoch:?}"
        );
    }
}
