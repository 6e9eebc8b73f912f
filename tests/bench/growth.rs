//! What a request costs when the tables are larger: the same few clients, whose sessions lie anywhere among all others.

use serde_json::{Value, json};

use crate::{
    Effort,
    clients::{Client, Job},
    load::drive,
    scenarios::{holders, warmed},
    stack::Stack,
};

pub async fn run(effort: Effort, thousands: &[u32]) -> Value {
    let sizes = [10].iter().chain(thousands).map(|thousands| thousands * 1000);
    let mut told = Vec::new();
    for sessions in sizes {
        told.push(measure(effort, sessions).await);
    }
    json!(told)
}

async fn measure(effort: Effort, sessions: u32) -> Value {
    // Ten sessions a user.
    let users = usize::try_from(sessions / 10).unwrap().max(2);
    let stack = Stack::start(&format!("growth_{sessions}"), users, sessions).await;
    let (port, process) = stack.latchkey();
    let (rows, mint) = (stack.rows(2000).await, stack.mint());
    let (mut all, mut wrong) = (Vec::new(), 0);
    let each = effort.requests / 2;
    let mut piles: Vec<Vec<String>> =
        rows.chunks(32).map(|rows| rows.iter().map(|row| mint.refresh(row)).collect()).collect();
    let first = std::mem::take(&mut piles[0]);
    piles[0] = warmed(&stack, first).await;
    let behind = stack.behind().await;
    // Each group asks a little and makes room for the next: the rows that are touched change all the time.
    let share = each / piles.len();
    for _ in 0..effort.rounds {
        let mut round = crate::load::Round { others: vec![std::time::Duration::ZERO; 2], ..Default::default() };
        for pile in &mut piles {
            let clients = holders(port, "/api/token/refresh/", std::mem::take(pile)).await;
            let (part, back) = drive(&process, &behind, clients, share).await;
            *pile = back.into_iter().filter_map(Client::into_refresh).collect();
            round.requests += part.requests;
            round.wrong += part.wrong;
            round.cpu += part.cpu;
            round.wall += part.wall;
            round.latencies.extend(part.latencies);
            round.others.iter_mut().zip(part.others).for_each(|(sum, part)| *sum += part);
        }
        wrong += round.wrong;
        all.push(round);
    }
    let mut clients = Vec::new();
    for next in 0..8 {
        clients.push(Client::new(port, Job::SignsIn { next, step: 8, users }).await);
    }
    let logins = drive(&process, &behind, clients, effort.requests / 100).await.0;
    wrong += logins.wrong;
    let size: i64 = stack.sql.query_one("SELECT pg_total_relation_size('sessions')", &[]).await.unwrap().get(0);
    let median = |of: &dyn Fn(&crate::load::Round) -> f64| crate::report::median(all.iter().map(of).collect());
    json!({
        "sessions": sessions, "users": users, "bytes_a_session": size / i64::from(sessions),
        "refresh_us": median(&|round| round.cost()),
        "refresh_postgres_us": median(&|round| round.costs_behind()[0]),
        "refreshes_a_second": median(&|round| round.rate()),
        "obtain_postgres_us": logins.costs_behind()[0],
        "resident_kib": process.resident(), "wrong": wrong,
    })
}
