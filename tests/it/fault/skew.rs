//! Instances whose clocks differ by a second, within the leeway: no token expires early or late.

use super::{BLACKLISTED, PASSWORD};
use latchkey_testkit::{Backend, TestApp, on_both_backends};

/// Leeway in seconds, equal to the flag in [`two`].
const LEEWAY: i64 = 2;

/// Starts two servers, the second one ahead by this many milliseconds.
async fn two(backend: Backend, ahead: i64, flags: &[&str]) -> [TestApp; 2] {
    let mut all = vec!["--leeway=2s"];
    all.extend(flags);
    let one = TestApp::start_with(backend, &all).await;
    let other = one.twin_ahead(ahead).await;
    [one, other]
}

fn advance(apps: &[TestApp; 2], seconds: i64) {
    for app in apps {
        app.advance(seconds);
    }
}

on_both_backends! {
    async fn new_token_is_valid_on_the_other_instance(backend: Backend) {
        for ahead in [1000, -1000] {
            let apps = two(backend, ahead, &[]).await;
            apps[0].user("ada").await;
            for (from, to) in [(0, 1), (1, 0)] {
                let (from, to) = (&apps[from], &apps[to]);
                let pair = from.obtain("ada", PASSWORD).await.pair();
                to.verify(&pair.access).await.expect(200, "{}");
                assert_eq!(to.me(&format!("Bearer {}", pair.access)).await.status, 200);
                let next = to.refresh(&pair.refresh).await.pair();
                assert_eq!(from.refresh(&pair.refresh).await.pair().refresh, next.refresh, "{ahead}: the same successor");
                from.verify(&next.access).await.expect(200, "{}");
                let last = from.refresh(&next.refresh).await.pair();
                to.blacklist(&last.refresh).await.expect(200, "{}");
                from.refresh(&last.refresh).await.expect(401, BLACKLISTED);
            }
        }
    }

    /// The queried instance decides by its own clock, which is off by at most a second.
    async fn access_token_expires_within_leeway_and_skew(backend: Backend) {
        for ahead in [1000, -1000] {
            let apps = two(backend, ahead, &[]).await;
            let pair = apps[0].signed_in("ada").await;
            advance(&apps, 300 + LEEWAY - 2);
            for app in &apps {
                app.verify(&pair.access).await.expect(200, "{}");
            }
            advance(&apps, 3);
            for app in &apps {
                assert_eq!(app.verify(&pair.access).await.status, 401, "{ahead}");
                assert_eq!(app.me(&format!("Bearer {}", pair.access)).await.status, 401, "{ahead}");
            }
        }
    }

    async fn grace_is_accurate_within_the_skew(backend: Backend) {
        for ahead in [1000, -1000] {
            for (rotates, retries) in [(0, 1), (1, 0)] {
                let apps = two(backend, ahead, &["--refresh-reuse-grace=10s"]).await;
                let (early, late) = (apps[0].signed_in("ada").await, apps[0].signed_in("bob").await);
                let successor = apps[rotates].refresh(&early.refresh).await.pair();
                apps[rotates].refresh(&late.refresh).await.pair();
                advance(&apps, 9);
                assert_eq!(apps[retries].refresh(&early.refresh).await.pair().refresh, successor.refresh, "{ahead}");
                advance(&apps, 3);
                apps[retries].refresh(&late.refresh).await.expect(401, BLACKLISTED);
            }
        }
    }

    /// A session ends at the time in its row. A rotation does not extend it on any instance.
    async fn rotation_does_not_extend_the_session(backend: Backend) {
        for ahead in [1000, -1000] {
            let apps = two(backend, ahead, &["--session-lifetime=1h", "--refresh-token-lifetime=1h"]).await;
            let mut pair = apps[0].signed_in("ada").await;
            let end = apps[0].now() + 3600;
            for turn in 0..5 {
                advance(&apps, 600);
                pair = apps[turn % 2].refresh(&pair.refresh).await.pair();
                let exp = latchkey_testkit::Forge::claims_of(&pair.refresh)["exp"].as_i64().unwrap();
                assert!(exp <= end, "{ahead}: {exp} after {end}");
            }
            advance(&apps, 602);
            for app in &apps {
                assert_eq!(app.refresh(&pair.refresh).await.status, 401, "{ahead}");
            }
        }
    }
}
