//! TLS to Postgres: a certificate that is not to be trusted ends the start, and nothing is said in the open instead.

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::postgres_refusals::{RULES, line, server_with};
use crate::support::{
    Place, listen,
    servers::{eventually, own::OwnPostgres},
};

const PASSWORD: &str = "correct horse battery staple";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Gives the server a certificate for these names, and waits until it shows it.
    async fn certify(&self, postgres: &OwnPostgres, names: &[&str], last_year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 1, 1));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        postgres.put("server.crt", &certificate.pem());
        postgres.put("server.key", &key.serialize_pem());
        postgres.set("ssl", "off").await;
        postgres.set("ssl", "on").await;
    }
}

/// Only encrypted connections, but for the administrator.
fn encrypted_only() -> String {
    RULES.replace("host all all", "hostssl all all")
}

fn url(postgres: &OwnPostgres, host: &str, parameters: &str) -> String {
    format!(
        "postgres://latchkey:hunter2hunter2@{host}:{}/latchkey?{parameters}",
        postgres.port
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_that_is_to_be_trusted_every_connection_is_encrypted() {
    let (postgres, authority) = (server_with(&encrypted_only()).await, Authority::new());
    authority
        .certify(&postgres, &["localhost", "127.0.0.1"], 2999)
        .await;
    let file = Place::new();
    let root = file
        .write("root.pem", &authority.pem())
        .display()
        .to_string();
    for mode in [
        "sslmode=verify-full&",
        "sslmode=verify-ca&",
        "sslmode=require&",
        "sslmode=prefer&",
        "",
    ] {
        let place = Place::new().with(
            "DATABASE_URL",
            &url(&postgres, "127.0.0.1", &format!("{mode}sslrootcert={root}")),
        );
        place.run("migrate run").done();
        place.run_with_input("users create ada --password-stdin", PASSWORD);
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        server.refresh(&pair.refresh).await.pair();
        let connections = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity \
                           USING (pid) WHERE application_name = 'latchkey'";
        let (all, encrypted) = postgres.two_numbers(connections).await;
        assert!(all > 0 && all == encrypted, "{mode}: {encrypted} of {all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_to_be_trusted_ends_the_start_with_a_line_that_says_why() {
    let (postgres, authority) = (
        server_with(&RULES.replace("scram-sha-256", "password")).await,
        Authority::new(),
    );
    let (file, other) = (Place::new(), Authority::new());
    let root = file
        .write("root.pem", &authority.pem())
        .display()
        .to_string();
    let foreign = file
        .write("foreign.pem", &other.pem())
        .display()
        .to_string();
    let missing = file.path("missing.pem").display().to_string();
    let hollow = file.write("hollow.pem", "nothing").display().to_string();

    authority.certify(&postgres, &["127.0.0.1"], 2999).await;
    let unknown = "set sslrootcert=PATH in the URL to the file with the authority's certificate";
    for mode in ["verify-full", "verify-ca", "require"] {
        for trusted in [format!("&sslrootcert={foreign}"), String::new()] {
            let line = line(&url(
                &postgres,
                "127.0.0.1",
                &format!("sslmode={mode}{trusted}"),
            ));
            assert!(line.ends_with(unknown), "{line}");
        }
    }
    for (path, reason) in [
        (&missing, "No such file or directory (os error 2)"),
        (&hollow, "no certificate in it"),
    ] {
        let line = line(&url(&postgres, "127.0.0.1", &format!("sslrootcert={path}")));
        assert!(
            line.ends_with(&format!("sslrootcert {path}: {reason}")),
            "{line}"
        );
    }
    authority.certify(&postgres, &["db.example"], 2999).await;
    for mode in ["verify-full", "verify-ca", "require"] {
        let line = line(&url(
            &postgres,
            "127.0.0.1",
            &format!("sslmode={mode}&sslrootcert={root}"),
        ));
        assert!(
            line.contains("not valid for name") && line.contains("db.example"),
            "{line}"
        );
        assert!(
            line.ends_with(": connect by the name that is in the certificate"),
            "{line}"
        );
    }
    authority.certify(&postgres, &["127.0.0.1"], 2021).await;
    for mode in ["verify-full", "require"] {
        let line = line(&url(
            &postgres,
            "127.0.0.1",
            &format!("sslmode={mode}&sslrootcert={root}"),
        ));
        assert!(
            line.contains("expired") && line.ends_with("has expired: renew it"),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_and_a_client_that_asks_for_it_do_not_come_together_nor_the_other_way_round()
 {
    let postgres = server_with(&encrypted_only()).await;
    for mode in ["verify-full", "verify-ca", "require"] {
        let line = line(&url(&postgres, "127.0.0.1", &format!("sslmode={mode}")));
        let expected = "the server offers no TLS: enable it on the server, or set sslmode=disable if the network is trusted";
        assert!(line.ends_with(expected), "{line}");
    }
    Authority::new()
        .certify(&postgres, &["127.0.0.1"], 2999)
        .await;
    let line = line(&url(&postgres, "127.0.0.1", "sslmode=disable"));
    assert!(
        line.contains("no pg_hba.conf entry") && line.contains("no encryption: "),
        "{line}"
    );
}

/// Somebody on the way answers for the server: no to TLS, or yes and then nonsense.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_on_the_way_learns_nothing_by_saying_no_to_encryption() {
    for (answer, mode) in [
        (&b"N"[..], "verify-full"),
        (b"N", "require"),
        (b"Sxxxxxxxx", "require"),
        (b"Sxxxxxxxx", "verify-ca"),
    ] {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let address = listen(move |mut stream| {
            let mut first = [0; 8];
            stream.read_exact(&mut first).unwrap();
            // What libpq calls an SSLRequest: eight bytes that say nothing.
            assert_eq!(first, [0, 0, 0, 8, 4, 210, 22, 47]);
            stream.write_all(answer).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            ear.lock().unwrap().push(rest);
        });
        let url = format!("postgres://latchkey:hunter2hunter2@{address}/latchkey?sslmode={mode}");
        let outcome = Place::new().with("DATABASE_URL", &url).run("users list");
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
        eventually("the connection ended", async || {
            !heard.lock().unwrap().is_empty()
        })
        .await;
        for rest in heard.lock().unwrap().iter() {
            let text = String::from_utf8_lossy(rest);
            assert!(
                !text.contains("latchkey") && !text.contains("hunter2"),
                "{mode}: {text}"
            );
            assert!(answer[0] == b'S' || rest.is_empty(), "{mode}: {text}");
        }
    }
}
