//! Single operations without a server, as fast as possible on this machine.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use latchkey_verifier::Kind;
use serde_json::{Value, json};

use crate::{process::Process, stack::Stack};

/// argon2id with the server's default cost and reused memory.
pub struct Hash {
    memory: Vec<Block>,
    params: Params,
}

impl Hash {
    pub fn new() -> Self {
        let params = Params::new(19_456, 2, 1, Some(32)).unwrap();
        Self {
            memory: vec![Block::default(); params.block_count()],
            params,
        }
    }

    pub fn compute(&mut self) -> [u8; 32] {
        let mut output = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
            .hash_password_into_with_memory(
                b"correct horse battery staple",
                b"0123456789abcdef",
                &mut output,
                &mut self.memory,
            )
            .unwrap();
        output
    }
}

/// Computes hashes on all cores. Returns their number, the elapsed time and the processor time.
pub fn hashes(each: usize) -> (usize, Duration, Duration) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let own = Process(vec![std::process::id()]);
    let began = Instant::now();
    let gate = std::sync::Barrier::new(cores + 1);
    let cpu = thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut hash = Hash::new();
                for _ in 0..each {
                    black_box(hash.compute());
                }
                gate.wait();
                gate.wait();
            });
        }
        let before = own.cpu();
        gate.wait();
        let cpu = own.cpu().saturating_sub(before);
        gate.wait();
        cpu
    });
    (each * cores, began.elapsed(), cpu)
}

/// Returns the time of each operation, in microseconds.
pub async fn all(stack: &Stack) -> Value {
    let mint = stack.mint();
    let key = mint.key(Kind::Access);
    let pem = pem::parse(key.public_pem().unwrap()).unwrap();
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pem.contents()).unwrap();
    let message = [b'x'; 420];
    let signature = key.sign(&message).unwrap();
    let mut redis = redis::Client::open(stack.redis.as_str())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let began = Instant::now();
    for _ in 0..2000 {
        let _: Vec<Option<String>> = redis::cmd("MGET")
            .arg("a")
            .arg("b")
            .arg("c")
            .query_async(&mut redis)
            .await
            .unwrap();
    }
    let trip = began.elapsed().as_secs_f64() * 1e6 / 2000.0;
    let (count, _, cpu) = hashes(10);
    json!({
        "es256_sign": timed(2000, || drop(black_box(key.sign(&message)))),
        "es256_verify": timed(2000, || { let _ = black_box(public.verify_sig(&message, &signature)); }),
        "hs256_sign": timed(20_000, || drop(black_box(mint.key(Kind::Refresh).sign(&message)))),
        "argon2": cpu.as_secs_f64() * 1e6 / count as f64,
        "redis_round_trip_one_after_the_other": trip,
    })
}

/// Returns the processor time of one operation in microseconds: the median of five rounds on this
/// thread.
fn timed(count: u32, mut operation: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..5)
        .map(|_| {
            let before = own_thread();
            for _ in 0..count {
                operation();
            }
            own_thread().saturating_sub(before).as_secs_f64() * 1e6 / f64::from(count)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[2]
}

fn own_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(
        text.split_ascii_whitespace()
            .next()
            .and_then(|first| first.parse().ok())
            .unwrap_or_default(),
    )
}
