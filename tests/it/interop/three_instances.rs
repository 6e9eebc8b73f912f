//! Guide to three instances: they start concurrently with empty stores, share all tokens, and are
//! updated one at a time.

use super::PASSWORD;
use latchkey_testkit::{Backend, Place, Server, servers::eventually};

const ISSUER: &str = "https://auth.example.com";

async fn is_ready(server: &Server) {
    eventually("the instance is ready", async || {
        server.get("/health/ready").await.status == 200
    })
    .await;
}

async fn assert_interchangeable(place: Place) {
    let place = place.with("LATCHKEY_ISSUER", ISSUER);
    let mut servers: Vec<Server> = (0..3).map(|_| place.starting("")).collect();
    servers = servers.into_iter().map(Server::listening).collect();
    place.user("ada", PASSWORD);
    for server in &servers {
        is_ready(server).await;
    }
    let keys = servers[0].get("/.well-known/jwks.json").await.json();
    for server in &servers {
        assert_eq!(server.get("/.well-known/jwks.json").await.json(), keys);
    }

    let mut pair = servers[0].pair("ada", PASSWORD).await;
    pair = servers[1].refresh(&pair.refresh).await.pair();
    servers[2].verify(&pair.access).await.expect(200, "{}");

    for index in 0..servers.len() {
        let (status, _) = servers.remove(index).stop("TERM");
        assert!(status.success(), "{status}");
        for server in &servers {
            pair = server.refresh(&pair.refresh).await.pair();
            server.verify(&pair.access).await.expect(200, "{}");
        }
        let updated = place.serve("");
        is_ready(&updated).await;
        pair = updated.refresh(&pair.refresh).await.pair();
        servers.insert(index, updated);
    }

    servers[2].blacklist(&pair.refresh).await.expect(200, "{}");
    for server in &servers {
        assert_eq!(server.verify(&pair.access).await.status, 400);
        assert_eq!(server.refresh(&pair.refresh).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_with_a_shared_key_directory_are_interchangeable() {
    assert_interchangeable(Place::on(Backend::PostgresAndRedis).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_with_keys_in_the_database_are_interchangeable() {
    let place = Place::on(Backend::PostgresAndRedis)
        .await
        .with("LATCHKEY_KEYS", "database");
    let passphrase = place
        .write("passphrase", "a passphrase of more than sixteen letters\n")
        .display()
        .to_string();
    assert_interchangeable(place.with("LATCHKEY_KEYS_PASSPHRASE_FILE", &passphrase)).await;
}
