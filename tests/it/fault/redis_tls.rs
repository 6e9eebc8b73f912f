//! Redis over TLS, and Redis with users.

use super::{is, ready, redis_scene::Scene};
use crate::support::{
    Place,
    servers::{
        eventually,
        own::{Authority, OwnRedis, free_port},
    },
};

/// What docs/guides/redis.md tells an administrator to enter.
fn needed() -> Vec<String> {
    let docs = include_str!("../../../docs/guides/redis.md");
    let rule = docs
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER latchkey "))
        .unwrap();
    rule.replace("PASSWORD", "hunter2hunter2")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

async fn with_user(rules: &[String]) -> (OwnRedis, String) {
    let redis = OwnRedis::start().await;
    set_user(&redis, rules).await;
    let url = format!(
        "--redis-url=redis://latchkey:hunter2hunter2@127.0.0.1:{}",
        redis.port
    );
    (redis, url)
}

async fn set_user(redis: &OwnRedis, rules: &[String]) {
    let mut command = vec!["ACL", "SETUSER", "latchkey", "reset"];
    command.extend(rules.iter().map(String::as_str));
    let () = redis.ask(&command).await;
}

struct Tls {
    folder: tempfile::TempDir,
    port: u16,
    redis: OwnRedis,
}

impl Tls {
    async fn start(authority: &Authority) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let flags = authority.redis_flags(folder.path(), port);
        let redis =
            OwnRedis::start_with(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
        Self {
            folder,
            port,
            redis,
        }
    }

    fn flags(&self, trusted: &Authority) -> [String; 2] {
        let file = trusted.file(self.folder.path());
        [
            format!("--redis-url=rediss://127.0.0.1:{}", self.port),
            format!("--redis-root-certificate={}", file.display()),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_a_certificate_that_is_trusted_all_is_as_ever() {
    let authority = Authority::new();
    let tls = Tls::start(&authority).await;
    let flags = tls.flags(&authority);
    let scene = Scene::with(tls, &flags).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert!(scene.believed().await);
    assert_eq!(
        scene
            .redis
            .redis
            .ask::<Vec<String>>(&["KEYS", "*:s:*"])
            .await
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_somebody_else_is_not_believed_and_the_database_answers() {
    let tls = Tls::start(&Authority::new()).await;
    let flags = tls.flags(&Authority::new());
    let doctor = Place::new();
    let report = doctor.run(&format!("doctor {} {}", flags[0], flags[1]));
    assert!(
        report
            .out
            .lines()
            .any(|line| line.contains("FAIL") && line.contains("invalid peer certificate")),
        "{}",
        report.out
    );
    let scene = Scene::unbelieving(tls, &flags).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert!(!scene.believed().await);
    assert_eq!(ready(&scene.app).await, is(200, "degraded", "down"));
    assert!(
        scene
            .redis
            .redis
            .ask::<Vec<String>>(&["KEYS", "*"])
            .await
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_do_just_what_is_documented_may_do_enough() {
    let (redis, url) = with_user(&needed()).await;
    let doctor = Place::new();
    let report = doctor.run(&format!("doctor {url}"));
    assert!(
        report
            .out
            .lines()
            .any(|line| line.starts_with("ok") && line.contains("redis")),
        "{}",
        report.out
    );
    let scene = Scene::with(redis, &[url]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    let next = scene.app.refresh(&live.refresh).await.pair();
    scene.accepted(&next).await;
    eventually("the rotation left its mark", async || {
        scene
            .redis
            .ask::<Vec<String>>(&["KEYS", "*:s:*"])
            .await
            .len()
            == 2
    })
    .await;
    assert!(scene.believed().await);
    let log: Vec<redis::Value> = scene.redis.ask(&["ACL", "LOG"]).await;
    assert!(log.is_empty(), "{log:?}");
}

/// Each right of the documented rule is needed: without it, the doctor says which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_lacks_a_right_is_told_of_by_the_doctor() {
    let (redis, url) = with_user(&needed()).await;
    let place = Place::new();
    for right in needed()
        .iter()
        .filter(|word| word.starts_with('+') && !word.contains("cluster"))
    {
        let fewer: Vec<_> = needed().into_iter().filter(|word| word != right).collect();
        set_user(&redis, &fewer).await;
        let report = place.run(&format!("doctor {url}"));
        let told = report
            .out
            .lines()
            .any(|line| line.contains("FAIL") && line.contains("docs/guides/redis.md"));
        assert!(told, "without {right}: {}", report.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_lacks_a_right_harms_no_answer_and_is_believed_once_it_is_given() {
    let fewer: Vec<_> = needed().into_iter().filter(|word| word != "+set").collect();
    let (redis, url) = with_user(&fewer).await;
    let scene = Scene::unbelieving(redis, &[url]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert!(!scene.believed().await);
    set_user(&scene.redis, &needed()).await;
    scene.refused_until_believed(&dead).await;
    scene.accepted(&live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_once_and_the_database_answers() {
    let (redis, _) = with_user(&needed()).await;
    let place = Place::new();
    let url = format!(
        "--redis-url=redis://latchkey:wrong@127.0.0.1:{}",
        redis.port
    );
    let report = place.run(&format!("doctor {url}"));
    let told = report
        .out
        .lines()
        .any(|line| line.contains("FAIL") && line.contains("refuses the user or the password"));
    assert!(told, "{}", report.out);
    assert!(!report.out.contains("wrong@"), "{}", report.out);
    let scene = Scene::unbelieving(redis, &[url]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert_eq!(ready(&scene.app).await, is(200, "degraded", "down"));
}
