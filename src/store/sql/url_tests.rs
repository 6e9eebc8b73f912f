use tokio_postgres::config::Host;

use super::*;

fn parsed(text: &str) -> (String, Vec<Host>, Vec<u16>) {
    let DatabaseUrl::Postgres(url) = text.parse().unwrap() else { panic!("{text}") };
    let config = url.config().unwrap();
    (url.shown, config.get_hosts().to_vec(), config.get_ports().to_vec())
}

fn named(names: &[&str]) -> Vec<Host> {
    names.iter().map(|name| Host::Tcp((*name).to_owned())).collect()
}

#[test]
fn several_hosts_are_all_tried_and_all_shown() {
    let (shown, hosts, ports) = parsed("postgres://ada:hunter2@one:5433,two:5434,three/latchkey?sslmode=require");
    assert_eq!(shown, "postgres://ada:***@one:5433,two:5434,three:5432/latchkey");
    assert_eq!((hosts, ports), (named(&["one", "two", "three"]), vec![5433, 5434, 5432]));
    let (shown, hosts, ports) = parsed("postgres://one,two/latchkey");
    assert_eq!(shown, "postgres://one,two:5432/latchkey");
    assert_eq!((hosts, ports), (named(&["one", "two"]), vec![5432, 5432]));
}

#[test]
fn a_single_host_is_parsed_as_one() {
    assert_eq!(
        parsed("postgres://ada:a,b%40c@one:5433/latchkey"),
        ("postgres://ada:***@one:5433/latchkey".to_owned(), named(&["one"]), vec![5433])
    );
    assert_eq!(parsed("postgres://one").1, named(&["one"]));
}

#[test]
fn a_url_with_an_authority_requires_tls_unless_it_is_disabled() {
    for (text, expected) in [
        ("postgres://one/latchkey", TlsMode::Prefer),
        ("postgres://one/latchkey?sslrootcert=root.pem", TlsMode::Require),
        ("postgres://one/latchkey?sslmode=verify-ca", TlsMode::Require),
        ("postgres://one/latchkey?sslmode=disable&sslrootcert=root.pem", TlsMode::Disable),
    ] {
        let DatabaseUrl::Postgres(url) = text.parse().unwrap() else { panic!("{text}") };
        assert_eq!(url.tls, expected, "{text}");
    }
}

#[test]
fn a_host_that_may_be_another_machine_counts_as_one() {
    let may_be_overheard = |text: &str| {
        let DatabaseUrl::Postgres(url) = text.parse().unwrap() else { panic!("{text}") };
        url.may_be_overheard()
    };
    for here in [
        "postgres://localhost/x",
        "postgres://LocalHost/x",
        "postgres://127.0.0.2/x",
        "postgres://[::1]/x",
        "postgres://%2Frun%2Fpostgresql/x",
        "postgres:///x?host=/run/postgresql",
        "postgres://localhost,127.0.0.1/x",
        "postgres://db.example/x?sslmode=require",
        "postgres://db.example/x?sslrootcert=root.pem",
    ] {
        assert!(!may_be_overheard(here), "{here}");
    }
    for elsewhere in [
        "postgres://db.example/x",
        "postgres://db.example/x?sslmode=disable",
        "postgres://db.example/x?sslmode=prefer",
        "postgres://db.example/x?sslmode=disable&sslrootcert=root.pem",
        "postgres://localhost,db.example/x",
        "postgres://localhost/x?hostaddr=192.0.2.1",
        "postgres://localhost.example/x",
        "postgres://127.1/x",
        "postgres://0.0.0.0/x",
    ] {
        assert!(may_be_overheard(elsewhere), "{elsewhere}");
        let warning = elsewhere.parse::<DatabaseUrl>().unwrap().warning().unwrap();
        assert!(warning.ends_with("set sslmode=verify-full in DATABASE_URL"), "{warning}");
    }
}
