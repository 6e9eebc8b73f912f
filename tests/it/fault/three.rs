//! Three instances over one Postgres and one Redis.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use latchkey_domain::password::Password;

use super::{BLACKLISTED, PASSWORD, Probe, VERIFY_BLACKLISTED};
use latchkey_testkit::{
    Answer, Backend, Pair, Proxy, TestApp,
    servers::{self, eventually},
    username,
};

struct Three([TestApp; 3]);

impl Three {
    async fn start(flags: &[&str]) -> Self {
        let first = TestApp::start_with(Backend::PostgresAndRedis, flags).await;
        let twins = [first.twin().await, first.twin().await];
        let [second, third] = twins;
        let three = Self([first, second, third]);
        three.trust_redis().await;
        three
    }

    /// Waits until all three answer `verify` from Redis, so that revocations reach them through
    /// Redis.
    async fn trust_redis(&self) {
        let url = self.0[0].config.database.url().unwrap().to_string();
        let probe = Probe::new(&self.0[0], &url).await;
        for app in &self.0 {
            probe.eventually_redis_answers(app).await;
        }
    }

    async fn all_accept(&self, pair: &Pair) {
        for app in &self.0 {
            app.verify(&pair.access).await.expect(200, "{}");
            app.verify(&pair.refresh).await.expect(200, "{}");
            assert_eq!(app.me(&bearer(pair)).await.status, 200);
        }
    }

    /// Asserts that the first response of every instance refuses the tokens.
    async fn all_refuse(&self, pair: &Pair) {
        for app in &self.0 {
            app.verify(&pair.access)
                .await
                .expect(400, VERIFY_BLACKLISTED);
            app.verify(&pair.refresh)
                .await
                .expect(400, VERIFY_BLACKLISTED);
            assert_eq!(app.me(&bearer(pair)).await.status, 401);
            app.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
        }
    }

    async fn refreshes(&self, number: usize, token: &str) -> Vec<Answer> {
        join_all((0..number).map(|turn| self.0[turn % 3].refresh(token))).await
    }
}

fn bearer(pair: &Pair) -> String {
    format!("Bearer {}", pair.access)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_refreshes_of_one_token_return_one_successor() {
    let three = Three::start(&[]).await;
    let pair = three.0[0].signed_in("ada").await;
    let answers = three.refreshes(100, &pair.refresh).await;
    let successors: BTreeSet<String> = answers.iter().map(|answer| answer.pair().refresh).collect();
    assert_eq!(successors.len(), 1);
    for answer in &answers {
        three.0[2]
            .verify(&answer.pair().access)
            .await
            .expect(200, "{}");
    }
    let last = three.0[1].refresh(successors.first().unwrap()).await.pair();
    assert_eq!(super::postgres_cut::number(&last), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_refreshes_without_grace_revoke_the_session() {
    let three = Three::start(&["--refresh-reuse-grace=0s"]).await;
    let pair = three.0[0].signed_in("ada").await;
    let answers = three.refreshes(100, &pair.refresh).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 99));
    for answer in lost {
        answer.expect(401, BLACKLISTED);
    }
    three.all_refuse(&won[0].pair()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_on_one_instance_holds_on_all_at_once() {
    let three = Three::start(&[]).await;
    for (turn, app) in three.0.iter().enumerate() {
        let name = format!("user{turn}");
        app.user(&name).await;
        let sign_in = async || app.obtain(&name, PASSWORD).await.pair();

        let pair = sign_in().await;
        three.all_accept(&pair).await;
        app.blacklist(&pair.refresh).await.expect(200, "{}");
        three.all_refuse(&pair).await;

        let (accounts, user) = (app.accounts().await, username(&name));
        let pair = sign_in().await;
        three.all_accept(&pair).await;
        accounts.sign_out(&user).await.unwrap();
        three.all_refuse(&pair).await;

        let pair = sign_in().await;
        three.all_accept(&pair).await;
        accounts
            .set_password(&user, Password::parse_new(PASSWORD.to_owned()).unwrap())
            .await
            .unwrap();
        three.all_refuse(&pair).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reuse_on_another_instance_revokes_the_session_on_all() {
    let three = Three::start(&[]).await;
    let [one, other, third] = &three.0;
    let first = one.signed_in("ada").await;
    let second = other.refresh(&first.refresh).await.pair();
    let last = third.refresh(&second.refresh).await.pair();
    three.all_accept(&last).await;
    one.refresh(&first.refresh).await.expect(401, BLACKLISTED);
    three.all_refuse(&last).await;
}

/// Endpoints that query the database refuse at once, those that read Redis within about a second.
/// This is by design.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instance_without_redis_revokes_for_all() {
    let three = Three::start(&[]).await;
    let port = url::Url::parse(&servers::redis_url())
        .unwrap()
        .port()
        .unwrap();
    let proxy = Proxy::to(port);
    let isolated = three.0[0]
        .twin_with(|config| {
            config.redis.redis_url = Some(format!("redis://{}", proxy.address).into());
        })
        .await;
    proxy.refuse();
    for round in 0..3 {
        let pair = isolated.signed_in(&format!("user{round}")).await;
        three.all_accept(&pair).await;
        isolated.blacklist(&pair.refresh).await.expect(200, "{}");
        isolated
            .verify(&pair.access)
            .await
            .expect(400, VERIFY_BLACKLISTED);
        for app in &three.0 {
            assert_eq!(app.me(&bearer(&pair)).await.status, 401);
            app.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
            app.verify(&pair.refresh)
                .await
                .expect(400, VERIFY_BLACKLISTED);
        }
        eventually("another instance writes the entry to Redis", async || {
            three.0[1].verify(&pair.access).await.status == 400
        })
        .await;
        three.all_refuse(&pair).await;
    }
}
