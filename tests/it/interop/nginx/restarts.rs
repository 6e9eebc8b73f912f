//! Restarts behind nginx: clients see no error, and no token is rotated twice.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{NAME, Nginx, PASSWORD, address};
use latchkey_testkit::{
    Answer, Backend, Place, Server, listen,
    servers::{eventually, own::free_port},
};

/// Clients that refresh and verify sequentially until they are stopped.
#[derive(Clone, Default)]
struct Load {
    answered: Arc<AtomicUsize>,
    errors: Arc<Mutex<Vec<Answer>>>,
    stopped: Arc<AtomicBool>,
}

impl Load {
    async fn post(&self, client: &Client, url: &str, body: &Value) -> Option<Value> {
        let request = client
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = Answer::read(request.send().await.unwrap()).await;
        self.answered.fetch_add(1, SeqCst);
        if answer.status == 200 {
            return Some(answer.json());
        }
        self.errors.lock().unwrap().push(answer);
        None
    }

    async fn client(self, url: String, name: String) {
        let client = Client::new();
        let credentials = json!({ "username": name, "password": PASSWORD });
        let mut pair = self
            .post(&client, &format!("{url}/api/token/"), &credentials)
            .await
            .unwrap();
        while !self.stopped.load(SeqCst) {
            let refresh = json!({ "refresh": pair["refresh"] });
            if let Some(next) = self
                .post(&client, &format!("{url}/api/token/refresh/"), &refresh)
                .await
            {
                pair = next;
            }
            self.post(
                &client,
                &format!("{url}/api/token/verify/"),
                &json!({ "token": pair["access"] }),
            )
            .await;
        }
    }

    async fn wait_for_progress(&self) {
        let before = self.answered.load(SeqCst);
        eventually("200 more requests were answered", async || {
            self.answered.load(SeqCst) > before + 200
        })
        .await;
    }
}

/// Restarts three instances in turn, as in the guide to three instances. Returns the number of
/// answers, and the errors.
async fn rolling_restart(changes: &[(&str, &str)]) -> (usize, Vec<Answer>) {
    let place = Place::on(Backend::PostgresAndRedis)
        .await
        .with("LATCHKEY_TRUSTED_PROXIES", "127.0.0.1");
    let place = place.with("LATCHKEY_ISSUER", &format!("https://{NAME}"));
    for name in ["ada", "bob", "eve"] {
        place.user(name, PASSWORD);
    }
    let addresses: Vec<SocketAddr> = (0..3)
        .map(|_| SocketAddr::from(([127, 0, 0, 1], free_port())))
        .collect();
    let mut servers: Vec<Server> = addresses
        .iter()
        .map(|address| place.serve_at(*address, ""))
        .collect();
    // The clients of this test do not use TLS.
    let changes = [&[("listen 443 ssl;", "listen 443;")], changes].concat();
    let nginx = Nginx::changed(&addresses, &changes).await;
    let load = Load::default();
    let url = format!("http://127.0.0.1:{}", nginx.port);
    let clients = ["ada", "bob", "eve"]
        .map(|name| tokio::spawn(load.clone().client(url.clone(), name.to_owned())));
    for (index, address) in addresses.iter().enumerate() {
        load.wait_for_progress().await;
        let stopped = servers.remove(index);
        assert!(block_in_place(|| stopped.stop("TERM")).0.success());
        let updated = block_in_place(|| place.serve_at(*address, ""));
        eventually("the instance is ready", async || {
            updated.get("/health/ready").await.status == 200
        })
        .await;
        servers.insert(index, updated);
    }
    load.wait_for_progress().await;
    load.stopped.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let errors = std::mem::take(&mut *load.errors.lock().unwrap());
    (load.answered.load(SeqCst), errors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_under_load_causes_no_error() {
    let (answered, errors) = rolling_restart(&[]).await;
    assert!(
        errors.is_empty(),
        "{} of {answered}: {:?}",
        errors.len(),
        errors.first()
    );
}

/// Shows the need for `max_fails=0`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_with_the_defaults_of_nginx_causes_errors() {
    let (_, errors) = rolling_restart(&[(" max_fails=0;", ";")]).await;
    assert!(
        errors.iter().any(|answer| answer.status == 502),
        "{errors:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unanswered_request_is_retried_only_if_it_is_safe() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve(&format!("--issuer https://{NAME}"));
    let pair = server.pair("ada", PASSWORD).await;
    let bearer = format!("Authorization: Bearer {}", pair.access);
    // Reads the first line, counts the request and then closes, as a killed server does.
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let dying = listen(move |stream: TcpStream| {
        let mut reader = BufReader::new(stream);
        let read = reader.read_line(&mut String::new());
        count.fetch_add(read.map_or(0, |bytes| usize::from(bytes > 0)), SeqCst);
        drop(reader);
    });
    for (path, body, repeated) in [
        (
            "/api/token/verify/",
            Some(json!({ "token": pair.access })),
            true,
        ),
        (
            "/api/token/verify",
            Some(json!({ "token": pair.access })),
            true,
        ),
        ("/api/auth/user/", None, true),
        ("/.well-known/jwks.json", None, true),
        (
            "/api/token/",
            Some(json!({ "username": "ada", "password": PASSWORD })),
            false,
        ),
        (
            "/api/token/refresh/",
            Some(json!({ "refresh": pair.refresh })),
            false,
        ),
        (
            "/api/token/refresh",
            Some(json!({ "refresh": pair.refresh })),
            false,
        ),
        (
            "/api/token/blacklist/",
            Some(json!({ "refresh": pair.refresh })),
            false,
        ),
        (
            "/api/auth/logout/",
            Some(json!({ "refresh": pair.refresh })),
            false,
        ),
        ("/api/auth/logout/all/", Some(json!({})), false),
    ] {
        // A new nginx starts with the first instance.
        let nginx = Nginx::before(&[dying, address(&server.url)]).await;
        sent.store(0, SeqCst);
        let reply = match &body {
            Some(body) => nginx.post(path, body),
            None => nginx.curl(path, &["--header", &bearer]),
        };
        let expected = if repeated { 200 } else { 502 };
        assert_eq!(
            (reply.status, sent.load(SeqCst)),
            (expected, 1),
            "{path} {reply:?}"
        );
    }
    assert_eq!(
        server.refresh(&pair.refresh).await.status,
        200,
        "the session is live, and the client can retry"
    );
}
