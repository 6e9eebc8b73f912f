//! Trust over time, with a simulated clock.

use super::*;
use crate::key_names::BUCKETS;

const INFO: &str = "run_id:a1\r\nmaster_replid:b2\r\nevicted_keys:0\r\nmaxmemory:0\r\n";

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn epochs(value: &str) -> Epochs {
    let mut epochs = Epochs::default();
    for bucket in 0..BUCKETS {
        epochs.set(bucket, Some(value.to_owned()));
    }
    epochs
}

/// Result of a probe after this time, by the local clock and by the server's.
fn seen(trust: &Trust, local_time: Duration, server_time: Duration) -> Observation {
    let sent_at = trust.started_at + local_time;
    let reading = ClockReading {
        sent_at,
        replied_at: sent_at,
        server_time: seconds(1_800_000_000) + server_time,
    };
    let mut seen = Observation {
        sent_at,
        epochs: epochs("own:a.1"),
        ..Observation::new(trust.failures.load(Ordering::Acquire))
    };
    seen.add("127.0.0.1:6379", &[], ServerInfo::parse(INFO), reading);
    seen
}

fn filled() -> Trust {
    let trust = Trust::new(DeploymentId::new("own"));
    let ticket = trust.begin_rebuild(seen(&trust, Duration::ZERO, Duration::ZERO));
    let ended = seen(&trust, Duration::ZERO, Duration::ZERO);
    assert!(trust.end_rebuild(ticket, epochs("own:a.1"), &ended));
    trust
}

/// The process was paused, or no probe ran for another reason: the next lookup must not be trusted.
#[test]
fn trust_ends_with_the_lifetime_of_an_epoch() {
    let trust = filled();
    assert!(trust.is_given_at(trust.started_at + seconds(59)));
    assert!(!trust.is_given_at(trust.started_at + seconds(60)));
}

#[test]
fn probes_in_time_keep_trust_and_a_late_one_needs_a_rebuild() {
    let trust = filled();
    for second in [50, 100, 150] {
        let probe = trust.assess(&seen(&trust, seconds(second), seconds(second)));
        assert_eq!(probe.state, CacheState::Current);
        assert!(trust.is_given_at(trust.started_at + seconds(second + 59)));
    }
    for second in [211, 212] {
        let probe = trust.assess(&seen(&trust, seconds(second), seconds(second)));
        assert_eq!(
            probe.state,
            CacheState::Unknown,
            "a late probe does not restore trust"
        );
        assert!(!trust.is_given_at(trust.started_at + seconds(second)));
    }
    let ticket = trust.begin_rebuild(seen(&trust, seconds(213), seconds(213)));
    assert!(trust.end_rebuild(
        ticket,
        epochs("own:a.1"),
        &seen(&trust, seconds(214), seconds(214))
    ));
    assert!(trust.is_given_at(trust.started_at + seconds(215)));
}

/// The machine was suspended for an hour: its monotonic clock stood still, and other instances
/// renewed the cache epoch.
#[test]
fn clock_jump_of_the_server_needs_a_rebuild() {
    let trust = filled();
    assert_eq!(
        trust.assess(&seen(&trust, seconds(1), seconds(3601))).state,
        CacheState::Unknown
    );
}

#[test]
fn drift_is_measured_from_the_rebuild_on() {
    let trust = filled();
    for probe in 1..=5 {
        let state = trust
            .assess(&seen(&trust, seconds(probe * 50), seconds(probe * 51)))
            .state;
        assert_eq!(state, CacheState::Current, "{probe}");
    }
    assert_eq!(
        trust
            .assess(&seen(&trust, seconds(300), seconds(306)))
            .state,
        CacheState::Unknown
    );
}

#[test]
fn rebuild_with_a_clock_jump_is_not_trusted() {
    let trust = Trust::new(DeploymentId::new("own"));
    let ticket = trust.begin_rebuild(seen(&trust, Duration::ZERO, Duration::ZERO));
    assert!(!trust.end_rebuild(
        ticket,
        epochs("own:a.1"),
        &seen(&trust, seconds(1), seconds(31))
    ));
    assert!(!trust.is_given_at(trust.started_at + seconds(1)));
}

#[test]
fn lookup_sent_before_the_end_of_a_rebuild_is_not_trusted() {
    let trust = Trust::new(DeploymentId::new("own"));
    let ticket = trust.begin_rebuild(seen(&trust, Duration::ZERO, Duration::ZERO));
    let before = trust.counters();
    assert!(trust.end_rebuild(
        ticket,
        epochs("own:a.1"),
        &seen(&trust, Duration::ZERO, Duration::ZERO)
    ));
    assert!(!trust.is_given_for(0, Some("own:a.1"), before));
    assert!(trust.is_given_for(0, Some("own:a.1"), trust.counters()));
    for epoch in [
        None,
        Some("1"),
        Some("own"),
        Some("own:a.2"),
        Some("other:a.1"),
    ] {
        assert!(!trust.is_given_for(0, epoch, trust.counters()), "{epoch:?}");
    }
}
