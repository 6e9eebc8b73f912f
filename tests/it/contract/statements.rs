//! What a request costs Postgres, counted by Postgres itself: statements, round trips, and how rows are rewritten.

use crate::support::{
    Backend, Pair, TestApp,
    servers::{eventually, own::OwnPostgres},
    sid,
};

/// A Postgres that writes down each message it is sent, and a server with one connection to it.
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

    /// What the server sent since the log was this long: `parse`, `bind` and `execute` of each statement.
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

    /// The messages of one request: the log is complete when a mark that was sent after it is in it.
    async fn of<T>(&self, request: impl Future<Output = T>) -> (T, Vec<String>) {
        self.settle().await;
        let before = self.length();
        let answer = request.await;
        self.settle().await;
        (answer, self.messages(before))
    }

    async fn settle(&self) {
        let mark = crate::support::servers::unique("mark");
        self.postgres.execute(&format!("SELECT '{mark}'")).await;
        eventually("the log is written", async || {
            std::fs::read_to_string(&self.log).unwrap().contains(&mark)
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
async fn a_refresh_is_one_statement_and_one_round_trip_and_a_sign_in_is_two() {
    let observed = Observed::start().await;
    let mut pair = observed.app.signed_in("ada").await;
    for round in 0..3 {
        let (answer, messages) = observed.of(observed.app.refresh(&pair.refresh)).await;
        pair = answer.pair();
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
        let (answer, messages) = observed
            .of(observed.app.obtain("ada", "correct horse battery staple"))
            .await;
        answer.pair();
        let counted = ["parse", "bind", "execute", "statement"].map(|kind| count(&messages, kind));
        assert_eq!(counted, [0, 2, 2, 0], "{messages:#?}");
    }
}

/// Without Redis each check of an access token asks the database: one statement, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_without_redis_is_one_statement() {
    let observed = Observed::start().await;
    let pair = observed.app.signed_in("ada").await;
    observed.app.verify(&pair.access).await.expect(200, "{}");
    let (answer, messages) = observed.of(observed.app.verify(&pair.access)).await;
    answer.expect(200, "{}");
    assert_eq!(
        (count(&messages, "bind"), messages.len()),
        (1, 2),
        "{messages:#?}"
    );
}

/// The thief repeats its request: the first one writes, and later ones read one row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_questions_about_a_spent_token_writes_once() {
    let observed = Observed::start().await;
    let app = &observed.app;
    let first = app.signed_in("ada").await;
    let second = app.refresh(&first.refresh).await.pair();
    let thief = app.sender("127.0.0.9", Some("curl/8"));
    // The audit trail's batch with the refusals is written at any time.
    let of_sessions = |messages: Vec<String>| -> Vec<String> {
        messages
            .into_iter()
            .filter(|message| message.contains("execute") && message.contains("sessions"))
            .collect()
    };
    let (answer, messages) = observed.of(app.verify(&second.refresh)).await;
    assert_eq!(
        (answer.status, of_sessions(messages).len()),
        (200, 1),
        "a live token costs one statement"
    );
    let (answer, messages) = observed.of(app.verify(&first.refresh)).await;
    assert_eq!(
        (answer.status, of_sessions(messages).len()),
        (400, 1),
        "the holder's question writes nothing"
    );
    let (answer, messages) = observed.of(thief.verify(&first.refresh)).await;
    let messages = of_sessions(messages);
    assert_eq!((answer.status, messages.len()), (400, 2), "{messages:#?}");
    assert!(messages[1].contains("UPDATE"), "{messages:#?}");
    for _ in 0..3 {
        let (answer, messages) = observed.of(thief.verify(&first.refresh)).await;
        let messages = of_sessions(messages);
        assert_eq!((answer.status, messages.len()), (400, 1), "{messages:#?}");
        assert!(messages[0].contains("SELECT"), "{messages:#?}");
    }
}

/// One row is changed, however many sessions die by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_everywhere_costs_the_same_with_one_session_and_with_a_thousand() {
    let observed = Observed::start().await;
    let mut costs = Vec::new();
    for sessions in [0, 1000] {
        let pair = if sessions == 0 {
            observed.app.signed_in("ada").await
        } else {
            observed
                .app
                .obtain("ada", "correct horse battery staple")
                .await
                .pair()
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
        let (answer, messages) = observed
            .of(observed.app.log_out_everywhere(&pair.access))
            .await;
        answer.expect(200, r#"{"detail":"Successfully logged out."}"#);
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
            "dead by the counter alone"
        );
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0] <= 10, "{costs:?}");
}

/// A rotation changes no indexed column, and its page has room: no index is touched, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_and_sign_ins_rewrite_rows_in_their_page() {
    let observed = Observed::start().await;
    let mut pairs: Vec<Pair> = vec![observed.app.signed_in("ada").await];
    for _ in 0..9 {
        pairs.push(
            observed
                .app
                .obtain("ada", "correct horse battery staple")
                .await
                .pair(),
        );
    }
    for _ in 0..20 {
        for pair in &mut pairs {
            *pair = observed.app.refresh(&pair.refresh).await.pair();
        }
    }
    let query = "SELECT sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint FROM pg_stat_user_tables
         WHERE relname IN ('sessions', 'users')";
    let mut counted = (0, 0);
    eventually("the statistics are there", async || {
        counted = observed.postgres.two_numbers(query).await;
        counted.0 >= 210
    })
    .await;
    let (all, hot) = counted;
    assert_eq!(all, 210, "200 rotations and 10 sign-ins");
    assert_eq!(hot, all, "heap-only");
}
