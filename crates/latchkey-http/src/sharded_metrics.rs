//! Sharded counter and histogram for metrics that every response updates. Without shards, the
//! workers would contend for one cache line.

use std::{
    array,
    fmt::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric, counter},
};

/// Number of shards. With more threads, several threads share a shard.
const SHARDS: usize = 8;

/// Upper bounds of the buckets in seconds, from a cached key set to a request that waited for the
/// database.
const BOUNDS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Sharded value of a [`counter::Counter`].
#[derive(Debug, Default)]
pub(super) struct ShardedCounter(Sharded<AtomicU64>);

/// Histogram of durations in seconds. Clones share the values.
#[derive(Clone, Debug, Default)]
pub(super) struct ShardedHistogram(Arc<Sharded<Observed>>);

#[derive(Debug, Default)]
struct Sharded<T>([CachePadded<T>; SHARDS]);

/// Value with cache lines that contain nothing else.
#[derive(Debug, Default)]
#[repr(align(64))]
struct CachePadded<T>(T);

#[derive(Debug, Default)]
struct Observed {
    /// Number of durations in each bucket, not cumulative. The last bucket has no upper bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl<T> Sharded<T> {
    /// Returns the shard of this thread.
    fn local_shard(&self) -> &T {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = THREADS.fetch_add(1, Relaxed) % SHARDS;
        }
        let Self(shards) = self;
        let own = OWN.with(|own| shards.get(*own)).unwrap_or(&shards[0]);
        &own.0
    }

    fn sum(&self, number: impl Fn(&T) -> u64) -> u64 {
        self.0
            .iter()
            .map(|shard| number(&shard.0))
            .fold(0, u64::wrapping_add)
    }
}

impl counter::Atomic<u64> for ShardedCounter {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// Adds to the shard of this thread, and returns its previous value.
    fn inc_by(&self, number: u64) -> u64 {
        self.0.local_shard().fetch_add(number, Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.sum(|count| count.load(Relaxed))
    }
}

impl ShardedHistogram {
    pub(super) fn observe(&self, took: Duration) {
        let (own, seconds) = (self.0.local_shard(), took.as_secs_f64());
        let above = BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        if let Some(bucket) = own.buckets.get(above) {
            bucket.fetch_add(1, Relaxed);
        }
        own.nanoseconds
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl TypedMetric for ShardedHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for ShardedHistogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), Error> {
        let counts: [u64; BOUNDS.len() + 1] = array::from_fn(|bucket| {
            self.0.sum(|own| {
                own.buckets
                    .get(bucket)
                    .map_or(0, |count| count.load(Relaxed))
            })
        });
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let seconds =
            Duration::from_nanos(self.0.sum(|own| own.nanoseconds.load(Relaxed))).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(seconds, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use prometheus_client::{
        encoding::text::encode, metrics::counter::Counter, registry::Registry,
    };

    use super::*;

    #[test]
    fn values_of_many_threads_are_added_up() {
        let (counter, durations) = (
            Counter::<u64, ShardedCounter>::default(),
            ShardedHistogram::default(),
        );
        thread::scope(|scope| {
            for thread in 0..20 {
                let (counter, durations) = (&counter, &durations);
                scope.spawn(move || {
                    for _ in 0..100 {
                        counter.inc();
                        durations.observe(Duration::from_millis(if thread == 0 {
                            20_000
                        } else {
                            1
                        }));
                    }
                });
            }
        });
        let mut registry = Registry::default();
        registry.register("answers", "Answers", counter);
        registry.register("took", "Time", durations);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "answers_total 2000\n",
            "took_sum 2001.9\n",
            "took_count 2000\n",
            "took_bucket{le=\"0.0005\"} 0\n",
            "took_bucket{le=\"0.001\"} 1900\n",
            "took_bucket{le=\"10.0\"} 1900\n",
            "took_bucket{le=\"+Inf\"} 2000\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
