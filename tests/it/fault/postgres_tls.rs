//! TLS to Postgres: an untrusted certificate ends the start, without a fallback to an unencrypted
//! connection.

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::postgres_refusals::{RULES, line, server_with};
use latchkey_testkit::{
    PASSWORD, Place, listen,
    servers::{eventually, own::OwnPostgres},
};

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

    /// Installs a certificate for these names on the server, and waits until TLS is on again.
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

/// Rules that admit only encrypted connections, except for the administrator.
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
async fn trusted_certificate_encrypts_every_connection() {
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
async fn untrusted_certificate_ends_the_start_with_a_reason() {
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
    let empty = file.write("hollow.pem", "nothing").display().to_string();

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
        (&empty, "no certificate in it"),
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
async fn tls_required_by_only_one_side_ends_the_start() {
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

/// A man in the middle answers for the server: it refuses TLS, or accepts it and sends garbage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn man_in_the_middle_that_refuses_tls_learns_nothing() {
    for (answer, mode) in [
        (&b"N"[..], "verify-full"),
        (b"N", "require"),
        (b"Sxxxxxxxx", "require"),
        (b"Sxxxxxxxx", "verify-ca"),
    ] {
        let received = Arc::new(Mutex::new(Vec::new()));
        let recorder = Arc::clone(&received);
        let address = listen(move |mut stream| {
            let mut first = [0; 8];
            stream.read_exact(&mut first).unwrap();
            // libpq's `SSLRequest`: eight bytes without user or password.
            assert_eq!(first, [0, 0, 0, 8, 4, 210, 22, 47]);
            stream.write_all(answer).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            recorder.lock().unwrap().push(rest);
        });
        let url = format!("postgres://latchkey:hunter2hunter2@{address}/latchkey?sslmode={mode}");
        let outcome = Place::new().with("DATABASE_URL", &url).run("users list");
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
        eventually("the connection ended", async || {
            !received.lock().unwrap().is_empty()
        })
        .await;
        for rest in received.lock().unwrap().iter() {
            let text = String::from_utf8_lossy(rest);
            assert!(
                !text.contains("latchkey") && !text.contains("hunter2"),
                "{mode}: {text}"
            );
            assert!(answer[0] == b'S' || rest.is_empty(), "{mode}: {text}");
        }
    }
}
