//! Configuration of the nginx guide and of `examples/nginx`, in a real nginx with a certificate and
//! real servers.
//!
//! The tests change only the listen address, the certificate files and the upstream.

mod errors;
mod restarts;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

use super::{
    PASSWORD,
    documents::with,
    verifier::{example, require, run},
};
use latchkey_testkit::{
    Place, claim, listen,
    servers::{eventually, own::free_port},
};

const NAME: &str = "auth.example.com";

/// nginx with the configuration of the guide. It stops when dropped.
pub struct Nginx {
    child: Child,
    place: Place,
    port: u16,
}

/// Response through nginx.
#[derive(Debug)]
pub struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Nginx {
    async fn before(upstreams: &[SocketAddr]) -> Self {
        Self::changed(upstreams, &[]).await
    }

    /// Starts nginx with these changes to the configuration of the guide.
    async fn changed(upstreams: &[SocketAddr], changes: &[(&str, &str)]) -> Self {
        Self::with_file(&example("nginx").join("nginx.conf"), upstreams, changes).await
    }

    /// Starts nginx with these changes to a copy of the configuration of the guide.
    pub async fn with_file(
        file: &Path,
        upstreams: &[SocketAddr],
        changes: &[(&str, &str)],
    ) -> Self {
        let (place, port) = (Place::new(), free_port());
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let certificate = place
            .write("certificate.pem", &cert.pem())
            .display()
            .to_string();
        let key = place
            .write("certificate.key", &signing_key.serialize_pem())
            .display()
            .to_string();

        let block = fs::read_to_string(file).unwrap();
        let block = changes
            .iter()
            .fold(block, |block, (from, to)| with(&block, from, to));
        let line = block
            .lines()
            .find(|line| line.trim().starts_with("server 127.0.0.1:8000"))
            .unwrap();
        let servers: Vec<_> = upstreams
            .iter()
            .map(|address| line.replace("127.0.0.1:8000", &address.to_string()))
            .collect();
        let block = with(&block, line, &servers.join("\n"));
        let block = with(&block, "listen 443", &format!("listen 127.0.0.1:{port}"));
        let block = with(
            &block,
            "/etc/ssl/auth.example.com.pem;",
            &format!("{certificate};"),
        );
        let block = with(&block, "/etc/ssl/auth.example.com.key;", &format!("{key};"));
        let paths: String = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
            .map(|what| format!("{what}_temp_path {};\n", place.path(what).display()))
            .concat();
        let log = place.path("log");
        let file = place.write(
            "nginx.conf",
            &format!(
                "daemon off;\nworker_processes 1;\nerror_log {};\npid {};\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{block}}}\n",
                log.display(),
                place.path("pid").display(),
            ),
        );

        let command = |arguments: &[&str]| {
            let mut command = Command::new(require("nginx", "nginx"));
            command
                .arg("-e")
                .arg(&log)
                .arg("-p")
                .arg(place.path(""))
                .arg("-c")
                .arg(&file)
                .args(arguments);
            command
        };
        run(
            &mut command(&["-t"]),
            "nginx with every directive of the guide",
        );
        let output = File::create(place.path("output")).unwrap();
        let child = command(&[])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        let nginx = Self { child, place, port };
        eventually("nginx listens", async || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        nginx
    }

    /// Sends a request by host name, with the certificate as the only trusted one.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> Reply {
        let mut curl = Command::new(require("curl", "curl"));
        curl.env_clear().args([
            "--silent",
            "--show-error",
            "--include",
            "--http1.1",
            "--max-time",
            "60",
        ]);
        curl.arg("--cacert").arg(self.place.path("certificate.pem"));
        curl.args(["--resolve", &format!("{NAME}:{}:127.0.0.1", self.port)])
            .args(arguments);
        let output = curl
            .arg(format!("https://{NAME}:{}{path}", self.port))
            .output()
            .unwrap();
        let log = || fs::read_to_string(self.place.path("log")).unwrap();
        assert!(
            output.status.success(),
            "{} {}",
            String::from_utf8_lossy(&output.stderr),
            log()
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        // With `Expect`, curl would wait for `100 Continue`.
        let headers = [
            "--header",
            "Content-Type: application/json",
            "--header",
            "Expect:",
        ];
        self.curl(
            path,
            &[headers.as_slice(), &["--data", &body.to_string()]].concat(),
        )
    }

    fn obtain(&self) -> Reply {
        self.post(
            "/api/token/",
            &json!({ "username": "ada", "password": PASSWORD }),
        )
    }
}

impl Drop for Nginx {
    /// Sends a signal that nginx forwards to its worker.
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
    }
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

pub fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_can_use_tokens_but_not_operator_endpoints() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve(&format!("--issuer https://{NAME} --metrics-bind main"));
    let nginx = Nginx::before(&[address(&server.url)]).await;

    let pair = nginx.obtain().json();
    assert_eq!(
        claim(pair["access"].as_str().unwrap(), "iss"),
        format!("https://{NAME}")
    );
    let next = nginx
        .post(
            "/api/token/refresh/",
            &json!({ "refresh": pair["refresh"] }),
        )
        .json();
    assert_ne!(next["refresh"], pair["refresh"]);
    assert_eq!(
        nginx
            .post("/api/token/verify/", &json!({ "token": next["access"] }))
            .json(),
        json!({})
    );
    let bearer = format!("Authorization: Bearer {}", next["access"].as_str().unwrap());
    assert_eq!(
        nginx.curl("/api/auth/user/", &["--header", &bearer]).json()["username"],
        "ada"
    );
    let keys = nginx.curl("/.well-known/jwks.json", &[]);
    assert_eq!(
        keys.json(),
        server.get("/.well-known/jwks.json").await.json()
    );
    assert!(
        keys.head.contains("cache-control: public, max-age=300"),
        "{keys:?}"
    );

    // The server itself answers these paths, with metrics on the main address.
    for path in ["/metrics", "/metrics/", "/health/live", "/health/ready"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
        let reply = nginx.curl(path, &[]);
        assert_eq!(reply.status, 404, "{reply:?}");
        assert!(
            reply
                .head
                .contains("strict-transport-security: max-age=63072000"),
            "{reply:?}"
        );
    }
    assert!(
        keys.head
            .contains("strict-transport-security: max-age=63072000"),
        "{keys:?}"
    );
}

/// Uses the setting and the header of the guide. The client sends a spoofed address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_trail_has_the_address_of_the_client() {
    let guide =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guides/nginx.md")).unwrap();
    assert!(
        guide.contains("`LATCHKEY_TRUSTED_PROXIES=127.0.0.1`"),
        "the guide does not name the setting"
    );
    let place = Place::new().with("LATCHKEY_TRUSTED_PROXIES", "127.0.0.1");
    place.user("ada", PASSWORD);
    let server = place.serve(&format!("--issuer https://{NAME}"));
    let nginx = Nginx::before(&[address(&server.url)]).await;

    let headers = [
        "--header",
        "Content-Type: application/json",
        "--header",
        "X-Forwarded-For: 6.6.6.6",
    ];
    let body = json!({ "username": "ada", "password": PASSWORD }).to_string();
    let from = ["--interface", "127.0.0.7", "--data", &body];
    nginx
        .curl("/api/token/", &[headers.as_slice(), &from].concat())
        .json();
    let audit = place.run("audit --json");
    let sign_in: Value = audit
        .done()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|event: &Value| event["event"] == "sign_in")
        .unwrap();
    assert_eq!(sign_in["ip"], "127.0.0.7", "{sign_in}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_instance_causes_no_error() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve(&format!("--issuer https://{NAME}"));
    let down = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let nginx = Nginx::before(&[down, address(&server.url), down]).await;

    let mut refresh = nginx.obtain().json()["refresh"].clone();
    for _ in 0..4 {
        refresh = nginx
            .post("/api/token/refresh/", &json!({ "refresh": refresh }))
            .json()["refresh"]
            .clone();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unanswered_refresh_is_not_sent_to_another_instance() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    // Reads the first line, counts the request and then closes, as a killed server does. The count
    // is complete before the response.
    let dying = move |stream: TcpStream| {
        let mut reader = BufReader::new(stream);
        let read = reader.read_line(&mut String::new());
        count.fetch_add(
            read.map_or(0, |bytes| usize::from(bytes > 0)),
            Ordering::SeqCst,
        );
        drop(reader);
    };
    let nginx = Nginx::before(&[listen(dying.clone()), listen(dying)]).await;

    let reply = nginx.post("/api/token/refresh/", &json!({ "refresh": "x" }));
    assert_eq!(
        (reply.status, sent.load(Ordering::SeqCst)),
        (502, 1),
        "{reply:?}"
    );
}
