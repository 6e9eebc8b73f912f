//! Cost of requests with larger tables: few clients, whose sessions are at random places in the
//! table.

use serde_json::{Value, json};

use crate::{
    Effort,
    clients::{Client, Job},
    load::drive,
    scenarios::{holders, warmed},
    stack::Stack,
};

pub async fn run(effort: Effort, thousands: &[u32]) -> Value {
    let sizes = [10]
        .iter()
        .chain(thousands)
        .map(|thousands| thousands * 1000);
    let mut results = Vec::new();
    for sessions in sizes {
        results.push(measure(effort, sessions).await);
    }
    json!(results)
}

async fn measure(effort: Effort, sessions: u32) -> Value {
    // Ten sessions per user.
    let users = usize::try_from(sessions / 10).unwrap().max(2);
    let stack = Stack::start(&format!("growth_{sessions}"), users, sessions).await;
    let (port, process) = stack.latchkey();
    let (rows, mint) = (stack.rows(2000).await, stack.mint());
    let (mut all, mut wrong) = (Vec::new(), 0);
    let each = effort.requests / 2;
    let mut tokens = warmed(&stack, rows.iter().map(|row| mint.refresh(row)).collect()).await;
    let behind = stack.behind().await;
    for _ in 0..effort.rounds {
        let clients = holders(port, "/api/token/refresh/", tokens).await;
        let (round, back) = drive(&process, &behind, clients, each).await;
        tokens = back.into_iter().flat_map(Client::into_held).collect();
        wrong += round.wrong;
        all.push(round);
    }
    let mut clients = Vec::new();
    for next in 0..8 {
        clients.push(
            Client::new(
                port,
                Job::SignsIn {
                    next,
                    step: 8,
                    users,
                },
            )
            .await,
        );
    }
    let logins = drive(&process, &behind, clients, effort.requests / 100)
        .await
        .0;
    wrong += logins.wrong;
    let size: i64 = stack
        .sql
        .query_one("SELECT pg_total_relation_size('sessions')", &[])
        .await
        .unwrap()
        .get(0);
    let median = |of: &dyn Fn(&crate::load::Round) -> f64| {
        crate::report::median(all.iter().map(of).collect())
    };
    json!({
        "sessions": sessions, "users": users, "bytes_per_session": size / i64::from(sessions),
        "refresh_us": median(&|round| round.cost()),
        "refresh_postgres_us": median(&|round| round.costs_behind()[0]),
        "refreshes_per_second": median(&|round| round.rate()),
        "obtain_postgres_us": logins.costs_behind()[0],
        "resident_kib": process.resident(), "wrong": wrong,
    })
}
