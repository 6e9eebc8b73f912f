//! Executes a plan. Records start, end and answer of each request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::TimeDelta;
use latchkey_crypto::random;
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    claims::RefreshClaims,
    ports::{Clock as _, NewSession, SessionStore as _},
    session::Session,
    username::Username,
};
use latchkey_service::users::UserAdmin;
use latchkey_store::sql::{SqlPool, SqlStore, pool::PoolLimits};
use latchkey_verifier::Kind;
use serde_json::json;
use tokio::{sync::Barrier, task::yield_now};

use super::{
    places::Place,
    plan::{Command, Operation, Plan, SERVERS},
};
use latchkey_testkit::{Answer, Backend, Fleet, Forge, username};

/// Three servers with shared stores, and the operator's commands.
pub struct World {
    pub servers: Fleet,
    pub store: SqlStore,
    accounts: UserAdmin,
    forge: Forge,
    order: AtomicU64,
}

/// Tokens of a session at the start of the round.
pub struct Tokens {
    pub access: String,
    /// By generation.
    pub refresh: Vec<String>,
}

/// Request, or command of an operator.
#[derive(Clone, Debug)]
pub struct Event {
    pub what: Command,
    pub place: Place,
    pub started: u64,
    /// Order and content of the answer. `None` if the client disconnected.
    pub answer: Option<(u64, Answer)>,
}

/// Session of a round and its events.
pub struct Record {
    pub plan: Plan,
    pub session: Session,
    pub tokens: Tokens,
    pub events: Vec<Event>,
}

impl World {
    pub async fn start(backend: Backend) -> Self {
        // After a failed write, other servers may miss an entry for a second. The long timeout
        // prevents failures on slow machines.
        let servers = Fleet::start(backend, SERVERS, &["--redis-timeout=20s"]).await;
        let limits = PoolLimits {
            connections: 8,
            threads: 0,
            timeout: std::time::Duration::from_secs(20),
        };
        let store = SqlStore::new(
            SqlPool::open(&servers[0].config.database.url().unwrap(), limits).unwrap(),
        );
        let (accounts, forge) = (servers[0].accounts().await, servers[0].forge());
        Self {
            servers,
            store,
            accounts,
            forge,
            order: AtomicU64::new(0),
        }
    }

    pub async fn play(self: &Arc<Self>, name: &str, plan: Plan) -> Record {
        let session = self.session(name, &plan).await;
        let tokens = self.tokens(&session);
        let barrier = Arc::new(Barrier::new(plan.operations.len()));
        let tasks: Vec<_> = plan
            .operations
            .iter()
            .map(|operation| {
                let (world, barrier, operation) =
                    (Arc::clone(self), Arc::clone(&barrier), operation.clone());
                let token = match operation.what {
                    Command::VerifyAccess | Command::RevokeAll => tokens.access.clone(),
                    Command::Refresh { generation, .. }
                    | Command::LogOut { generation }
                    | Command::VerifyRefresh { generation } => {
                        tokens.refresh[usize::try_from(generation).unwrap()].clone()
                    }
                };
                let name = username(name);
                tokio::spawn(async move {
                    barrier.wait().await;
                    turns(operation.turns).await;
                    world.perform(&operation, token, &name).await
                })
            })
            .collect();
        let mut events = Vec::new();
        for task in tasks {
            events.extend(task.await.unwrap());
        }
        Record {
            plan,
            session,
            tokens,
            events,
        }
    }

    async fn session(&self, name: &str, plan: &Plan) -> Session {
        let user = self.accounts.find(&username(name)).await.unwrap();
        let now = self.servers[0].clock.now();
        let session = Session {
            id: random::session_id(),
            user_id: user.id,
            session_epoch: user.session_epoch,
            generation: plan.generation,
            created_at: now - TimeDelta::minutes(1),
            rotated_at: now - TimeDelta::seconds(if plan.window_over { 11 } else { 1 }),
            expires_at: now + TimeDelta::days(1),
            revoked: None,
            last_ip: Some(Place::Home.client().0.to_owned()),
            user_agent: None,
        };
        let audit = AuditEvent::new(now, EventKind::SignIn, Actor::Service);
        let new = NewSession {
            session: session.clone(),
            update_last_login: false,
            audit,
        };
        assert!(self.store.insert(new).await.unwrap().is_some());
        session
    }

    fn tokens(&self, session: &Session) -> Tokens {
        let refresh = |generation| {
            let row = Session {
                generation,
                ..session.clone()
            };
            let claims = RefreshClaims::of(&row, TimeDelta::days(1));
            self.token(
                Kind::Refresh,
                session,
                claims.expires_at,
                &json!({ "gen": generation, "jti": claims.jti }),
            )
        };
        let refresh = (0..=session.generation).map(refresh).collect();
        let expires_at = session.rotated_at.timestamp() + 300;
        Tokens {
            access: self.token(Kind::Access, session, expires_at, &json!({})),
            refresh,
        }
    }

    fn token(
        &self,
        kind: Kind,
        session: &Session,
        expires_at: i64,
        more: &serde_json::Value,
    ) -> String {
        let mut claims = self.forge.claims(kind);
        let (user, sid) = (session.user_id.as_str(), session.id.to_string());
        let ours = json!({
            "sub": user, "user_id": user, "sid": sid, "ver": session.session_epoch,
            "iat": session.rotated_at.timestamp(), "exp": expires_at,
        });
        for part in [&ours, more] {
            claims
                .as_object_mut()
                .unwrap()
                .extend(part.as_object().unwrap().clone());
        }
        self.forge.token(kind, &claims)
    }

    async fn perform(
        &self,
        operation: &Operation,
        mut token: String,
        name: &Username,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let (mut what, mut remaining) = match operation.what {
            Command::Refresh { times, .. } => (operation.what, times),
            other => (other, 1),
        };
        while remaining > 0 {
            let started = self.order.fetch_add(1, Ordering::SeqCst);
            let disconnected = async {
                match operation.crash {
                    Some(number) => turns(number).await,
                    None => std::future::pending().await,
                }
            };
            let answer = tokio::select! {
                answer = self.send(what, operation, &token, name) => Some(answer),
                () = disconnected => None,
            };
            let answer = answer.map(|answer| (self.order.fetch_add(1, Ordering::SeqCst), answer));
            events.push(Event {
                what,
                place: operation.place,
                started,
                answer: answer.clone(),
            });
            remaining -= 1;
            match (answer, what) {
                (Some((_, answer)), Command::Refresh { generation, times })
                    if answer.status == 200 =>
                {
                    token = answer.pair().refresh;
                    what = Command::Refresh {
                        generation: generation + 1,
                        times,
                    };
                }
                _ => break,
            }
        }
        events
    }

    async fn send(
        &self,
        what: Command,
        operation: &Operation,
        token: &str,
        name: &Username,
    ) -> Answer {
        let (address, agent) = operation.place.client();
        let client = self.servers[operation.server].sender(address, agent);
        match what {
            Command::Refresh { .. } => client.refresh(token).await,
            Command::LogOut { .. } => client.blacklist(token).await,
            Command::VerifyAccess | Command::VerifyRefresh { .. } => client.verify(token).await,
            Command::RevokeAll => {
                self.accounts.sign_out(name).await.unwrap();
                Answer {
                    status: 200,
                    headers: reqwest::header::HeaderMap::new(),
                    text: String::new(),
                }
            }
        }
    }
}

async fn turns(number: u32) {
    for _ in 0..number {
        yield_now().await;
    }
}
