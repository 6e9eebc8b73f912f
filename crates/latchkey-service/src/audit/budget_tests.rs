use chrono::TimeDelta;

use super::{Budget, MAX_BUCKETS, MAX_PENDING};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind, Origin},
    ids::UserId,
    time::Moment,
};

type Rows = Vec<(AuditEvent, u32)>;

fn at(second: i64) -> Moment {
    Moment::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn event(kind: EventKind, user: Option<&str>, ip: &str) -> AuditEvent {
    let event = AuditEvent::new(at(0), kind, Actor::Client).with_cause("spent");
    let event = event.from(&Origin {
        ip: Some(ip.to_owned()),
        user_agent: Some("agent".to_owned()),
    });
    AuditEvent {
        user: user.map(UserId::new),
        ..event
    }
}

fn refused(user: &str, ip: &str) -> AuditEvent {
    event(EventKind::TokenRefused, Some(user), ip)
}

/// Spends a number of equal rows at once.
fn spend(budget: &mut Budget, number: usize, event: &AuditEvent, now: Moment) -> Rows {
    budget.spend(vec![(event.clone(), 1); number], now).0
}

fn details(row: &AuditEvent) -> (&str, Option<&str>, Option<&str>) {
    (
        row.details[0].1.as_str(),
        row.user.as_ref().map(UserId::as_str),
        row.origin.ip.as_deref(),
    )
}

#[test]
fn flood_of_a_user_is_limited_and_summarised() {
    let mut budget = Budget::new(at(0));
    assert_eq!(
        spend(&mut budget, 1000, &refused("ada", "192.0.2.1"), at(0)).len(),
        20
    );
    let (rows, counted) = budget.spend(vec![(refused("ada", "192.0.2.1"), 7); 100], at(59));
    assert_eq!((rows.len(), counted), (9, 91 * 7));
    let rows = spend(&mut budget, 0, &refused("ada", ""), at(60));
    let [(row, times)] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert_eq!(*times, 980 + 91 * 7);
    assert_eq!(
        (row.kind, row.cause, row.at),
        (EventKind::TokenRefused, Some("over_budget"), at(0))
    );
    assert_eq!(details(row), ("user", Some("ada"), Some("192.0.2.1")));
    assert!(!budget.has_pending());
    assert_eq!(
        spend(&mut budget, 1000, &refused("ada", "192.0.2.1"), at(10_000)).len(),
        20,
        "the budget is full again"
    );
}

#[test]
fn addresses_of_one_network_share_the_budget_of_a_source() {
    let mut budget = Budget::new(at(0));
    let flood = |user: bool| -> Rows {
        let of = |number: u32| user.then(|| format!("user{number}"));
        let event = |number| {
            event(
                EventKind::SignInRefused,
                of(number).as_deref(),
                &format!("2001:db8:1:2::{number:x}"),
            )
        };
        (0..1000).map(|number| (event(number), 1)).collect()
    };
    assert_eq!(budget.spend(flood(false), at(0)).0.len(), 40);
    // Invented names do not hide attacks on existing users.
    assert_eq!(budget.spend(flood(true), at(0)).0.len(), 40);
    let rows = budget.close();
    assert_eq!(rows.iter().map(|(_, times)| times).sum::<u32>(), 2000 - 80);
    assert!(
        rows.iter()
            .all(|(row, _)| details(row) == ("source", None, Some("2001:db8:1:2::/64"))),
        "{rows:?}"
    );
}

#[test]
fn flood_of_a_user_does_not_affect_others() {
    let mut budget = Budget::new(at(0));
    spend(&mut budget, 1000, &refused("mallory", "192.0.2.1"), at(0));
    assert_eq!(
        spend(&mut budget, 1, &refused("ada", "192.0.2.1"), at(0)).len(),
        1
    );
    assert_eq!(
        spend(&mut budget, 1, &refused("bob", "192.0.2.2"), at(0)).len(),
        1
    );
}

#[test]
fn flood_of_many_sources_is_bounded_and_summarised() {
    let mut budget = Budget::new(at(0));
    let (mut written, mut counted, mut sent) = (0, 0, 0);
    for second in 0..120 {
        let number = |n: i64| second * 1000 + n;
        let rows: Rows = (0..1000)
            .map(|n| {
                (
                    refused(
                        &format!("u{}", number(n)),
                        &format!("2001:db8:{:x}:{:x}::1", number(n) >> 16, number(n) & 0xffff),
                    ),
                    1,
                )
            })
            .collect();
        sent += 1000;
        let (rows, _) = budget.spend(rows, at(second));
        written += rows.len();
        counted += rows
            .iter()
            .filter(|(row, _)| row.cause == Some("over_budget"))
            .map(|(_, times)| *times)
            .sum::<u32>();
        assert!(budget.shares.len() <= MAX_BUCKETS && budget.pending.len() <= MAX_PENDING + 4);
    }
    assert!(written <= 1000 + 120 * 4 + 2, "{written}");
    counted += budget.close().iter().map(|(_, times)| *times).sum::<u32>();
    assert_eq!(
        counted as usize + written - 1,
        sent,
        "one row was a summary"
    );
}

#[test]
fn number_of_summary_rows_is_limited() {
    let mut budget = Budget::new(at(0));
    let users: Vec<_> = (0..500)
        .map(|number| {
            refused(
                &format!("u{number}"),
                &format!("10.0.{}.{}", number / 250, number % 250),
            )
        })
        .collect();
    for user in &users {
        // After the first fifty users, `All` is exhausted, and further events are counted there.
        spend(&mut budget, 30, user, at(0));
        spend(&mut budget, 30, user, at(1));
    }
    assert!(
        budget.pending.len() <= MAX_PENDING + 1,
        "{}",
        budget.pending.len()
    );
}

#[test]
fn refreshes_have_a_separate_budget_per_user() {
    let mut budget = Budget::new(at(0));
    let refreshed = event(EventKind::Refreshed, Some("ada"), "192.0.2.1");
    assert_eq!(spend(&mut budget, 1000, &refreshed, at(0)).len(), 60);
    assert_eq!(
        spend(&mut budget, 1000, &refused("ada", "192.0.2.1"), at(0)).len(),
        20
    );
    let many: Rows = (0..5000)
        .map(|n| {
            (
                event(EventKind::Refreshed, Some(&format!("u{n}")), "192.0.2.1"),
                1,
            )
        })
        .collect();
    assert_eq!(budget.spend(many, at(0)).0.len(), 5000);
}

#[test]
fn clock_set_back_resets_the_budget() {
    let mut budget = Budget::new(at(0));
    spend(&mut budget, 1000, &refused("ada", "192.0.2.1"), at(0));
    let earlier = at(0) - TimeDelta::hours(1);
    assert_eq!(
        spend(&mut budget, 1000, &refused("ada", "192.0.2.1"), earlier).len(),
        20
    );
}
