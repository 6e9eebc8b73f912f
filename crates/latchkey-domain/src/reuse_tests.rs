//! Tests of each consequence and of the comparison of clients.

use proptest::prelude::*;
use uuid::Uuid;

use super::{ClientBinding, Consequence, Difference, networks_differ};
use crate::{
    audit::Origin,
    decision::Purpose,
    ids::{SessionId, UserId},
    session::Session,
    time::Moment,
};

const SAME: Difference = Difference {
    address: false,
    agent: false,
};
const ADDRESS: Difference = Difference {
    address: true,
    agent: false,
};
const AGENT: Difference = Difference {
    address: false,
    agent: true,
};
const BOTH: Difference = Difference {
    address: true,
    agent: true,
};

fn held_by(ip: Option<&str>, agent: Option<&str>) -> Session {
    Session {
        id: SessionId::new(Uuid::nil()),
        user_id: UserId::new("ada"),
        session_epoch: 0,
        generation: 1,
        created_at: Moment::UNIX_EPOCH,
        rotated_at: Moment::UNIX_EPOCH,
        expires_at: Moment::UNIX_EPOCH,
        revoked: None,
        last_ip: ip.map(ToOwned::to_owned),
        user_agent: agent.map(ToOwned::to_owned),
    }
}

fn sent_by(ip: Option<&str>, agent: Option<&str>) -> Origin {
    Origin {
        ip: ip.map(ToOwned::to_owned),
        user_agent: agent.map(ToOwned::to_owned),
    }
}

#[test]
fn consequence_depends_on_purpose_grace_and_difference() {
    use Consequence::{CountedSuccessor, Logout, Refusal, Reuse, Successor};
    for (purpose, in_grace, by_difference) in [
        (
            Purpose::Refresh,
            true,
            [Successor, CountedSuccessor, CountedSuccessor, Reuse],
        ),
        (Purpose::Refresh, false, [Reuse, Reuse, Reuse, Reuse]),
        (Purpose::Logout, true, [Logout, Logout, Logout, Reuse]),
        (Purpose::Logout, false, [Reuse, Reuse, Reuse, Reuse]),
        (Purpose::Verify, true, [Refusal, Refusal, Refusal, Reuse]),
        (Purpose::Verify, false, [Refusal, Refusal, Refusal, Reuse]),
        (
            Purpose::Authenticate,
            true,
            [Refusal, Refusal, Refusal, Reuse],
        ),
        (
            Purpose::Authenticate,
            false,
            [Refusal, Refusal, Refusal, Reuse],
        ),
    ] {
        for (difference, expected) in [SAME, ADDRESS, AGENT, BOTH].into_iter().zip(by_difference) {
            let found = purpose.consequence(in_grace, difference, ClientBinding::Client);
            assert_eq!(
                found,
                expected,
                "{purpose:?}, in grace: {in_grace}, differs in {}",
                difference.as_str()
            );
            let unbound = purpose.consequence(in_grace, difference, ClientBinding::None);
            assert_eq!(unbound, by_difference[0], "{purpose:?} without binding");
        }
    }
}

#[test]
fn difference_in_address_and_agent_is_always_reuse() {
    for purpose in [Purpose::Refresh, Purpose::Logout, Purpose::Verify] {
        for in_grace in [true, false] {
            assert_eq!(
                purpose.consequence(in_grace, BOTH, ClientBinding::Client),
                Consequence::Reuse
            );
        }
    }
}

#[test]
fn missing_agent_differs_but_unknown_address_does_not() {
    let holder = held_by(Some("192.0.2.1"), Some("phone"));
    assert_eq!(
        Difference::between(&holder, &sent_by(Some("192.0.2.1"), Some("phone"))),
        SAME
    );
    assert_eq!(
        Difference::between(&holder, &sent_by(None, Some("phone"))),
        SAME
    );
    assert_eq!(
        Difference::between(&holder, &sent_by(Some("192.0.2.2"), Some("phone"))),
        ADDRESS
    );
    assert_eq!(
        Difference::between(&holder, &sent_by(Some("192.0.2.1"), None)),
        AGENT
    );
    assert_eq!(
        Difference::between(&holder, &sent_by(Some("192.0.2.2"), None)),
        BOTH
    );
    let without_agent = held_by(Some("192.0.2.1"), None);
    assert_eq!(
        Difference::between(&without_agent, &sent_by(Some("192.0.2.1"), None)),
        SAME
    );
    assert_eq!(
        Difference::between(&without_agent, &sent_by(Some("192.0.2.2"), Some("curl"))),
        BOTH
    );
    let without_either = held_by(None, None);
    assert_eq!(
        Difference::between(&without_either, &sent_by(Some("192.0.2.2"), Some("curl"))),
        AGENT
    );
    assert_eq!(
        Difference::between(&held_by(Some("?"), None), &sent_by(Some("192.0.2.2"), None)),
        SAME
    );
}

#[test]
fn addresses_are_compared_by_network() {
    for (holder, sender, expected) in [
        ("192.0.2.1", "192.0.2.1", false),
        ("192.0.2.1", "192.0.2.2", true),
        ("192.0.2.1", "::ffff:192.0.2.1", false),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", true),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", false),
        ("2001:db8::1", "2001:db8:0:1::1", true),
        ("2001:db8::1", "192.0.2.1", true),
    ] {
        assert_eq!(
            networks_differ(Some(holder), Some(sender)),
            expected,
            "{holder} {sender}"
        );
    }
}

fn address() -> impl Strategy<Value = Option<String>> {
    let known = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
        ".{0,12}",
    ];
    proptest::option::of(known)
}

fn agent() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[ab]{0,2}")
}

proptest! {
    #[test]
    fn client_does_not_differ_from_itself(ip in address(), agent in agent()) {
        let (holder, sender) = (held_by(ip.as_deref(), agent.as_deref()), sent_by(ip.as_deref(), agent.as_deref()));
        prop_assert_eq!(Difference::between(&holder, &sender), SAME);
    }

    #[test]
    fn comparison_is_symmetric(one in (address(), agent()), other in (address(), agent())) {
        let there = Difference::between(
            &held_by(one.0.as_deref(), one.1.as_deref()),
            &sent_by(other.0.as_deref(), other.1.as_deref()),
        );
        let back = Difference::between(
            &held_by(other.0.as_deref(), other.1.as_deref()),
            &sent_by(one.0.as_deref(), one.1.as_deref()),
        );
        prop_assert_eq!(there, back);
    }

    /// A sender cannot impersonate the holder by omitting a header.
    #[test]
    fn missing_agent_does_not_hide_a_difference(holder in "[ab]{0,2}", sender in agent()) {
        let difference = Difference::between(&held_by(None, Some(&holder)), &sent_by(None, sender.as_deref()));
        prop_assert_eq!(difference.agent, sender.as_deref() != Some(holder.as_str()));
    }

    #[test]
    fn hosts_of_one_site_do_not_differ(site in any::<u64>(), one in any::<u64>(), other in any::<u64>()) {
        // Excludes IPv4-mapped addresses.
        prop_assume!(site != 0);
        let host = |host: u64| std::net::Ipv6Addr::from(u128::from(site) << 64 | u128::from(host)).to_string();
        prop_assert!(!networks_differ(Some(&host(one)), Some(&host(other))));
    }
}
