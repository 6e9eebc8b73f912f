use tokio_postgres::config::Host;

use super::*;
use crate::sql::DatabaseUrl;

fn parsed(text: &str) -> (String, Vec<Host>, Vec<u16>) {
    let DatabaseUrl::Postgres(url) = text.parse().unwrap() else {
        panic!("{text}")
    };
    (
        url.to_string(),
        url.config.get_hosts().to_vec(),
        url.config.get_ports().to_vec(),
    )
}

fn named(names: &[&str]) -> Vec<Host> {
    names
        .iter()
        .map(|name| Host::Tcp((*name).to_owned()))
        .collect()
}

#[test]
fn several_hosts_are_all_used_and_shown() {
    let (shown, hosts, ports) =
        parsed("postgres://ada:hunter2@one:5433,two:5434,three/latchkey?sslmode=require");
    assert_eq!(shown, "postgres://ada:***@one:5433,two:5434,three/latchkey");
    assert_eq!(
        (hosts, ports),
        (named(&["one", "two", "three"]), vec![5433, 5434, 5432])
    );
    let (shown, hosts, ports) = parsed("postgres://one,two/latchkey");
    assert_eq!(shown, "postgres://one,two/latchkey");
    assert_eq!((hosts, ports), (named(&["one", "two"]), Vec::new()));
}

#[test]
fn single_host_is_parsed() {
    assert_eq!(
        parsed("postgres://ada:a,b%40c@one:5433/latchkey"),
        (
            "postgres://ada:***@one:5433/latchkey".to_owned(),
            named(&["one"]),
            vec![5433]
        )
    );
    assert_eq!(parsed("postgres://one").1, named(&["one"]));
}

#[test]
fn url_with_an_authority_requires_tls_unless_disabled() {
    for (text, expected) in [
        ("postgres://one/latchkey", TlsMode::Prefer),
        (
            "postgres://one/latchkey?sslrootcert=root.pem",
            TlsMode::Require,
        ),
        (
            "postgres://one/latchkey?sslmode=verify-ca",
            TlsMode::Require,
        ),
        (
            "postgres://one/latchkey?sslmode=disable&sslrootcert=root.pem",
            TlsMode::Disable,
        ),
    ] {
        let DatabaseUrl::Postgres(url) = text.parse().unwrap() else {
            panic!("{text}")
        };
        assert_eq!(url.tls, expected, "{text}");
    }
}

#[test]
fn possibly_remote_host_counts_as_remote() {
    let may_be_overheard = |text: &str| {
        let DatabaseUrl::Postgres(url) = text.parse().unwrap() else {
            panic!("{text}")
        };
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
        assert!(
            warning.ends_with("set sslmode=verify-full in DATABASE_URL"),
            "{warning}"
        );
    }
}

fn config(text: &str) -> Box<Config> {
    let DatabaseUrl::Postgres(url) = text.parse().unwrap() else {
        panic!("{text}")
    };
    url.config
}

#[test]
fn all_url_forms_of_libpq_are_parsed() {
    let socket = || vec![Host::Unix(PathBuf::from("/run/postgresql"))];
    for (text, hosts, ports, user, database) in [
        ("postgresql://", vec![], vec![], None, None),
        (
            "postgresql://localhost",
            named(&["localhost"]),
            vec![],
            None,
            None,
        ),
        (
            "postgresql://localhost:5433",
            named(&["localhost"]),
            vec![5433],
            None,
            None,
        ),
        (
            "postgresql://localhost/mydb",
            named(&["localhost"]),
            vec![],
            None,
            Some("mydb"),
        ),
        (
            "postgresql://user@localhost",
            named(&["localhost"]),
            vec![],
            Some("user"),
            None,
        ),
        (
            "postgresql://user:secret@localhost",
            named(&["localhost"]),
            vec![],
            Some("user"),
            None,
        ),
        (
            "postgresql:///mydb?host=localhost&port=5433",
            named(&["localhost"]),
            vec![5433],
            None,
            Some("mydb"),
        ),
        (
            "postgres://u:p@/db?host=/run/postgresql",
            socket(),
            vec![],
            Some("u"),
            Some("db"),
        ),
        (
            "postgres://%2Frun%2Fpostgresql/db",
            socket(),
            vec![],
            None,
            Some("db"),
        ),
        (
            "postgres://u:p@localhost:5433/db?host=/run/postgresql",
            socket(),
            vec![5433],
            Some("u"),
            Some("db"),
        ),
        (
            "postgres://?host=a,b&port=1,2&dbname=db",
            named(&["a", "b"]),
            vec![1, 2],
            None,
            Some("db"),
        ),
        (
            "postgres://a:1,b:2/x?dbname=y",
            named(&["a", "b"]),
            vec![1, 2],
            None,
            Some("y"),
        ),
        (
            "postgres://[2001:db8::1]:5433,[::1]/db",
            named(&["2001:db8::1", "::1"]),
            vec![5433, 5432],
            None,
            Some("db"),
        ),
        (
            "postgres://a,b/db?port=6432",
            named(&["a", "b"]),
            vec![6432],
            None,
            Some("db"),
        ),
        (
            "postgres://h/db?user=me@corp&application_name=a@b",
            named(&["h"]),
            vec![],
            Some("me@corp"),
            Some("db"),
        ),
        ("postgres://:5433/db", vec![], vec![5433], None, Some("db")),
    ] {
        let config = config(text);
        let seen = (
            config.get_hosts().to_vec(),
            config.get_ports().to_vec(),
            config.get_user(),
            config.get_dbname(),
        );
        assert_eq!(seen, (hosts, ports, user, database), "{text}");
    }
}

#[test]
fn password_is_the_text_between_colon_and_at() {
    for (password, expected) in [
        ("pa$word", "pa$word"),
        ("pa?ss#1", "pa?ss#1"),
        ("p%40s%2Fs", "p@s/s"),
        ("a:b", "a:b"),
        ("a+b", "a+b"),
    ] {
        let config = config(&format!("postgres://u:{password}@h/db"));
        assert_eq!(
            config.get_password(),
            Some(expected.as_bytes()),
            "{password}"
        );
    }
    assert_eq!(
        config("postgres://u:one@h/db?password=two").get_password(),
        Some(&b"two"[..])
    );
}

#[test]
fn libpq_parameter_has_its_effect_or_is_refused_by_name() {
    let refusal = |query: &str| {
        format!("postgres://h/db?{query}")
            .parse::<DatabaseUrl>()
            .unwrap_err()
            .to_string()
    };
    for query in [
        "sslcert=a",
        "sslkey=a",
        "sslpassword=a",
        "sslcrl=a",
        "sslcrldir=a",
        "passfile=a",
        "service=a",
        "requirepeer=a",
        "require_auth=md5",
        "gssencmode=require",
        "krbsrvname=a",
        "sslnegotiation=direct",
        "replication=database",
        "target_session_attrs=read-only",
        "target_session_attrs=standby",
        "client_encoding=LATIN1",
        "sslsni=0",
        "ssl_min_protocol_version=TLSv1.3",
        "sslcertmode=require",
        "channel_binding=maybe",
        "port=0",
        "port=x",
        "hostaddr=db",
        "load_balance_hosts=x",
        "connect_timeout=soon",
        "keepalives=x",
        "tcp_user_timeout=x",
        "schema=public",
        "pgbouncer=true",
        "pool_size=3",
        "ssl=1",
    ] {
        let name = query.split('=').next().unwrap();
        let text = refusal(query);
        assert!(
            text.starts_with(&format!("expected no parameter {name}: "))
                || text.starts_with(&format!("expected {name} to be ")),
            "{text}"
        );
    }
    assert!(refusal("nonsense=1").starts_with("expected only parameters of libpq"));
    assert!(refusal("sslmode").starts_with("expected parameters as NAME=VALUE"));
    assert!(
        refusal("application_name=%zz").starts_with("expected two hexadecimal digits after each %")
    );
    for query in ["port=1,2", "hostaddr=127.0.0.1,127.0.0.2"] {
        assert!(refusal(query).contains("one"), "{query}");
    }
    for query in [
        "gssencmode=disable",
        "sslcompression=0",
        "sslsni=1",
        "client_encoding=utf8",
        "target_session_attrs=any",
        "ssl_min_protocol_version=TLSv1.2",
        "sslnegotiation=postgres",
        "sslmode=",
        "channel_binding=require",
        "ssl=true",
    ] {
        config(&format!("postgres://h/db?{query}"));
    }
    let taken = config(
        "postgres://h/db?connect_timeout=7&tcp_user_timeout=1500&keepalives=0&keepalives_interval=3&keepalives_count=4\
         &application_name=web&hostaddr=127.0.0.1&load_balance_hosts=random",
    );
    assert_eq!(taken.get_connect_timeout(), Some(&Duration::from_secs(7)));
    assert_eq!(
        taken.get_tcp_user_timeout(),
        Some(&Duration::from_millis(1500))
    );
    assert_eq!(
        (taken.get_keepalives(), taken.get_keepalives_retries()),
        (false, Some(4))
    );
    assert_eq!(taken.get_application_name(), Some("web"));
}

#[test]
fn part_of_a_password_is_never_parsed_as_a_host() {
    for text in [
        "postgres://u:pa@ss@h/db",
        "postgres://u:pa/ss@h/db",
        "postgres://u@corp:pa@h/db",
    ] {
        let error = text.parse::<DatabaseUrl>().unwrap_err();
        assert_eq!(error, DatabaseUrlError::Unescaped, "{text}");
    }
}

#[test]
fn socket_is_never_encrypted() {
    for text in [
        "postgres:///db?host=/run/postgresql&sslmode=require",
        "postgres:///db?sslmode=verify-full",
    ] {
        let DatabaseUrl::Postgres(url) = text.parse().unwrap() else {
            panic!("{text}")
        };
        assert_eq!(url.tls, TlsMode::Disable, "{text}");
    }
}
