//! SQLite file of the embedded mode, with other programs that open it.

use std::process::Command;

use futures_util::future::join_all;

use latchkey_testkit::Place;

/// POSIX locks belong to the process: if the server closes another descriptor of the file, it loses
/// its locks. The next program would then take the write-ahead log for stale.
#[tokio::test]
async fn writes_survive_another_reader_of_the_database() {
    let place = Place::new().with("LATCHKEY_ISSUER", "https://auth.test");
    place.user("alice", "a long password");
    let server = place.serve("");
    // Concurrent requests open all connections of the pool.
    join_all((0..8).map(|_| server.pair("alice", "a long password"))).await;

    let script = "import sqlite3; c = sqlite3.connect('data/latchkey.db'); print(c.execute('SELECT count(*) FROM sessions').fetchone()[0]); c.close()";
    let counted = Command::new("python3")
        .args(["-c", script])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&counted.stdout).trim(),
        "8",
        "{counted:?}"
    );

    let pair = server.pair("alice", "a long password").await;
    server.stop("KILL");
    assert_eq!(place.serve("").refresh(&pair.refresh).await.status, 200);
}
