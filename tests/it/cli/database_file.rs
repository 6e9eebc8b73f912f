//! The file of the embedded mode, beside other programs.

use std::process::Command;

use futures_util::future::join_all;

use crate::support::Place;

/// SQLite's locks are the process's: a server that closes the file once too often loses them, and the next program that looks
/// takes the log of what was written for one that nobody needs.
#[tokio::test]
async fn what_a_running_server_wrote_survives_whoever_looks_at_its_database() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    place.user("alice", "a long password");
    let server = place.serve("");
    // As many connections as there ever are.
    join_all((0..8).map(|_| server.pair("alice", "a long password"))).await;

    let look = "import sqlite3; c = sqlite3.connect('data/latchkey.db'); print(c.execute('SELECT count(*) FROM sessions').fetchone()[0]); c.close()";
    let looked = Command::new("python3")
        .args(["-c", look])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&looked.stdout).trim(),
        "8",
        "{looked:?}"
    );

    let pair = server.pair("alice", "a long password").await;
    server.stop("KILL");
    assert_eq!(place.serve("").refresh(&pair.refresh).await.status, 200);
}
