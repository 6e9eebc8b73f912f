//! Running servers follow changes of the key ring without a restart.

use serde_json::json;

use super::keys::kid;
use latchkey_testkit::{PASSWORD, Place, servers::eventually};

const USER: &str = "ada";

async fn published(server: &latchkey_testkit::Server) -> Vec<String> {
    let keys = server.get("/.well-known/jwks.json").await.json();
    keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn server_publishes_new_keys_and_refuses_revoked_ones() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    let servers = [place.serve(""), place.serve("")];
    place.user(USER, PASSWORD);
    let old = kid(&place, &json!({"use": "access"}));
    let pair = servers[0].pair(USER, PASSWORD).await;
    assert_eq!(servers[1].verify(&pair.access).await.status, 200);

    place.run("keys rotate").done();
    let new = kid(&place, &json!({"state": "published"}));
    for server in &servers {
        eventually("the server publishes the new key", async || {
            published(server).await == [new.clone(), old.clone()]
        })
        .await;
    }
    place.run(&format!("keys revoke {old}")).done();
    for server in &servers {
        eventually("the server does not publish the revoked key", async || {
            published(server).await == [new.clone()]
        })
        .await;
        assert_eq!(
            server.verify(&pair.access).await.status,
            401,
            "its tokens are refused"
        );
    }
    // The session remains live, and another key signs its next access token.
    let next = servers[1].refresh(&pair.refresh).await.pair();
    assert_eq!(servers[0].verify(&next.access).await.status, 200);

    let secret = kid(&place, &json!({"use": "refresh"}));
    place.run(&format!("keys revoke {secret}")).done();
    for server in &servers {
        eventually("its refresh tokens are refused", async || {
            server.refresh(&next.refresh).await.status == 401
        })
        .await;
        server.pair(USER, PASSWORD).await;
    }
}

#[tokio::test]
async fn server_with_a_broken_key_logs_it_and_its_repair() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    let server = place.serve("");
    place.user(USER, PASSWORD);
    let path = place
        .files()
        .into_iter()
        .find(|name| name.contains("-access-ES256-"))
        .unwrap();
    place.chmod(&path, 0o644);
    eventually("the fault is logged", async || {
        server
            .log()
            .contains("so others can read the key: run chmod 600")
    })
    .await;
    assert!(
        server.log().contains("; the active keys remain in use"),
        "{}",
        server.log()
    );
    let pair = server.pair(USER, PASSWORD).await;
    assert_eq!(server.verify(&pair.access).await.status, 200);

    // The key can be revoked nevertheless.
    let kid = path
        .rsplit_once("-ES256-")
        .unwrap()
        .1
        .trim_end_matches(".pem")
        .to_owned();
    place.chmod(&path, 0o600);
    eventually("the repair is logged", async || {
        server.log().contains("the key ring has recovered")
    })
    .await;
    place.write("keys/mine.pem", "nonsense");
    eventually("the broken key is logged", async || {
        server.log().contains("keys/mine.pem: the name is not")
    })
    .await;
    place.run(&format!("keys revoke {kid}")).done();
    eventually("the server does not publish the revoked key", async || {
        !published(&server).await.contains(&kid)
    })
    .await;
    assert_eq!(server.verify(&pair.access).await.status, 401);
    assert!(
        server
            .log()
            .lines()
            .filter(|line| line.contains("run chmod 600"))
            .count()
            == 1,
        "each fault is logged once"
    );
}

#[tokio::test]
async fn server_reads_a_new_passphrase() {
    let place = Place::new().with("LATCHKEY_KEYS_PASSPHRASE_FILE", "passphrase");
    place.write("passphrase", "the first passphrase\n");
    let server = place.serve("");
    place.write("new", "the second passphrase\n");
    place.run("keys rewrap --new-passphrase-file new").done();
    eventually("the fault is logged", async || {
        // The keys have the new passphrase, and the file still has the old one.
        server.log().contains("cannot be decrypted")
    })
    .await;
    assert_eq!(
        published(&server).await.len(),
        1,
        "the active key remains in use"
    );
    std::fs::rename(place.path("new"), place.path("passphrase")).unwrap();
    eventually("the repair is logged", async || {
        // The file now has the new passphrase.
        server.log().contains("the key ring has recovered")
    })
    .await;
}
