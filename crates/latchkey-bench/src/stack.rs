//! A new database, one `latchkey serve` with it and with Redis, and a baseline server with as many
//! workers.

use std::{
    fs::{self, File},
    io::Write as _,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use chrono::DateTime;
use latchkey_domain::ids::{SessionId, UserId};
use latchkey_testkit::{
    PASSWORD, program,
    servers::{eventually, own::free_port, postgres_url, redis_url},
    target,
};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::{
    mint::{Mint, Row},
    process::Process,
    wire::{Connection, get},
};

/// Number of connections to Postgres of each server, and of pgbench.
pub const POOL: usize = 16;

/// The measured servers.
pub struct Stack {
    // Dropped in this order: clients before their servers.
    latchkey: Server,
    floor: Server,
    folder: TempDir,
    pub database: String,
    pub redis: String,
    pub issuer: String,
    pub users: usize,
    pub sql: tokio_postgres::Client,
}

struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Stack {
    /// Starts everything, with this many users and sessions.
    pub async fn start(name: &str, users: usize, sessions: u32) -> Self {
        let (postgres, redis) = (postgres_url(), redis_url());
        let folder = tempfile::tempdir().unwrap();
        let database_name = format!("bench_{name}");
        let admin = connect(&format!("{postgres}/postgres")).await;
        admin
            .batch_execute(&format!("CREATE DATABASE {database_name}"))
            .await
            .unwrap();
        let database = format!("{postgres}/{database_name}");
        let (port, floor_port, metrics_port) = (free_port(), free_port(), free_port());
        let issuer = format!("http://127.0.0.1:{port}");
        let settings = [
            ("DATABASE_URL", database.clone()),
            ("LATCHKEY_BIND", format!("127.0.0.1:{port}")),
            ("LATCHKEY_DATABASE_POOL_SIZE", (POOL + 4).to_string()),
            ("LATCHKEY_ISSUER", issuer.clone()),
            ("LATCHKEY_METRICS_BIND", format!("127.0.0.1:{metrics_port}")),
            ("LATCHKEY_REDIS_PREFIX", database_name.clone()),
            // Load on a shared machine must not count as a Redis that is unavailable.
            ("LATCHKEY_REDIS_TIMEOUT", "2s".to_owned()),
            ("REDIS_URL", redis.clone()),
        ];
        let command = |words: &[&str]| {
            let mut command = Command::new(binary());
            command
                .args(words)
                .current_dir(folder.path())
                .env_clear()
                .envs(settings.iter().cloned());
            command
        };
        let log = || File::create(logs().join(format!("{name}.log"))).unwrap();
        let mut serve = command(&["serve"]);
        serve.stdin(Stdio::null()).stdout(log()).stderr(log());
        let latchkey = Server {
            process: serve.spawn().unwrap(),
            port,
        };
        wait_until_listening(port).await;
        let mut create = command(&["users", "create", "user0", "--password-stdin"]);
        let mut create = create
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        create
            .stdin
            .take()
            .unwrap()
            .write_all(PASSWORD.as_bytes())
            .unwrap();
        assert!(create.wait().unwrap().success());
        let sql = connect(&database).await;
        seed(&sql, users, sessions).await;
        let mut floor = Command::new(std::env::current_exe().unwrap());
        floor.args([
            "floor",
            "--port",
            &floor_port.to_string(),
            "--database",
            &database,
            "--redis",
            &redis,
        ]);
        floor
            .args(["--keys".as_ref(), folder.path().join("keys").as_os_str()])
            .args(["--key-set", &key_set(port).await])
            .env_clear()
            .stdin(Stdio::null());
        let floor = Server {
            process: floor.spawn().unwrap(),
            port: floor_port,
        };
        wait_until_listening(floor_port).await;
        wait_until_trusted(metrics_port).await;
        Self {
            latchkey,
            floor,
            folder,
            database,
            redis,
            issuer,
            users,
            sql,
        }
    }

    pub fn latchkey(&self) -> (u16, Process) {
        (
            self.latchkey.port,
            Process(vec![self.latchkey.process.id()]),
        )
    }

    pub fn floor(&self) -> (u16, Process) {
        (self.floor.port, Process(vec![self.floor.process.id()]))
    }

    /// Returns the processes of the Postgres connections, and of Redis.
    pub async fn behind(&self) -> [Process; 2] {
        let rows = self
            .sql
            .query(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()",
                &[],
            )
            .await;
        let postgres = rows
            .unwrap()
            .iter()
            .map(|row| u32::try_from(row.get::<_, i32>(0)).unwrap())
            .collect();
        let mut redis = redis::Client::open(self.redis.as_str())
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut redis)
            .await
            .unwrap();
        let id = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        [Process(postgres), Process(vec![id])]
    }

    pub fn mint(&self) -> Mint {
        Mint::new(&self.folder.path().join("keys"), &self.issuer)
    }

    /// Returns sessions that were not refreshed yet, from random places in the table.
    pub async fn rows(&self, count: usize) -> Vec<Row> {
        let text = "SELECT s.id, s.user_id, u.username, floor(extract(epoch FROM s.rotated_at))::bigint, \
                    floor(extract(epoch FROM s.expires_at))::bigint FROM \
                    (SELECT * FROM sessions WHERE generation = 0 AND user_agent = 'seed' \
                    AND id > (SELECT gen_random_uuid()::text) ORDER BY id LIMIT 1) AS s JOIN users u ON u.id = s.user_id";
        let mut rows = Vec::with_capacity(count);
        let statement = self.sql.prepare(text).await.unwrap();
        while rows.len() < count {
            let Some(row) = self.sql.query_opt(&statement, &[]).await.unwrap() else {
                continue;
            };
            let moment = |index| DateTime::from_timestamp(row.get(index), 0).unwrap();
            let session = SessionId::parse(row.get(0)).unwrap();
            if rows.iter().any(|known: &Row| known.session == session) {
                continue;
            }
            rows.push(Row {
                session,
                user: UserId::new(row.get::<_, String>(1)),
                name: row.get(2),
                rotated_at: moment(3),
                expires_at: moment(4),
            });
        }
        rows
    }
}

/// Inserts copies of the first user, sessions without a sign-in, and the table of the baseline.
async fn seed(sql: &tokio_postgres::Client, users: usize, sessions: u32) {
    let statements = format!(
        "INSERT INTO users (id, username, username_key, email, password_hash, first_name, last_name, is_active, \
         is_staff, session_epoch, created_at) SELECT gen_random_uuid()::text, 'user' || n, 'user' || n, email, \
         password_hash, first_name, last_name, is_active, is_staff, session_epoch, created_at \
         FROM users, generate_series(1, {}) AS n WHERE username = 'user0';
         CREATE TEMPORARY TABLE numbered AS SELECT id, row_number() OVER () - 1 AS n FROM users WHERE username LIKE 'user%';
         CREATE INDEX ON numbered (n); ANALYZE numbered;
         INSERT INTO sessions (id, user_id, session_epoch, generation, created_at, rotated_at, expires_at, user_agent) \
         SELECT gen_random_uuid()::text, numbered.id, 0, 0, t.now, t.now, t.now + interval '30 days', 'seed' \
         FROM generate_series(1, {sessions}) AS s JOIN numbered ON numbered.n = s % {users}, \
         (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now) AS t;
         CREATE TABLE floor (id BIGINT PRIMARY KEY, n INTEGER NOT NULL) WITH (fillfactor = 80);
         INSERT INTO floor SELECT n, 0 FROM generate_series(0, 9999) AS n;
         ANALYZE;",
        users - 1
    );
    sql.batch_execute(&statements).await.unwrap();
    let _ = sql.batch_execute("CHECKPOINT").await;
}

pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn wait_until_listening(port: u16) {
    eventually(&format!("a server listens on {port}"), async || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;
}

/// Returns the published keys of the server on this port.
pub async fn key_set(port: u16) -> String {
    let mut connection = Connection::open(port).await.unwrap();
    let answer = connection
        .ask(&get("/.well-known/jwks.json"))
        .await
        .unwrap();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// Waits until the server trusts Redis. Before that, the database is queried.
async fn wait_until_trusted(port: u16) {
    let mut connection = Connection::open(port).await.unwrap();
    eventually("Redis is trusted", async || {
        let answer = connection.ask(&get("/metrics")).await.unwrap();
        std::str::from_utf8(answer.body)
            .unwrap()
            .contains("\nlatchkey_blacklist_trusted 1\n")
    })
    .await;
}

/// Returns the program under test. `BENCH_BINARY` names another build, to compare a change with the
/// state before it.
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the benchmark, not of the server"
)]
fn binary() -> String {
    std::env::var("BENCH_BINARY").unwrap_or_else(|_| program().display().to_string())
}

fn logs() -> PathBuf {
    let folder = target().join("tmp/bench");
    fs::create_dir_all(&folder).unwrap();
    folder
}
