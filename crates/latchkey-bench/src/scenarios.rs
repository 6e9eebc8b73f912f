//! The comparisons: rounds of Latchkey and of the baseline in turns.

use std::{
    collections::VecDeque,
    process::Command,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Utc};

use crate::{
    Effort, bare,
    clients::{Client, Job, Pile},
    load::{Round, drive},
    mint::{Mint, Row},
    report::{By, Ratio},
    stack::{POOL, Stack, key_set},
    wire::post,
};

/// Concurrent clients, except for sign-ins.
const CLIENTS: usize = 32;

/// Sessions of all clients together. Few sessions would be unrealistic: their rows are in a few
/// pages, which Postgres would prune all the time.
const SESSIONS: usize = 5000;

/// Number of new tokens of which one is forged and must be refused.
const FORGED_INTERVAL: usize = 50;

/// Compares the key set with an endpoint that sends the same bytes.
pub async fn jwks(stack: &Stack, effort: Effort) -> Ratio {
    let mut ratio = Ratio::new(
        "jwks",
        "an endpoint that sends the same bytes",
        By::Cpu,
        0.90,
    );
    for _ in 0..effort.rounds {
        let (port, process) = stack.latchkey();
        let ours = drive(
            &process,
            &[],
            clients(port, || Job::KeySet("/.well-known/jwks.json")).await,
            effort.requests,
        )
        .await
        .0;
        let (port, process) = stack.floor();
        let job = || Job::KeySet("/key-set");
        let theirs = drive(&process, &[], clients(port, job).await, effort.requests)
            .await
            .0;
        ratio.add(ours, theirs);
    }
    ratio
}

/// Compares `verify` of new access tokens with a signature check and a round trip to Redis.
pub async fn verify_new(stack: &Stack, effort: Effort) -> Ratio {
    let mut ratio = Ratio::new(
        "verify-new",
        "ES256 verification + Redis MGET",
        By::Cpu,
        0.90,
    );
    let (rows, mut mint, count) = (stack.rows(200).await, stack.mint(), effort.requests / 2);
    let [_, redis] = stack.behind().await;
    for _ in 0..effort.rounds {
        let (port, process) = stack.latchkey();
        let pile = pile("/api/token/verify/", &mut mint, &rows, count);
        let job = || Job::Fresh(Arc::clone(&pile));
        let ours = drive(
            &process,
            std::slice::from_ref(&redis),
            clients(port, job).await,
            count,
        )
        .await
        .0;
        let (port, process) = stack.floor();
        let pile = self::pile("/verify", &mut mint, &rows, count);
        let job = || Job::Fresh(Arc::clone(&pile));
        let theirs = drive(
            &process,
            std::slice::from_ref(&redis),
            clients(port, job).await,
            count,
        )
        .await
        .0;
        ratio.add(ours, theirs);
    }
    ratio
}

/// Compares `verify` of repeated access tokens with an endpoint that only parses the same JSON.
pub async fn verify_seen(stack: &Stack, effort: Effort) -> Ratio {
    let mut ratio = Ratio::new(
        "verify-seen",
        "the same JSON is parsed, answer {}",
        By::Cpu,
        0.50,
    );
    let (rows, mut mint) = (stack.rows(CLIENTS).await, stack.mint());
    let bodies: Vec<_> = rows
        .iter()
        .map(|row| format!("{{\"token\":\"{}\"}}", mint.access(row)))
        .collect();
    let [_, redis] = stack.behind().await;
    for _ in 0..effort.rounds {
        let (port, process) = stack.latchkey();
        let mut next = bodies.iter().cycle();
        let job = || Job::Same {
            request: post("/api/token/verify/", next.next().unwrap()),
            expected: b"{}",
        };
        let ours = drive(
            &process,
            std::slice::from_ref(&redis),
            clients(port, job).await,
            effort.requests,
        )
        .await
        .0;
        let (port, process) = stack.floor();
        let mut next = bodies.iter().cycle();
        let job = || Job::Same {
            request: post("/noop-json", next.next().unwrap()),
            expected: b"{}",
        };
        let theirs = drive(
            &process,
            std::slice::from_ref(&redis),
            clients(port, job).await,
            effort.requests,
        )
        .await
        .0;
        ratio.add(ours, theirs);
    }
    ratio
}

/// Compares rotations with a baseline of two signatures, and with pgbench on the same Postgres.
pub async fn refresh(stack: &Stack, effort: Effort) -> [Ratio; 2] {
    let limit = "ES256 verification, two ES256 signatures, Redis MGET, UPDATE of one row";
    let mut ratio = Ratio::new("refresh", limit, By::Cpu, 1.50);
    let mut against_pgbench = Ratio::new(
        "refreshes per second",
        "pgbench: UPDATE of one row",
        By::Rate,
        0.50,
    );
    let (rows, mut mint, count) = (
        stack.rows(SESSIONS).await,
        stack.mint(),
        effort.requests / 2,
    );
    let mut ours = warmed(stack, rows.iter().map(|row| mint.refresh(row)).collect()).await;
    let behind = stack.behind().await;
    let mut theirs: Vec<_> = rows.iter().map(|row| mint.access(row)).collect();
    let verifies = key_set(stack.latchkey().0).await;
    for _ in 0..effort.rounds {
        let (port, process) = stack.latchkey();
        let holders = holders(port, "/api/token/refresh/", ours).await;
        let (mut round, back) = drive(&process, &behind, holders, count).await;
        round.wrong += unverifiable(&mint, &verifies, &back);
        ours = back.into_iter().flat_map(Client::into_held).collect();
        let (port, process) = stack.floor();
        let holders = self::holders(port, "/refresh", theirs).await;
        let (floor, back) = drive(&process, &behind, holders, count).await;
        theirs = back.into_iter().flat_map(Client::into_held).collect();
        against_pgbench.add(round.clone(), pgbench(stack, 2));
        ratio.add(round, floor);
    }
    [ratio, against_pgbench]
}

/// Refreshes each token once and returns the successors. After that, all connections to Postgres
/// are open and can be counted.
pub async fn warmed(stack: &Stack, tokens: Vec<String>) -> Vec<String> {
    let (port, process) = stack.latchkey();
    let count = tokens.len();
    let holders = holders(port, "/api/token/refresh/", tokens).await;
    let (_, back) = drive(&process, &[], holders, count).await;
    back.into_iter().flat_map(Client::into_held).collect()
}

/// Compares sign-ins with the hash alone on as many threads.
pub async fn obtain(stack: &Stack, effort: Effort) -> Ratio {
    let mut ratio = Ratio::new("obtain", "argon2id alone, on all cores", By::Cpu, 0.95);
    let count = effort.requests / 200;
    for round in 0..effort.rounds {
        let (port, process) = stack.latchkey();
        let mut first = round * 16;
        let job = || {
            first += 1;
            Job::SignsIn {
                next: first % stack.users,
                step: 16,
                users: stack.users,
            }
        };
        let mut clients = Vec::new();
        let mut job = job;
        for _ in 0..16 {
            clients.push(Client::new(port, job()).await);
        }
        let ours = drive(&process, &[], clients, count).await.0;
        let (hashed, wall, cpu) = tokio::task::spawn_blocking(move || bare::hashes(count / 2))
            .await
            .unwrap();
        let latency =
            u32::try_from(cpu.as_micros()).unwrap_or(u32::MAX) / u32::try_from(hashed).unwrap_or(1);
        ratio.add(
            ours,
            Round {
                requests: hashed,
                wall,
                cpu,
                latencies: vec![latency],
                ..Round::default()
            },
        );
    }
    ratio
}

pub async fn clients(port: u16, mut job: impl FnMut() -> Job) -> Vec<Client> {
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        clients.push(Client::new(port, job()).await);
    }
    clients
}

/// Returns clients that hold these tokens in equal shares.
pub async fn holders(port: u16, path: &'static str, tokens: Vec<String>) -> Vec<Client> {
    let mut shares = vec![VecDeque::new(); CLIENTS.min(tokens.len())];
    for (share, token) in (0..shares.len()).cycle().zip(tokens) {
        shares[share].push_back(token);
    }
    let mut holders = Vec::with_capacity(shares.len());
    for held in shares {
        holders.push(
            Client::new(
                port,
                Job::Rotates {
                    path,
                    held,
                    access: String::new(),
                },
            )
            .await,
        );
    }
    holders
}

/// Returns requests with new tokens, some of them with the signature of another token.
fn pile(path: &str, mint: &mut Mint, rows: &[Row], count: usize) -> Pile {
    let mut pile = Vec::with_capacity(count);
    for number in 0..count {
        let row = &rows[number % rows.len()];
        let mut token = mint.access(row);
        let forged = number % FORGED_INTERVAL == 0;
        if forged {
            let other = mint.access(row);
            let (message, _) = token.rsplit_once('.').unwrap();
            token = format!("{message}.{}", other.rsplit_once('.').unwrap().1);
        }
        pile.push((
            post(path, &format!("{{\"token\":\"{token}\"}}")),
            if forged { 401 } else { 200 },
        ));
    }
    Arc::new(Mutex::new(pile))
}

/// Returns the number of clients whose access token does not verify with the published keys.
fn unverifiable(mint: &Mint, key_set: &str, clients: &[Client]) -> usize {
    let now = now().timestamp();
    clients
        .iter()
        .filter_map(Client::access)
        .filter(|access| !mint.verifies(key_set, access, now))
        .count()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tokens are verified at the real time"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Runs pgbench with as many connections as the servers have. Each updates one row by its key.
fn pgbench(stack: &Stack, seconds: u32) -> Round {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        script.path(),
        "\\set id random(0, 9999)\nUPDATE floor SET n = n + 1 WHERE id = :id RETURNING n;\n",
    )
    .unwrap();
    let output = Command::new("pgbench")
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=1"])
        .args([
            "--client",
            &POOL.to_string(),
            "--time",
            &seconds.to_string(),
            "--file",
        ])
        .arg(script.path())
        .arg(&stack.database)
        .output()
        .expect("pgbench comes with Postgres (on Debian: postgresql-client or postgresql-contrib)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    let rate = line("tps = ")
        .unwrap_or_else(|| panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let latency = line("latency average = ").unwrap_or_default() * 1000.0;
    let wall = std::time::Duration::from_secs(u64::from(seconds));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts, far below the limits"
    )]
    let (requests, latency) = ((rate * f64::from(seconds)) as usize, latency as u32);
    Round {
        requests,
        wall,
        latencies: vec![latency],
        ..Round::default()
    }
}
