//! `verify` at a steady 200 requests per second while every core hashes passwords: for Latchkey by
//! sign-ins, for the baseline by its own threads. The p99 of the latency is compared.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Effort,
    clients::{Client, Job},
    load::{Round, drive},
    process::Process,
    report::{By, Ratio},
    stack::Stack,
    wire::{Connection, get, post},
};

const REQUEST_INTERVAL: Duration = Duration::from_millis(5);
const WARM_UP: Duration = Duration::from_millis(200);
const REQUESTS: usize = 400;
const SIGN_IN_CLIENTS: usize = 16;

pub async fn run(stack: &Stack, effort: Effort) -> Ratio {
    let mut ratio = Ratio::new(
        "verify under logins, p99",
        "the baseline, cores busy with argon2id",
        By::Tail,
        1.0 / 1.5,
    );
    let (rows, mut mint) = (stack.rows(50).await, stack.mint());
    let bodies: Vec<_> = rows
        .iter()
        .map(|row| format!("{{\"token\":\"{}\"}}", mint.access(row)))
        .collect();
    for round in 0..effort.rounds {
        let (port, process) = stack.latchkey();
        let busy = Arc::new(AtomicBool::new(true));
        let storm = tokio::spawn(storm(
            port,
            process.clone(),
            stack.users,
            round,
            Arc::clone(&busy),
        ));
        let mut ours = steady(port, &process, "/api/token/verify/", &bodies).await;
        busy.store(false, Ordering::SeqCst);
        ours.wrong += storm.await.unwrap();
        let (port, process) = stack.floor();
        let burning = tokio::spawn(async move {
            Connection::open(port)
                .await
                .unwrap()
                .ask(&get("/burn"))
                .await
                .unwrap()
                .status
        });
        let theirs = steady(port, &process, "/verify", &bodies).await;
        // The response comes after the last hash.
        assert_eq!(burning.await.unwrap(), 200);
        ratio.add(ours, theirs);
    }
    ratio
}

/// Signs in until `busy` is false. Returns the number of wrong responses.
async fn storm(
    port: u16,
    process: Process,
    users: usize,
    round: usize,
    busy: Arc<AtomicBool>,
) -> usize {
    let mut clients = Vec::new();
    for number in 0..SIGN_IN_CLIENTS {
        let next = (round * 131 + number) % users;
        clients.push(
            Client::new(
                port,
                Job::SignsIn {
                    next,
                    step: SIGN_IN_CLIENTS,
                    users,
                },
            )
            .await,
        );
    }
    let mut wrong = 0;
    while busy.load(Ordering::SeqCst) {
        let (round, back) = drive(&process, &[], clients, SIGN_IN_CLIENTS * 2).await;
        wrong += round.wrong;
        clients = back;
    }
    wrong
}

/// Sends requests at fixed times, without waiting for responses. The latency of a request counts
/// from its due time.
async fn steady(port: u16, process: &Process, path: &str, bodies: &[String]) -> Round {
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(Connection::open(port).await.unwrap());
    }
    // The load has begun after the processor time of about a dozen hashes.
    let initial = process.cpu();
    let mut ticks = interval(REQUEST_INTERVAL);
    while process.cpu() < initial + WARM_UP {
        ticks.tick().await;
    }
    let idle = Arc::new(std::sync::Mutex::new(idle));
    let (began, cpu, mut beat, mut pending) = (
        Instant::now(),
        process.cpu(),
        interval(REQUEST_INTERVAL),
        Vec::new(),
    );
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..REQUESTS {
        let due = beat.tick().await.into_std();
        let (request, idle) = (
            post(path, &bodies[number % bodies.len()]),
            Arc::clone(&idle),
        );
        pending.push(tokio::spawn(async move {
            let free = idle.lock().unwrap().pop();
            let mut connection = match free {
                Some(connection) => connection,
                None => Connection::open(port).await.unwrap(),
            };
            let right = connection
                .ask(&request)
                .await
                .is_ok_and(|answer| answer.status == 200 && answer.body == b"{}");
            idle.lock().unwrap().push(connection);
            (
                u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX),
                right,
            )
        }));
    }
    let mut round = Round {
        requests: REQUESTS,
        ..Round::default()
    };
    for one in pending {
        let (latency, right) = one.await.unwrap();
        round.latencies.push(latency);
        round.wrong += usize::from(!right);
    }
    round.wall = began.elapsed();
    round.cpu = process.cpu().saturating_sub(cpu);
    round
}
