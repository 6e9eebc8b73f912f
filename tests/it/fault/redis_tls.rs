//! Redis over TLS, and Redis with ACL users.

use super::{readiness, redis_scene::Scene, state};
use latchkey_testkit::{
    Place,
    servers::{
        eventually,
        own::{Authority, OwnRedis, free_port},
    },
};

/// Returns the ACL rules of docs/guides/redis.md.
fn documented_rules() -> Vec<String> {
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
async fn tls_with_a_trusted_certificate_works() {
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
    assert!(scene.trusted().await);
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
async fn untrusted_certificate_leaves_the_database() {
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
    let scene = Scene::untrusted(tls, &flags).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert!(!scene.trusted().await);
    assert_eq!(readiness(&scene.app).await, state(200, "degraded", "down"));
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
async fn user_with_the_documented_rights_suffices() {
    let (redis, url) = with_user(&documented_rules()).await;
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
    eventually("the rotation's entry is written", async || {
        scene
            .redis
            .ask::<Vec<String>>(&["KEYS", "*:s:*"])
            .await
            .len()
            == 2
    })
    .await;
    assert!(scene.trusted().await);
    let log: Vec<redis::Value> = scene.redis.ask(&["ACL", "LOG"]).await;
    assert!(log.is_empty(), "{log:?}");
}

/// The doctor fails for each documented right that is missing, and names the guide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_without_a_right_fails_the_doctor() {
    let (redis, url) = with_user(&documented_rules()).await;
    let place = Place::new();
    for right in documented_rules()
        .iter()
        .filter(|word| word.starts_with('+') && !word.contains("cluster"))
    {
        let fewer: Vec<_> = documented_rules()
            .into_iter()
            .filter(|word| word != right)
            .collect();
        set_user(&redis, &fewer).await;
        let report = place.run(&format!("doctor {url}"));
        let reported = report
            .out
            .lines()
            .any(|line| line.contains("FAIL") && line.contains("docs/guides/redis.md"));
        assert!(reported, "without {right}: {}", report.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_without_a_right_is_trusted_after_it_is_granted() {
    let fewer: Vec<_> = documented_rules()
        .into_iter()
        .filter(|word| word != "+set")
        .collect();
    let (redis, url) = with_user(&fewer).await;
    let scene = Scene::untrusted(redis, &[url]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert!(!scene.trusted().await);
    set_user(&scene.redis, &documented_rules()).await;
    scene.refused_until_trusted(&dead).await;
    scene.accepted(&live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_password_is_reported_and_leaves_the_database() {
    let (redis, _) = with_user(&documented_rules()).await;
    let place = Place::new();
    let url = format!(
        "--redis-url=redis://latchkey:wrong@127.0.0.1:{}",
        redis.port
    );
    let report = place.run(&format!("doctor {url}"));
    let reported = report
        .out
        .lines()
        .any(|line| line.contains("FAIL") && line.contains("refuses the user or the password"));
    assert!(reported, "{}", report.out);
    assert!(!report.out.contains("wrong@"), "{}", report.out);
    let scene = Scene::untrusted(redis, &[url]).await;
    let (dead, live) = (
        scene.app.signed_in("ada").await,
        scene.app.signed_in("bob").await,
    );
    scene.app.blacklist(&dead.refresh).await.expect(200, "{}");
    scene.refused(&dead).await;
    scene.accepted(&live).await;
    assert_eq!(readiness(&scene.app).await, state(200, "degraded", "down"));
}
