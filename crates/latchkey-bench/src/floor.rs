//! The baseline server: actix-web with only the signature operations, the round trip to Redis and
//! the statement that a request needs. It has no other checks, headers, logs or metrics. Each
//! worker has its own connections.

use std::{
    cell::Cell,
    net::TcpListener,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpResponse, HttpServer, rt,
    web::{self, Bytes, Data, Json},
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_verifier::Kind;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Statement};

use crate::{
    bare,
    mint::Mint,
    stack::{POOL, connect},
};

/// Port, stores and keys of the baseline server.
#[derive(clap::Args)]
pub struct Settings {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    database: String,
    #[arg(long)]
    redis: String,
    #[arg(long)]
    keys: PathBuf,
    /// Body of `/key-set`
    #[arg(long)]
    key_set: String,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize)]
struct Refresh {
    refresh: String,
}

#[derive(Serialize)]
struct Pair {
    access: String,
    refresh: String,
}

#[derive(Serialize)]
struct Empty {}

/// Keys shared by all workers.
struct Keys {
    mint: Mint,
    public: ParsedPublicKey,
}

/// Connections of one worker.
struct Worker {
    redis: MultiplexedConnection,
    postgres: Vec<(Client, Statement)>,
    next: Cell<usize>,
}

type Shared = Data<Worker>;

pub fn run(settings: Settings) -> ExitCode {
    rt::System::new().block_on(serve(settings));
    ExitCode::SUCCESS
}

async fn serve(settings: Settings) {
    let mint = Mint::new(&settings.keys, "floor");
    let pem = pem::parse(mint.key(Kind::Access).public_pem().unwrap()).unwrap();
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pem.contents()).unwrap();
    let keys = Data::from(Arc::new(Keys { mint, public }));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let listener = TcpListener::bind(("127.0.0.1", settings.port)).unwrap();
    let (redis, database) = (settings.redis, settings.database);
    let key_set = Bytes::from(settings.key_set);
    HttpServer::new(move || {
        let (redis, database) = (redis.clone(), database.clone());
        App::new()
            .app_data(keys.clone())
            .app_data(Data::new(key_set.clone()))
            .data_factory(move || worker(redis.clone(), database.clone(), POOL.div_ceil(workers)))
            .route("/noop-json", web::post().to(noop))
            .route("/key-set", web::get().to(same_bytes))
            .route("/verify", web::post().to(verify))
            .route("/refresh", web::post().to(refresh))
            .route("/burn", web::get().to(burn))
    })
    .workers(workers)
    .keep_alive(Duration::from_secs(75))
    .tcp_nodelay(true)
    .listen(listener)
    .unwrap()
    .run()
    .await
    .unwrap();
}

async fn worker(
    redis: String,
    database: String,
    connections: usize,
) -> Result<Worker, redis::RedisError> {
    let redis = redis::Client::open(redis)?
        .get_multiplexed_async_connection()
        .await?;
    let mut postgres = Vec::new();
    for _ in 0..connections {
        let client = connect(&database).await;
        let statement = client
            .prepare("UPDATE floor SET n = n + 1 WHERE id = $1 RETURNING n")
            .await
            .unwrap();
        postgres.push((client, statement));
    }
    Ok(Worker {
        redis,
        postgres,
        next: Cell::new(0),
    })
}

async fn noop(_: Json<Token>) -> HttpResponse {
    HttpResponse::Ok().json(Empty {})
}

async fn same_bytes(body: Data<Bytes>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(body.as_ref().clone())
}

async fn verify(body: Json<Token>, keys: Data<Keys>, worker: Shared) -> HttpResponse {
    if !keys.has_valid_signature(&body.token) || !worker.has_no_entry().await {
        return HttpResponse::Unauthorized().json(Empty {});
    }
    HttpResponse::Ok().json(Empty {})
}

async fn refresh(body: Json<Refresh>, keys: Data<Keys>, worker: Shared) -> HttpResponse {
    if !keys.has_valid_signature(&body.refresh) || !worker.has_no_entry().await {
        return HttpResponse::Unauthorized().json(Empty {});
    }
    worker.rotate().await;
    HttpResponse::Ok().json(Pair {
        access: keys.signed(&body.refresh),
        refresh: keys.signed(&body.refresh),
    })
}

/// Hashes passwords on every core for three seconds, and responds after the last hash.
async fn burn() -> HttpResponse {
    let until = Instant::now() + Duration::from_secs(3);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hashing = (0..cores).map(|_| {
        web::block(move || {
            let mut hash = bare::Hash::new();
            while Instant::now() < until {
                hash.compute();
            }
        })
    });
    // `block` starts its work when it is called, so all cores start together.
    for hashes in hashing.collect::<Vec<_>>() {
        hashes.await.unwrap();
    }
    HttpResponse::Ok().json(Empty {})
}

impl Keys {
    fn has_valid_signature(&self, token: &str) -> bool {
        let Some((message, signature)) = token.rsplit_once('.') else {
            return false;
        };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        self.public
            .verify_sig(message.as_bytes(), &signature)
            .is_ok()
    }

    /// Returns the same claims with a new signature. Only the length of the token matters here.
    fn signed(&self, like: &str) -> String {
        let message = like.rsplit_once('.').map_or(like, |(message, _)| message);
        let signature = self
            .mint
            .key(Kind::Access)
            .sign(message.as_bytes())
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Worker {
    async fn has_no_entry(&self) -> bool {
        let mut redis = self.redis.clone();
        let mut command = redis::cmd("MGET");
        command
            .arg("{floor:1}:epoch")
            .arg("{floor:1}:s:0d0ba1b7-5a1b-4b39-9f6e-33b6a5a0a1c2");
        command.arg("{floor:1}:u:0d0ba1b7-5a1b-4b39-9f6e-33b6a5a0a1c2");
        let entries: Vec<Option<String>> = command.query_async(&mut redis).await.unwrap();
        entries.iter().all(Option::is_none)
    }

    async fn rotate(&self) -> i32 {
        let number = self.next.get();
        self.next.set(number + 1);
        let (client, statement) = &self.postgres[number % self.postgres.len()];
        let id = i64::try_from(number * 7919 % 10_000).unwrap();
        client.query_one(statement, &[&id]).await.unwrap().get(0)
    }
}
