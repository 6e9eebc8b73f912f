//! A service that verifies by the published keys. It keeps them for exactly as long as it may, and does not ask because of a key
//! that it does not know: any stranger could make it ask.

use chrono::TimeDelta;
use latchkey::{domain::time::Moment, ports::Clock as _};
use latchkey_verifier::{KeySet, Policy, Verifier};

use crate::support::TestApp;

#[derive(Default)]
pub struct Offline {
    kept: Option<(Verifier, Moment)>,
}

impl Offline {
    /// It starts anew, and fetches the keys for the next token that it sees.
    pub fn restart(&mut self) {
        self.kept = None;
    }

    /// Takes the token, with keys that it fetches from this server if it has to.
    #[track_caller]
    pub fn check<'a>(
        &'a mut self,
        app: &'a TestApp,
        token: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let now = app.clock.now();
            let verifier = match self.kept.take() {
                Some((verifier, until)) if now < until => self.kept.insert((verifier, until)),
                _ => self.kept.insert(fetch(app, now).await),
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
