//! Protection of a server's memory from core dumps and from other processes of the same user.

use std::{fs, os::unix::fs::MetadataExt as _, process::Stdio};

use latchkey_testkit::{Place, servers::eventually};

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_of_a_server_is_not_dumped_or_readable_by_its_user() {
    let place = Place::new();
    let mut command = place.command_of_service("serve --bind 127.0.0.1:0");
    let mut server = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = format!("/proc/{}", server.id());
    eventually("the limit of core files is 0", async || {
        let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        core.split_whitespace().filter(|word| *word == "0").count() == 2
    })
    .await;
    // Root owns the files in `/proc` of a process that is not dumpable.
    eventually("root owns the files in /proc", async || {
        fs::metadata(format!("{process}/environ")).unwrap().uid() == 0
    })
    .await;
    server.kill().unwrap();
    server.wait().unwrap();
}
