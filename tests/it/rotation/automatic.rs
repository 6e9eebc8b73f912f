//! Automatic rotation by three servers.

use chrono::TimeDelta;
use futures_util::future::join_all;
use latchkey_domain::keys::KeyMetadata;
use latchkey_service::keys::KeyManager;
use latchkey_verifier::Kind;

use super::{KeyFleet, KeysIn, Traffic, fleet::manager_of};

const FLAGS: [&str; 4] = [
    "--jwks-max-age=1m",
    "--key-publish-lead=65s",
    "--refresh-token-lifetime=2h",
    "--key-rotation-interval=15m",
];

/// Returns the newest key of each kind, and the number of keys of that kind.
async fn newest(fleet: &KeyFleet) -> [(KeyMetadata, usize); 2] {
    let records = fleet.records().await;
    [Kind::Access, Kind::Refresh].map(|kind| {
        let of_kind: Vec<_> = records
            .keys
            .iter()
            .filter(|key| key.facts.kind == kind)
            .collect();
        (of_kind.last().unwrap().facts.clone(), of_kind.len())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_create_one_successor() {
    let fleet = KeyFleet::start(KeysIn::Database, &FLAGS).await;
    let mut traffic = Traffic::start(&fleet).await;
    let mut managers = Vec::new();
    for app in &fleet.apps {
        managers.push(manager_of(app).await);
    }
    for round in 1..=2 {
        let [(access, _), (refresh, _)] = newest(&fleet).await;
        assert_eq!(access.signs_from, refresh.signs_from);
        let due = access.signs_from + TimeDelta::minutes(15) - TimeDelta::seconds(65);
        fleet.advance_to(due, -1);
        traffic.flow(&fleet).await;
        assert_eq!(
            newest(&fleet).await.map(|(_, number)| number),
            [round, round],
            "a millisecond before the rotation"
        );
        fleet.advance_to(due, 0);
        // Three managers at the same time, in addition to the poll of each server once a
        // second.
        let created = join_all(managers.iter().map(KeyManager::rotate_due)).await;
        assert!(
            created
                .into_iter()
                .map(|created| created.unwrap().len())
                .sum::<usize>()
                <= 2
        );
        fleet.have(2 * round + 2).await;
        let [(access, _), (refresh, _)] = newest(&fleet).await;
        assert_eq!(access.signs_from, due + TimeDelta::seconds(65));
        fleet.advance_to(access.signs_from, -1);
        traffic.flow(&fleet).await;
        assert_eq!(
            newest(&fleet).await.map(|(_, number)| number),
            [round + 1, round + 1],
            "one new key of each kind"
        );
        fleet.advance_to(access.signs_from, 0);
        traffic.flow(&fleet).await;
        assert_eq!(traffic.kids(), (access.kid, refresh.kid));
    }
}
