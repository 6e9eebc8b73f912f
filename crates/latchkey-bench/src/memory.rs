//! Resident memory: idle, under as many sign-ins as the hash pool accepts, and over many refreshes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    Effort,
    clients::{Client, Job},
    load::drive,
    process::Process,
    scenarios::holders,
    stack::Stack,
};

/// Idle time before a sample. It is longer than the server keeps unused memory.
const IDLE_TIME: Duration = Duration::from_secs(15);

pub fn idle(stack: &Stack) -> Value {
    json!({ "idle_after_start_kib": stack.latchkey().1.resident() })
}

pub async fn under_load(stack: &Stack, effort: Effort, memory: &mut Value) {
    let (port, process) = stack.latchkey();
    let mut clients = Vec::new();
    for next in 0..64 {
        clients.push(
            Client::new(
                port,
                Job::SignsIn {
                    next,
                    step: 64,
                    users: stack.users,
                },
            )
            .await,
        );
    }
    let done = Arc::new(AtomicBool::new(false));
    let peak = tokio::spawn(maximum(process.clone(), Arc::clone(&done)));
    let logins = drive(&process, &[], clients, effort.requests / 40).await.0;
    done.store(true, Ordering::SeqCst);
    memory["under_logins_kib"] = json!(peak.await.unwrap());
    memory["logins"] = json!(logins.requests);
    let (rows, mint) = (stack.rows(32).await, stack.mint());
    let mut tokens: Vec<_> = rows.iter().map(|row| mint.refresh(row)).collect();
    let (mut points, step, mut wrong) =
        (Vec::new(), effort.refreshes_for_memory / 10, logins.wrong);
    for _ in 0..10 {
        let (round, back) = drive(
            &process,
            &[],
            holders(port, "/api/token/refresh/", tokens).await,
            step,
        )
        .await;
        wrong += round.wrong;
        tokens = back.into_iter().flat_map(Client::into_held).collect();
        points.push(process.resident());
    }
    memory["refreshes"] = json!(effort.refreshes_for_memory);
    memory["over_refreshes_kib"] = json!(points);
    tokio::time::sleep(IDLE_TIME).await;
    memory["idle_again_kib"] = json!(process.resident());
    memory["most_ever_kib"] = json!(process.peak());
    memory["wrong"] = json!(wrong);
}

/// Returns the maximum resident memory until `done`, in KiB.
async fn maximum(process: Process, done: Arc<AtomicBool>) -> u64 {
    let mut maximum = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !done.load(Ordering::SeqCst) {
        maximum = process.resident().max(maximum);
        ticks.tick().await;
    }
    maximum
}
