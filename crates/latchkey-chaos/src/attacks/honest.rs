//! Honest clients during an attack: they repeat a view, a refresh and a sign-in.

use std::time::{Duration, Instant};

use tokio::time::interval;

use crate::wire::{Answer, Wire};
use latchkey_testkit::PASSWORD;

pub(super) const NAMES: [&str; 3] = ["view", "refresh", "sign-in"];

/// Interval between requests of a client.
const REQUEST_INTERVAL: Duration = Duration::from_millis(10);

/// Latencies of each kind of request.
pub(super) struct Latencies([Kind; 3]);

/// Latencies of one kind of request.
#[derive(Default)]
pub(super) struct Kind {
    took: Vec<Duration>,
    pub failed: u64,
}

/// Sends requests for this long.
pub(super) async fn measure(wire: &Wire, length: Duration) -> Latencies {
    let end = Instant::now() + length;
    let (view, refresh, sign_in) = tokio::join!(
        client(
            end,
            async || signed_in(wire, "user2").await,
            async |pair| {
                let answer = wire.user(0, &pair.access).await;
                (answer, pair)
            }
        ),
        client(
            end,
            async || signed_in(wire, "user3").await,
            async |pair| {
                let answer = wire.refresh(0, &pair.refresh).await;
                let next = answer.pair().unwrap_or(pair);
                (answer, next)
            }
        ),
        client(
            end,
            async || (),
            async |()| (wire.obtain(0, "user4", PASSWORD).await, ())
        ),
    );
    Latencies([view, refresh, sign_in])
}

async fn signed_in(wire: &Wire, user: &str) -> latchkey_testkit::Pair {
    wire.obtain(0, user, PASSWORD)
        .await
        .pair()
        .expect("a sign-in")
}

async fn client<T>(
    end: Instant,
    begin: impl AsyncFnOnce() -> T,
    mut ask: impl AsyncFnMut(T) -> (Answer, T),
) -> Kind {
    let (mut state, mut kind, mut ticks) =
        (begin().await, Kind::default(), interval(REQUEST_INTERVAL));
    while Instant::now() < end {
        ticks.tick().await;
        let begun = Instant::now();
        let (answer, next) = ask(state).await;
        state = next;
        kind.took.push(begun.elapsed());
        kind.failed += u64::from(!answer.ok());
    }
    kind.took.sort_unstable();
    kind
}

impl Latencies {
    pub(super) const fn by_name(&self) -> [&Kind; 3] {
        let Self([view, refresh, sign_in]) = self;
        [view, refresh, sign_in]
    }
}

impl Kind {
    pub(super) fn count(&self) -> usize {
        self.took.len()
    }

    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let last = self.took.len().saturating_sub(1);
        self.took
            .get(last * percent / 100)
            .copied()
            .unwrap_or_default()
    }

    /// Returns the median and the 99th percentile in words.
    pub(super) fn summary(&self) -> String {
        let milliseconds = |percent| self.percentile(percent).as_secs_f64() * 1000.0;
        format!("{:.1} / {:.1} ms", milliseconds(50), milliseconds(99))
    }
}
