//! Three instances over one Postgres and one Redis.

use std::collections::BTreeSet;

use latchkey_domain::password::Password;

use super::{BLACKLISTED, PASSWORD, Probe, VERIFY_BLACKLISTED};
use latchkey_testkit::{
    Backend, Fleet, Pair, Proxy,
    servers::{self, eventually},
    username,
};

/// Starts three instances and waits until all of them answer `verify` from Redis, so that
/// revocations reach them through Redis.
async fn three_instances(flags: &[&str]) -> Fleet {
    let three = Fleet::start(Backend::PostgresAndRedis, 3, flags).await;
    let url = three[0].config.database.url().unwrap().to_string();
    let probe = Probe::new(&three[0], &url).await;
    for app in &three {
        probe.eventually_redis_answers(app).await;
    }
    three
}

fn bearer(pair: &Pair) -> String {
    format!("Bearer {}", pair.access)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_refreshes_of_one_token_return_one_successor() {
    let three = three_instances(&[]).await;
    let pair = three[0].signed_in("ada").await;
    let answers = three.refreshes(100, &pair.refresh).await;
    let successors: BTreeSet<String> = answers.iter().map(|answer| answer.pair().refresh).collect();
    assert_eq!(successors.len(), 1);
    for answer in &answers {
        three[2]
            .verify(&answer.pair().access)
            .await
            .expect(200, "{}");
    }
    let last = three[1].refresh(successors.first().unwrap()).await.pair();
    assert_eq!(super::postgres_cut::number(&last), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundred_refreshes_without_grace_revoke_the_session() {
    let three = three_instances(&["--refresh-reuse-grace=0s"]).await;
    let pair = three[0].signed_in("ada").await;
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
    let three = three_instances(&[]).await;
    for (turn, app) in three.iter().enumerate() {
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
    let three = three_instances(&[]).await;
    let [one, other, third] = three.three();
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
    let three = three_instances(&[]).await;
    let port = url::Url::parse(&servers::redis_url())
        .unwrap()
        .port()
        .unwrap();
    let proxy = Proxy::to(port);
    let isolated = three[0]
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
        for app in &three {
            assert_eq!(app.me(&bearer(&pair)).await.status, 401);
            app.refresh(&pair.refresh).await.expect(401, BLACKLISTED);
            app.verify(&pair.refresh)
                .await
                .expect(400, VERIFY_BLACKLISTED);
        }
        eventually("another instance writes the entry to Redis", async || {
            three[1].verify(&pair.access).await.status == 400
        })
        .await;
        three.all_refuse(&pair).await;
    }
}
