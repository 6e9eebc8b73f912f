//! Cost of requests on Postgres, counted by Postgres: statements, round trips, and rewrites of
//! rows.

use latchkey_testkit::{
    Backend, PASSWORD, Pair, TestApp,
    servers::{eventually, own::OwnPostgres},
    sid,
};

/// A Postgres that logs each message it receives, and an instance with one connection to it.
struct Observed {
    app: TestApp,
    log: std::path::PathBuf,
    postgres: OwnPostgres,
}

impl Observed {
    async fn start() -> Self {
        let settings = [
            "log_min_duration_statement=0",
            "log_line_prefix=[%a] ",
            "logging_collector=on",
            "log_filename=log",
        ]
        .map(|setting| format!("-c{setting}"));
        let postgres = OwnPostgres::start_with(&settings.each_ref().map(String::as_str)).await;
        let url = format!("--database-url={}", postgres.url());
        let app = TestApp::start_with(Backend::Embedded, &[&url, "--database-pool-size=1"]).await;
        let log = postgres.log();
        Self { app, log, postgres }
    }

    /// Returns the messages of the instance after this length of the log: `parse`, `bind` and
    /// `execute` of each statement.
    fn messages(&self, since: usize) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let of_ours = log[since..]
            .lines()
            .filter_map(|line| line.split_once("[latchkey] LOG:  duration: "));
        of_ours
            .map(|(_, rest)| rest.split_once(" ms  ").unwrap().1.to_owned())
            .collect()
    }

    fn length(&self) -> usize {
        std::fs::read_to_string(&self.log).unwrap().len()
    }

    /// Returns the messages of one request. The log is complete once it contains a marker that was
    /// sent afterwards.
    async fn of<T>(&self, request: impl Future<Output = T>) -> (T, Vec<String>) {
        self.settle().await;
        let before = self.length();
        let response = request.await;
        self.settle().await;
        (response, self.messages(before))
    }

    async fn settle(&self) {
        let marker = latchkey_testkit::servers::unique("mark");
        self.postgres.execute(&format!("SELECT '{marker}'")).await;
        eventually("the log is written", async || {
            std::fs::read_to_string(&self.log)
                .unwrap()
                .contains(&marker)
        })
        .await;
    }
}

fn count(messages: &[String], kind: &str) -> usize {
    messages
        .iter()
        .filter(|message| message.starts_with(kind))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_needs_one_statement_and_sign_in_two() {
    let observed = Observed::start().await;
    let mut pair = observed.app.signed_in("ada").await;
    for round in 0..3 {
        let (response, messages) = observed.of(observed.app.refresh(&pair.refresh)).await;
        pair = response.pair();
        let parsed = usize::from(round == 0);
        let counted = ["parse", "bind", "execute", "statement"].map(|kind| count(&messages, kind));
        assert_eq!(
            counted,
            [parsed, 1, 1, 0],
            "prepared once, then bound and executed: {messages:#?}"
        );
        assert!(
            messages
                .iter()
                .all(|message| message.contains("UPDATE sessions")),
            "{messages:#?}"
        );
        assert_eq!(messages.len(), 2 + parsed, "{messages:#?}");
    }
    for _ in 0..2 {
        let (response, messages) = observed.of(observed.app.obtain("ada", PASSWORD)).await;
        response.pair();
        let counted = ["parse", "bind", "execute", "statement"].map(|kind| count(&messages, kind));
        assert_eq!(counted, [0, 2, 2, 0], "{messages:#?}");
    }
}

/// Without Redis, verification of an access token queries the database with one statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_without_redis_is_one_statement() {
    let observed = Observed::start().await;
    let pair = observed.app.signed_in("ada").await;
    observed.app.verify(&pair.access).await.expect(200, "{}");
    let (response, messages) = observed.of(observed.app.verify(&pair.access)).await;
    response.expect(200, "{}");
    assert_eq!(
        (count(&messages, "bind"), messages.len()),
        (1, 2),
        "{messages:#?}"
    );
}

/// The thief repeats its request: the first one writes, and later ones read one row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_verifications_of_a_spent_token_write_once() {
    let observed = Observed::start().await;
    let app = &observed.app;
    let first = app.signed_in("ada").await;
    let second = app.refresh(&first.refresh).await.pair();
    let thief = app.sender("127.0.0.9", Some("curl/8"));
    // The audit trail writes its batch of refusals at any time.
    let of_sessions = |messages: Vec<String>| -> Vec<String> {
        messages
            .into_iter()
            .filter(|message| message.contains("execute") && message.contains("sessions"))
            .collect()
    };
    let (response, messages) = observed.of(app.verify(&second.refresh)).await;
    assert_eq!(
        (response.status, of_sessions(messages).len()),
        (200, 1),
        "a live token costs one statement"
    );
    let (response, messages) = observed.of(app.verify(&first.refresh)).await;
    assert_eq!(
        (response.status, of_sessions(messages).len()),
        (400, 1),
        "the holder's verification writes nothing"
    );
    let (response, messages) = observed.of(thief.verify(&first.refresh)).await;
    let messages = of_sessions(messages);
    assert_eq!((response.status, messages.len()), (400, 2), "{messages:#?}");
    assert!(messages[1].contains("UPDATE"), "{messages:#?}");
    for _ in 0..3 {
        let (response, messages) = observed.of(thief.verify(&first.refresh)).await;
        let messages = of_sessions(messages);
        assert_eq!((response.status, messages.len()), (400, 1), "{messages:#?}");
        assert!(messages[0].contains("SELECT"), "{messages:#?}");
    }
}

/// One row is changed, for any number of revoked sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cost_of_log_out_everywhere_is_independent_of_sessions() {
    let observed = Observed::start().await;
    let mut costs = Vec::new();
    for sessions in [0, 1000] {
        let pair = if sessions == 0 {
            observed.app.signed_in("ada").await
        } else {
            observed.app.obtain("ada", PASSWORD).await.pair()
        };
        let copies = format!(
            "INSERT INTO sessions (id, user_id, session_epoch, generation, created_at, rotated_at, expires_at)
             SELECT gen_random_uuid()::text, user_id, session_epoch, 0, created_at, rotated_at, expires_at
             FROM sessions, generate_series(1, {sessions}) WHERE id = '{}'",
            sid(&pair.access)
        );
        observed.postgres.execute(&copies).await;
        assert_eq!(
            observed.app.own_sessions(&pair.access).await.len(),
            sessions + 1
        );
        let (response, messages) = observed
            .of(observed.app.log_out_everywhere(&pair.access))
            .await;
        response.expect(200, r#"{"detail":"Successfully logged out."}"#);
        costs.push(
            messages
                .iter()
                .filter(|message| !message.starts_with("parse"))
                .count(),
        );
        let live = "SELECT count(*), (SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL) FROM sessions s
             JOIN users u ON u.id = s.user_id AND u.session_epoch = s.session_epoch";
        assert_eq!(
            observed.postgres.two_numbers(live).await,
            (0, 0),
            "revoked by the session epoch alone"
        );
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0] <= 10, "{costs:?}");
}

/// A rotation changes no indexed column, and its page has free space: updates are heap-only and
/// leave no bloat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_and_sign_ins_are_heap_only_updates() {
    let observed = Observed::start().await;
    let mut pairs: Vec<Pair> = vec![observed.app.signed_in("ada").await];
    for _ in 0..9 {
        pairs.push(observed.app.obtain("ada", PASSWORD).await.pair());
    }
    for _ in 0..20 {
        for pair in &mut pairs {
            *pair = observed.app.refresh(&pair.refresh).await.pair();
        }
    }
    let query = "SELECT sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint FROM pg_stat_user_tables
         WHERE relname IN ('sessions', 'users')";
    let mut counted = (0, 0);
    eventually("the statistics are written", async || {
        counted = observed.postgres.two_numbers(query).await;
        counted.0 >= 210
    })
    .await;
    let (all, hot) = counted;
    assert_eq!(all, 210, "200 rotations and 10 sign-ins");
    assert_eq!(hot, all, "heap-only");
}
