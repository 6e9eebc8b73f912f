//! An address that leads to another server later, while the one before and the connections to it live on: a virtual
//! address, a name, a load balancer. A thread's own connection and that of the background may then lead to two servers.

use std::sync::atomic::{AtomicUsize, Ordering};

use latchkey::ports::{Blacklist as _, Lookup};

use super::blacklist::{Filled, HOUR, needs_rebuild, rebuild};
use crate::support::{
    Proxy,
    servers::{eventually, own::OwnRedis},
};

/// The connection of the background, and this thread's own: before them, one asked which kind of server it is.
const SHARED: usize = 1;
const OWN: usize = 2;

/// The replica is promoted, and the door leads to it from now on.
async fn promoted(it: &Filled, door: &Proxy, other: &OwnRedis) {
    assert_eq!(it.check().await, Lookup::Clear);
    eventually("the epochs have arrived", async || {
        !epochs(other).await.is_empty()
    })
    .await;
    let () = other.ask(&["REPLICAOF", "NO", "ONE"]).await;
    door.move_to(other.port);
}

async fn epochs(redis: &OwnRedis) -> Vec<String> {
    redis.ask(&["KEYS", "*:epoch"]).await
}

async fn marks(redis: &OwnRedis) -> usize {
    redis.ask::<Vec<String>>(&["KEYS", "*:s:*"]).await.len()
}

#[tokio::test]
async fn a_revocation_that_would_go_to_another_server_than_was_looked_at_is_a_write_that_failed() {
    let (it, door, other) = Filled::behind_a_door().await;
    promoted(&it, &door, &other).await;
    door.cut();
    it.blacklist
        .write(&[(it.revoked(), HOUR)])
        .await
        .unwrap_err();
    assert_eq!(
        (it.blacklist.status().trusted, marks(&other).await),
        (false, 0)
    );
    followed(&it, &other).await;
}

#[tokio::test]
async fn a_thread_that_is_led_elsewhere_asks_through_the_background_until_that_has_followed() {
    let (it, door, other) = Filled::behind_a_door().await;
    promoted(&it, &door, &other).await;
    // The background's connection still leads to the first server, and believes it.
    door.cut_one(OWN);
    assert_eq!(it.check().await, Lookup::Unknown);
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    it.write(it.revoked(), HOUR).await;
    assert_eq!(
        (
            it.check().await,
            marks(&it.redis).await,
            marks(&other).await
        ),
        (Lookup::Revoked, 1, 0)
    );
    // Once the thread has rested, it finds the second server, and makes the background look there.
    eventually("that the address leads elsewhere is noticed", async || {
        it.check().await == Lookup::Unknown
    })
    .await;
    assert!(!it.blacklist.status().trusted);
    followed(&it, &other).await;
}

/// The background has found the other server, and what is revoked goes there.
async fn followed(it: &Filled, other: &OwnRedis) {
    eventually("the background has followed", async || {
        rebuild_if_needed(it).await
    })
    .await;
    it.rested().await;
    it.write(it.revoked(), HOUR).await;
    assert_eq!((it.check().await, marks(other).await), (Lookup::Revoked, 1));
}

/// As many clients do: none of them may keep the background from its look.
#[tokio::test]
async fn a_server_that_was_started_again_is_believed_within_moments_however_often_it_is_asked() {
    let mut it = Filled::start().await;
    it.redis.kill();
    it.redis.again().await;
    let answers = AtomicUsize::new(0);
    let asking = async {
        loop {
            it.check().await;
            answers.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let looking = eventually("it is believed", async || {
        rebuild_if_needed(&it).await && it.blacklist.status().trusted
    });
    tokio::select! {
        () = asking => {}
        () = looking => {}
    }
    assert!(answers.load(Ordering::Relaxed) > 0);
}

async fn rebuild_if_needed(it: &Filled) -> bool {
    match needs_rebuild(&it.blacklist).await {
        Ok(true) => it.blacklist.start_rebuild().await.is_ok() && rebuild(&it.blacklist).await,
        Ok(false) => true,
        Err(_) => false,
    }
}

#[tokio::test]
async fn an_answer_of_the_server_before_that_comes_after_the_next_is_believed_is_not() {
    let (it, door, other) = Filled::behind_a_door().await;
    promoted(&it, &door, &other).await;
    // The background's connection breaks, and this thread asks the first server, which takes its time.
    door.cut_one(SHARED);
    it.blacklist.probe().await.unwrap_err();
    door.hold_answers_so_far();
    let late = it.check();
    let meanwhile = async {
        eventually("the question has arrived", async || door.holds()).await;
        let key = it.revoked();
        eventually("the other is believed", async || {
            rebuild_if_needed(&it).await && it.blacklist.status().trusted
        })
        .await;
        it.blacklist.write(&[(key, HOUR)]).await.unwrap();
        assert_eq!(marks(&other).await, 1);
        door.go_on();
    };
    let (late, ()) = tokio::join!(late, meanwhile);
    assert_eq!(late, Lookup::Unknown);
    assert_eq!(it.check().await, Lookup::Revoked);
}

#[tokio::test]
async fn a_master_that_was_made_a_replica_is_left_for_whoever_the_address_leads_to() {
    let (it, door, other) = Filled::behind_a_door().await;
    promoted(&it, &door, &other).await;
    let () = it
        .redis
        .ask(&["REPLICAOF", "127.0.0.1", &other.port.to_string()])
        .await;
    it.blacklist.probe().await.unwrap_err();
    eventually("the other is found", async || rebuild_if_needed(&it).await).await;
    it.rested().await;
    it.write(it.revoked(), HOUR).await;
    assert_eq!(marks(&other).await, 1);
}

#[tokio::test]
async fn a_thread_s_connection_that_died_unused_is_found_by_the_next_look_and_not_by_a_request() {
    let (it, door, _) = Filled::behind_a_door().await;
    assert_eq!(it.check().await, Lookup::Clear);
    let before = it.blacklist.status().failures;
    door.cut_one(OWN);
    eventually("it is found dead", async || {
        it.blacklist.probe().await.unwrap();
        it.blacklist.status().failures == before + 1
    })
    .await;
    assert!(!needs_rebuild(&it.blacklist).await.unwrap());
    it.rested().await;
    assert_eq!(
        (it.check().await, it.blacklist.status().failures),
        (Lookup::Clear, before + 1)
    );
}
