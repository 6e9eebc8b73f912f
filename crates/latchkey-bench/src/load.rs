//! A closed load: each client sends its next request after the response, until a total is reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{clients::Client, process::Process};

/// Outcome of a round.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub requests: usize,
    pub wrong: usize,
    pub wall: Duration,
    /// Processor time of the measured server.
    pub cpu: Duration,
    /// Processor time of the servers behind it, in the order of the arguments.
    pub others: Vec<Duration>,
    /// Latency of each request, in microseconds.
    pub latencies: Vec<u32>,
}

impl Round {
    /// Returns the processor time of one request in microseconds.
    pub fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }

    /// Returns the processor time of one request in the servers behind, in microseconds.
    pub fn costs_behind(&self) -> Vec<f64> {
        self.others
            .iter()
            .map(|cpu| cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64)
            .collect()
    }

    /// Returns the requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64().max(1e-9)
    }
}

/// Sends `count` requests with all `clients` together.
pub async fn drive(
    serves: &Process,
    behind: &[Process],
    clients: Vec<Client>,
    count: usize,
) -> (Round, Vec<Client>) {
    let left = Arc::new(AtomicUsize::new(count));
    let (began, cpu) = (Instant::now(), serves.cpu());
    let before: Vec<_> = behind.iter().map(Process::cpu).collect();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(run(client, Arc::clone(&left))))
        .collect();
    let mut round = Round::default();
    let mut back = Vec::new();
    for task in tasks {
        let (client, latencies, wrong) = task.await.unwrap();
        round.requests += latencies.len();
        round.latencies.extend(latencies);
        round.wrong += wrong;
        back.push(client);
    }
    round.wall = began.elapsed();
    round.cpu = serves.cpu().saturating_sub(cpu);
    round.others = behind
        .iter()
        .zip(before)
        .map(|(process, before)| process.cpu().saturating_sub(before))
        .collect();
    (round, back)
}

async fn run(mut client: Client, left: Arc<AtomicUsize>) -> (Client, Vec<u32>, usize) {
    let (mut latencies, mut wrong) = (Vec::new(), 0);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    {
        let began = Instant::now();
        if let Err(what) = client.turn().await {
            wrong += 1;
            if wrong == 1 {
                println!("wrong response: {what}");
            }
        }
        latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    (client, latencies, wrong)
}
