//! Offline verifier that caches the key set for exactly its `max-age`.
//!
//! It does not fetch the key set for an unknown `kid`, because any client could cause such
//! requests.

use chrono::TimeDelta;
use latchkey_domain::{ports::Clock as _, time::Moment};
use latchkey_verifier::{KeySet, Policy, Verifier};

use latchkey_testkit::TestApp;

#[derive(Default)]
pub struct Offline {
    cached: Option<(Verifier, Moment)>,
}

impl Offline {
    /// Clears the cache, as a restart does. The next token causes a fetch.
    pub fn restart(&mut self) {
        self.cached = None;
    }

    /// Verifies the token. Fetches the key set from this server if the cached one has expired.
    #[track_caller]
    pub fn check<'a>(
        &'a mut self,
        app: &'a TestApp,
        token: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let now = app.clock.now();
            let verifier = match self.cached.take() {
                Some((verifier, until)) if now < until => self.cached.insert((verifier, until)),
                _ => self.cached.insert(fetch(app, now).await),
            };
            let checked = verifier.0.verify_access(token, now.timestamp());
            assert!(
                checked.is_ok(),
                "refused at {now}: {:?}, {caller}",
                checked.err()
            );
        }
    }
}

async fn fetch(app: &TestApp, now: Moment) -> (Verifier, Moment) {
    let answer = app.get("/.well-known/jwks.json").await;
    let age = answer
        .header("cache-control")
        .split_once("max-age=")
        .unwrap()
        .1
        .parse()
        .unwrap();
    let verifier = Verifier::new(
        KeySet::from_jwks(&answer.text).unwrap(),
        Policy::new("https://auth.test"),
    );
    (verifier, now + TimeDelta::seconds(age))
}
