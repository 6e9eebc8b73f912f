//! Self-signed certificates with `CA:TRUE`, created as the Postgres manual describes.

use std::process::Command;

use super::{
    PASSWORD,
    postgres_refusals::{RULES, line, server_with},
};
use latchkey_testkit::{Place, servers::own::OwnPostgres};

/// Creates a certificate with the manual's command. Returns its PEM text and its key.
fn create_certificate(days: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "req",
        "-new",
        "-x509",
        "-days",
        days,
        "-nodes",
        "-text",
        "-subj",
        "/CN=dbhost.example",
    ];
    let output = Command::new("openssl")
        .args(words)
        .args(["-out", "server.crt", "-keyout", "server.key"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    (text("server.crt"), text("server.key"))
}

/// Returns a server that accepts only encrypted connections, and its certificate.
async fn encrypted_server() -> (OwnPostgres, String) {
    let postgres = server_with(&RULES.replace("host all all", "hostssl all all")).await;
    let (certificate, key) = create_certificate("365");
    postgres.put("server.crt", &certificate);
    postgres.put("server.key", &key);
    postgres.set("ssl", "on").await;
    (postgres, certificate)
}

fn url(postgres: &OwnPostgres, parameters: &str) -> String {
    format!(
        "postgres://latchkey:hunter2hunter2@127.0.0.1:{}/latchkey{parameters}",
        postgres.port
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn self_signed_certificate_named_by_the_url_verifies_the_server() {
    let (postgres, certificate) = encrypted_server().await;
    let file = Place::new();
    let pin = file.write("pin.pem", &certificate).display().to_string();
    for mode in [
        "",
        "sslmode=verify-full&",
        "sslmode=verify-ca&",
        "sslmode=require&",
        "sslmode=prefer&",
    ] {
        let place = Place::new().with(
            "DATABASE_URL",
            &url(&postgres, &format!("?{mode}sslrootcert={pin}")),
        );
        place.run("migrate run").done();
        assert!(
            place.run("users list").done().contains("no users"),
            "{mode}"
        );
    }
    let (other, _) = create_certificate("365");
    let other = file.write("other.pem", &other).display().to_string();
    for mode in ["", "sslmode=verify-full&"] {
        let line = line(&url(&postgres, &format!("?{mode}sslrootcert={other}")));
        assert!(
            line.contains("the certificate of the server") && !line.contains("Other"),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn url_without_verification_is_encrypted_and_serves() {
    let (postgres, _) = encrypted_server().await;
    for mode in ["", "?sslmode=prefer", "?sslmode=allow"] {
        let place = Place::new().with("DATABASE_URL", &url(&postgres, mode));
        let name = place
            .run("migrate run")
            .code
            .map(|_| format!("ada{}", mode.len()))
            .unwrap();
        place.user(&name, PASSWORD);
        let server = place.serve("");
        let pair = server.pair(&name, PASSWORD).await;
        server.refresh(&pair.refresh).await.pair();
        let connections = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity \
                           USING (pid) WHERE application_name = 'latchkey'";
        let (all, encrypted) = postgres.two_numbers(connections).await;
        assert!(all > 0 && all == encrypted, "{mode}: {encrypted} of {all}");
    }
    let line = line(&url(&postgres, "?sslmode=require"));
    let remedy = "or trust it alone: copy it and name the copy by sslrootcert=PATH in the URL";
    assert!(line.contains("CA:TRUE") && line.ends_with(remedy), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefer_with_a_foreign_authority_falls_back_to_no_encryption() {
    let (postgres, _) = encrypted_server().await;
    let file = Place::new();
    let (other, _) = create_certificate("365");
    let other = file.write("other.pem", &other).display().to_string();
    let with_other = url(&postgres, &format!("?sslmode=prefer&sslrootcert={other}"));
    // The server accepts no unencrypted connection.
    assert!(line(&with_other).contains("no encryption"));
    postgres.put("pg_hba.conf", RULES);
    postgres.execute("SELECT pg_reload_conf()").await;
    let place = Place::new().with("DATABASE_URL", &with_other);
    latchkey_testkit::servers::eventually("the rules are in force", async || {
        place.run("migrate run").code == Some(0)
    })
    .await;
    assert!(place.run("users list").done().contains("no users"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_pinned_certificate_ends_the_start() {
    let postgres = server_with(&RULES.replace("host all all", "hostssl all all")).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (
        rcgen::date_time_ymd(2020, 1, 1),
        rcgen::date_time_ymd(2021, 1, 1),
    );
    let certificate = params.self_signed(&key).unwrap().pem();
    postgres.put("server.crt", &certificate);
    postgres.put("server.key", &key.serialize_pem());
    postgres.set("ssl", "on").await;
    let file = Place::new();
    let pin = file.write("pin.pem", &certificate).display().to_string();
    let line = line(&url(&postgres, &format!("?sslrootcert={pin}")));
    assert!(
        line.contains("expired") && line.ends_with("has expired: renew it"),
        "{line}"
    );
}
