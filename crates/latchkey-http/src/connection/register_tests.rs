use std::time::Duration;

use super::*;

const LIMITS: Limits = Limits {
    head: Duration::from_secs(5),
    body: Duration::from_secs(10),
    keep_alive: Duration::from_secs(75),
};

type Open = (Place, oneshot::Receiver<()>);

fn register(total: usize, source: usize, proxies: &str) -> Arc<Connections> {
    let capacity = Capacity {
        total,
        source,
        proxies: TrustedProxies::parse(proxies).unwrap(),
    };
    Arc::new(Connections::new(capacity, LIMITS))
}

fn open(register: &Arc<Connections>, address: &str) -> Option<Open> {
    register.open(Some(SocketAddr::new(address.parse().unwrap(), 1)))
}

fn fill(register: &Arc<Connections>, address: &str, count: usize) -> Vec<Open> {
    (0..count)
        .map(|_| open(register, address).unwrap())
        .collect()
}

/// Returns true if the connection has to be closed.
fn closes((_, order): &mut Open) -> bool {
    order.try_recv().is_ok()
}

#[test]
fn source_at_its_limit_evicts_its_own_connection() {
    let register = register(100, 3, "");
    let mut other = open(&register, "198.51.100.7").unwrap();
    let mut held = fill(&register, "192.0.2.1", 3);
    let _new = open(&register, "192.0.2.1").unwrap();
    assert!(closes(&mut held[0]) && !closes(&mut held[1]) && !closes(&mut other));
    assert_eq!(register.status().evicted, 1);
}

#[test]
fn ipv6_network_is_one_source() {
    let register = register(100, 2, "");
    let held = [
        open(&register, "2001:db8::1"),
        open(&register, "2001:db8::ffff:1"),
    ];
    let busy: Vec<_> = held
        .iter()
        .flatten()
        .map(|(place, _)| place.connection.handle())
        .collect();
    assert!(open(&register, "2001:db8::2").is_none());
    assert!(open(&register, "2001:db8:0:1::2").is_some());
    drop(busy);
}

#[test]
fn full_server_evicts_from_the_largest_source() {
    let register = register(6, 100, "");
    let (mut few, mut many) = (
        fill(&register, "192.0.2.1", 2),
        fill(&register, "192.0.2.2", 4),
    );
    let _new = open(&register, "192.0.2.3").unwrap();
    assert!(closes(&mut many[0]) && !few.iter_mut().any(closes));
}

#[test]
fn busy_connections_are_not_evicted() {
    let register = register(2, 100, "");
    let mut held = fill(&register, "192.0.2.1", 2);
    let connections: Vec<_> = held
        .iter()
        .map(|(place, _)| Arc::clone(&place.connection))
        .collect();
    let busy: Vec<_> = connections
        .iter()
        .map(|connection| connection.handle())
        .collect();
    assert!(open(&register, "192.0.2.2").is_none());
    assert_eq!(
        (register.status().refused, held.iter_mut().any(closes)),
        (1, false)
    );
    drop(busy);
    assert!(open(&register, "192.0.2.2").is_some());
}

#[test]
fn full_server_with_a_busy_largest_source_evicts_from_another() {
    let register = register(3, 100, "");
    let (mut few, many) = (
        fill(&register, "192.0.2.1", 1),
        fill(&register, "192.0.2.2", 2),
    );
    let connections: Vec<_> = many
        .iter()
        .map(|(place, _)| Arc::clone(&place.connection))
        .collect();
    let _busy: Vec<_> = connections
        .iter()
        .map(|connection| connection.handle())
        .collect();
    let _new = open(&register, "192.0.2.3").unwrap();
    assert!(closes(&mut few[0]));
}

#[test]
fn trusted_proxies_and_local_peers_have_higher_limits() {
    let register = register(16, 4, "192.0.2.0/24");
    let proxied = fill(&register, "192.0.2.1", 16);
    assert_eq!(register.status().evicted, 0);
    drop(proxied);
    let _local = fill(&register, "127.0.0.1", 14);
    assert_eq!(register.status().evicted, 0);
    let _more = fill(&register, "127.0.0.1", 1);
    assert_eq!(register.status().evicted, 1);
}

#[test]
fn closed_connection_frees_its_place() {
    let register = register(8, 8, "");
    for _ in 0..100 {
        drop(fill(&register, "192.0.2.1", 8));
    }
    assert_eq!(
        register.status(),
        ConnectionStatus {
            limit: 8,
            ..ConnectionStatus::default()
        }
    );
    assert!(
        register.by_source().is_empty(),
        "a source without connections has no entry"
    );
}
