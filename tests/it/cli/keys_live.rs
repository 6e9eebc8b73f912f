//! A server that runs follows its ring: nothing is restarted.

use serde_json::json;

use super::keys::kid;
use crate::support::{Backend, Place, servers::eventually};

const USER: &str = "ada";
const PASSWORD: &str = "correct horse battery staple";

async fn published(server: &crate::support::Server) -> Vec<String> {
    let keys = server.get("/.well-known/jwks.json").await.json();
    keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

on_both_backends! {
    async fn a_running_server_publishes_what_is_made_and_refuses_what_is_revoked(backend: Backend) {
        let mut place = Place::on(backend).await.with("LATCHKEY_ISSUER", "https://auth.test");
        if backend == Backend::PostgresAndRedis {
            place = place.with("LATCHKEY_KEYS", "database").with("LATCHKEY_KEYS_PASSPHRASE_FILE", "passphrase");
            place.write("passphrase", "the passphrase of a test\n");
        }
        let servers = [place.serve(""), place.serve("")];
        place.user(USER, PASSWORD);
        let old = kid(&place, &json!({"use": "access"}));
        let pair = servers[0].pair(USER, PASSWORD).await;
        assert_eq!(servers[1].verify(&pair.access).await.status, 200);

        place.run("keys rotate").done();
        let new = kid(&place, &json!({"state": "published"}));
        for server in &servers {
            eventually("it publishes the new key", async || published(server).await == [new.clone(), old.clone()]).await;
        }
        place.run(&format!("keys revoke {old}")).done();
        for server in &servers {
            eventually("it does not publish the revoked key", async || published(server).await == [new.clone()]).await;
            assert_eq!(server.verify(&pair.access).await.status, 401, "what it signed is refused");
        }
        // The session is as good as before, and its next access token is of the other key.
        let next = servers[1].refresh(&pair.refresh).await.pair();
        assert_eq!(servers[0].verify(&next.access).await.status, 200);

        let secret = kid(&place, &json!({"use": "refresh"}));
        place.run(&format!("keys revoke {secret}")).done();
        for server in &servers {
            eventually("its refresh tokens are refused", async || server.refresh(&next.refresh).await.status == 401).await;
            server.pair(USER, PASSWORD).await;
        }
    }
}

#[tokio::test]
async fn a_running_server_says_that_a_key_is_broken_and_goes_on_and_says_when_it_is_repaired() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    let server = place.serve("");
    place.user(USER, PASSWORD);
    let path = place
        .files()
        .into_iter()
        .find(|name| name.contains("-access-ES256-"))
        .unwrap();
    place.chmod(&path, 0o644);
    eventually("it says so", async || {
        server
            .log()
            .contains("so others can read the key: run chmod 600")
    })
    .await;
    assert!(
        server.log().contains("; the keys in force stay"),
        "{}",
        server.log()
    );
    let pair = server.pair(USER, PASSWORD).await;
    assert_eq!(server.verify(&pair.access).await.status, 200);

    // A key that has to go goes all the same.
    let kid = path
        .rsplit_once("-ES256-")
        .unwrap()
        .1
        .trim_end_matches(".pem")
        .to_owned();
    place.chmod(&path, 0o600);
    eventually("it says that too", async || {
        server
            .log()
            .contains("the ring of keys is as it should be again")
    })
    .await;
    place.write("keys/mine.pem", "nonsense");
    eventually("it says what is wrong", async || {
        server.log().contains("keys/mine.pem: the name is not")
    })
    .await;
    place.run(&format!("keys revoke {kid}")).done();
    eventually("it publishes no key", async || {
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
        "not at each look"
    );
}

#[tokio::test]
async fn a_running_server_takes_a_new_passphrase_over() {
    let place = Place::new().with("LATCHKEY_KEYS_PASSPHRASE_FILE", "passphrase");
    place.write("passphrase", "the first passphrase\n");
    let server = place.serve("");
    place.write("new", "the second passphrase\n");
    place.run("keys rewrap --new-passphrase-file new").done();
    eventually("it says that it cannot read them", async || {
        server.log().contains("cannot be decrypted")
    })
    .await;
    assert_eq!(published(&server).await.len(), 1, "it goes on");
    std::fs::rename(place.path("new"), place.path("passphrase")).unwrap();
    eventually("it can", async || {
        server
            .log()
            .contains("the ring of keys is as it should be again")
    })
    .await;
    place.run("keys rotate").done();
    eventually("and it follows", async || {
        published(&server).await.len() == 2
    })
    .await;
}
