//! Verification at a steady 200 a second while passwords are hashed on every core: by us for clients that sign in, beside
//! the floor by threads of its own. What counts is how long the slowest of a hundred waits.

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

const EVERY: Duration = Duration::from_millis(5);
const STORM: Duration = Duration::from_millis(200);
const ASKED: usize = 400;
const SIGN_IN: usize = 16;

pub async fn run(stack: &Stack, effort: Effort) -> Ratio {
    let mut ratio = Ratio::new(
        "verify under logins, p99",
        "the floor, cores busy with argon2id",
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
        // Until the last hash is done.
        assert_eq!(burning.await.unwrap(), 200);
        ratio.add(ours, theirs);
    }
    ratio
}

/// How many answers were wrong.
async fn storm(
    port: u16,
    process: Process,
    users: usize,
    round: usize,
    busy: Arc<AtomicBool>,
) -> usize {
    let mut clients = Vec::new();
    for number in 0..SIGN_IN {
        let next = (round * 131 + number) % users;
        clients.push(
            Client::new(
                port,
                Job::SignsIn {
                    next,
                    step: SIGN_IN,
                    users,
                },
            )
            .await,
        );
    }
    let mut wrong = 0;
    while busy.load(Ordering::SeqCst) {
        let (round, back) = drive(&process, &[], clients, SIGN_IN * 2).await;
        wrong += round.wrong;
        clients = back;
    }
    wrong
}

/// Asks on the beat, whether or not the last answer has come: a request that waited counts from when it was due.
async fn steady(port: u16, process: &Process, path: &str, bodies: &[String]) -> Round {
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(Connection::open(port).await.unwrap());
    }
    // The storm is there once the process has worked for as long as a dozen hashes take.
    let calm = process.cpu();
    let mut ticks = interval(EVERY);
    while process.cpu() < calm + STORM {
        ticks.tick().await;
    }
    let idle = Arc::new(std::sync::Mutex::new(idle));
    let (began, cpu, mut beat, mut asked) =
        (Instant::now(), process.cpu(), interval(EVERY), Vec::new());
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..ASKED {
        let due = beat.tick().await.into_std();
        let (request, idle) = (
            post(path, &bodies[number % bodies.len()]),
            Arc::clone(&idle),
        );
        asked.push(tokio::spawn(async move {
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
        requests: ASKED,
        ..Round::default()
    };
    for one in asked {
        let (latency, right) = one.await.unwrap();
        round.latencies.push(latency);
        round.wrong += usize::from(!right);
    }
    round.wall = began.elapsed();
    round.cpu = process.cpu().saturating_sub(cpu);
    round
}
