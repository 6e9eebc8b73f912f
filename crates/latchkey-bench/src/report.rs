//! Medians of rounds, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::Round;

/// Compared quantity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// Processor time of a request.
    Cpu,
    /// Requests per second.
    Rate,
    /// The 99th percentile of the latency.
    Tail,
}

/// A comparison with a baseline: 1 is as good as the baseline, more is better.
pub struct Ratio {
    name: &'static str,
    limit: &'static str,
    by: By,
    /// Minimum of the ratio.
    minimum: f64,
    rounds: Vec<(Round, Round)>,
}

impl Ratio {
    pub const fn new(name: &'static str, limit: &'static str, by: By, minimum: f64) -> Self {
        Self {
            name,
            limit,
            by,
            minimum,
            rounds: Vec::new(),
        }
    }

    pub fn add(&mut self, ours: Round, limit: Round) {
        self.rounds.push((ours, limit));
        let (ours, limit) = self.rounds.last().unwrap();
        println!(
            "{}: {:.1} us, {:.0}/s beside {:.1} us, {:.0}/s: {:.2}",
            self.name,
            ours.cost(),
            ours.rate(),
            limit.cost(),
            limit.rate(),
            self.of(ours, limit)
        );
    }

    pub fn wrong(&self) -> usize {
        self.rounds
            .iter()
            .map(|(ours, limit)| ours.wrong + limit.wrong)
            .sum()
    }

    fn of(&self, ours: &Round, limit: &Round) -> f64 {
        match self.by {
            By::Cpu => limit.cost() / ours.cost(),
            By::Rate => ours.rate() / limit.rate(),
            By::Tail => percentile(&limit.latencies, 99.0) / percentile(&ours.latencies, 99.0),
        }
    }

    fn value(&self) -> f64 {
        median(
            self.rounds
                .iter()
                .map(|(ours, limit)| self.of(ours, limit))
                .collect(),
        )
    }

    fn ours(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(|(ours, _)| of(ours)).collect())
    }

    fn limits(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(|(_, limit)| of(limit)).collect())
    }

    pub fn json(&self) -> Value {
        let side = |of: &dyn Fn(Measure<'_>) -> f64| {
            json!({
                "cpu_us": of(&Round::cost), "per_second": of(&Round::rate),
                "p50_us": of(&|round| percentile(&round.latencies, 50.0)),
                "p99_us": of(&|round| percentile(&round.latencies, 99.0)),
                "p999_us": of(&|round| percentile(&round.latencies, 99.9)),
            })
        };
        let all: Vec<_> = self
            .rounds
            .iter()
            .map(|(ours, limit)| self.of(ours, limit))
            .collect();
        json!({
            "name": self.name, "limit": self.limit, "by": format!("{:?}", self.by), "ratio": self.value(),
            "minimum": self.minimum, "reached": self.value() >= self.minimum, "rounds": all, "wrong": self.wrong(),
            "ours": side(&|of| self.ours(of)), "beside": side(&|of| self.limits(of)),
            "behind_us": self.rounds.first().map(|(first, _)| {
                (0..first.others.len()).map(|n| self.ours(|round| round.costs_behind()[n])).collect::<Vec<_>>()
            }),
        })
    }
}

/// A number that is computed from a round.
type Measure<'a> = &'a dyn Fn(&Round) -> f64;

/// Returns a table with one row per comparison.
pub fn table(ratios: &[Ratio]) -> String {
    let mut text =
        "| measurement | baseline | ratio | minimum | CPU us | baseline CPU us | per second | p50 ms | p99 ms | p99.9 ms | wrong |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for ratio in ratios {
        let latency = |percent| ratio.ours(|round| percentile(&round.latencies, percent)) / 1000.0;
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.1} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} | {} |",
            ratio.name,
            ratio.limit,
            ratio.value(),
            ratio.minimum,
            ratio.ours(Round::cost),
            ratio.limits(Round::cost),
            ratio.ours(Round::rate),
            latency(50.0),
            latency(99.0),
            latency(99.9),
            ratio.wrong(),
        );
    }
    text
}

/// Returns results that are not comparisons as text.
pub fn plain(title: &str, value: &Value) -> String {
    if value.is_null() {
        String::new()
    } else {
        format!("{title}: {value:#}")
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn percentile(latencies: &[u32], percent: f64) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a list"
    )]
    let index = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted
        .get(index.min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |latency| f64::from(*latency))
}
