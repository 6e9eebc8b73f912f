//! `LATCHKEY_ACCESS_TOKEN_JITTER`: tabs that signed in together refresh at different times.

use std::collections::BTreeSet;

use latchkey_testkit::{Backend, Forge, TestApp};

fn lifetime(token: &str) -> i64 {
    let claims = Forge::claims_of(token);
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

#[tokio::test]
async fn jitter_applies_to_access_tokens_only() {
    let app = TestApp::start_with(
        Backend::Embedded,
        &["--access-token-lifetime=10m", "--access-token-jitter=2m"],
    )
    .await;
    let mut pair = app.signed_in("ada").await;
    let mut lifetimes = BTreeSet::new();
    for _ in 0..40 {
        assert_eq!(lifetime(&pair.refresh), 86_400);
        lifetimes.insert(lifetime(&pair.access));
        pair = app.refresh(&pair.refresh).await.pair();
    }
    assert!(
        lifetimes
            .iter()
            .all(|lifetime| (480..=600).contains(lifetime)),
        "{lifetimes:?}"
    );
    // 40 draws from 121 values give 20 or fewer distinct ones with a probability below 10^-20.
    assert!(lifetimes.len() > 20, "{lifetimes:?}");
    // No token expires before the minimum lifetime, and each expires at its `exp`.
    app.advance(479);
    app.verify(&pair.access).await.expect(200, "{}");
    app.advance(121);
    assert_eq!(app.verify(&pair.access).await.status, 401);
}

#[tokio::test]
async fn zero_jitter_gives_equal_lifetimes() {
    let app = TestApp::start(Backend::Embedded).await;
    let mut pair = app.signed_in("ada").await;
    for _ in 0..10 {
        assert_eq!(lifetime(&pair.access), 300);
        pair = app.refresh(&pair.refresh).await.pair();
    }
}
