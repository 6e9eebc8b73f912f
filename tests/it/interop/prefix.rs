//! Latchkey below a path prefix: the server URL in the OpenAPI document is reachable.

use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use reqwest::{Client, Url};
use serde_json::{Value, json};

use super::{PASSWORD, verifier::require};
use latchkey_testkit::{
    Place,
    servers::{eventually, own::free_port},
};

/// nginx process. It stops when dropped.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        let _ = self.0.wait();
    }
}

async fn nginx(place: &Place, upstream: &str) -> (Nginx, u16) {
    let port = free_port();
    let paths: String = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
        .map(|what| format!("{what}_temp_path {};\n", place.path(what).display()))
        .concat();
    let text = format!(
        "daemon off;\nworker_processes 1;\npid {};\nevents {{}}\nhttp {{\naccess_log off;\n{paths}
        server {{ listen 127.0.0.1:{port}; location /auth/ {{ proxy_pass {upstream}/; }} }} }}\n",
        place.path("pid").display()
    );
    let file = place.write("nginx.conf", &text);
    let mut command = Command::new(require("nginx", "nginx"));
    command
        .arg("-e")
        .arg(place.path("nginx.log"))
        .arg("-p")
        .arg(place.path(""))
        .arg("-c")
        .arg(file);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let nginx = Nginx(child);
    eventually("nginx listens", async || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;
    (nginx, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_url_of_the_document_includes_the_prefix() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    let server = place.serve("");
    let (_nginx, port) = nginx(&place, &server.url).await;
    let client = Client::new();
    for base in [server.url.clone(), format!("http://127.0.0.1:{port}/auth")] {
        // Swagger UI resolves the URL relative to its page.
        let page: Url = format!("{base}/docs/").parse().unwrap();
        let found = page.join("../openapi.json").unwrap();
        let document: Value = client
            .get(found.clone())
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let servers = document["servers"].as_array().unwrap();
        assert_eq!(servers.len(), 1);
        let root = found.join(servers[0]["url"].as_str().unwrap()).unwrap();
        // Clients append a path to the server URL.
        let url = format!("{}/api/token/", root.as_str().trim_end_matches('/'));
        assert_eq!(url, format!("{base}/api/token/"));
        let body = json!({ "username": "ada", "password": PASSWORD });
        assert_eq!(
            client.post(url).json(&body).send().await.unwrap().status(),
            200
        );
    }
}
