//! Marks, and when their absence may be believed.
//!
//! "No mark" means "not revoked" only while this holds:
//! - the epoch key is there: Redis still has the memory that a rebuild filled;
//! - no write of this process failed since then (`failed` equals `covered`);
//! - the connection did not fail since the janitor last saw the same server behind it: one that started again from an
//!   old snapshot, or a replica that took over, has the epoch, but not the last marks;
//! - Redis does not evict: under any policy but `noeviction` a mark may go while the epoch stays.
//!
//! In every other case the answer is `Unknown`, and the database decides. A mark that is there is always believed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::TimeDelta;
use redis::{Script, ScriptInvocation, cmd};

use super::{
    connection::{Connection, RedisOptions},
    keys::{BUCKETS, Keys},
    server::Server,
};
use crate::ports::{Blacklist, Mark, StoreError, TokenRef, Verdict};

/// Raises marks: for each key a value and a time to live in milliseconds. Neither ever goes down, whatever the order
/// in which writers arrive. What cannot be read is a later version's, and only a revocation goes over it.
const RAISE: &str = r"
local function rank(value)
  if value == 'revoked' then return 2^53 end
  return tonumber(string.match(value, '^%d+$')) or 2^53 - 1
end
for i, key in ipairs(KEYS) do
  local value, ttl = ARGV[2 * i - 1], tonumber(ARGV[2 * i])
  local present = redis.call('GET', key)
  local left = redis.call('PTTL', key)
  if left > ttl then ttl = left end
  if present and rank(present) >= rank(value) then value = present end
  redis.call('SET', key, value, 'PX', ttl)
end
return #KEYS
";

/// Sets the epoch if the memory that the rebuild wrote to is still the same: its ticket lies there.
const SEAL: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], '1')
redis.call('DEL', KEYS[2])
return 1
";

const REVOKED: &str = "revoked";

/// What a rebuild leaves behind when its process dies goes by itself, in milliseconds.
const TICKET_LIFE: u64 = 24 * 60 * 60 * 1000;

/// The blacklist of one process. Share it behind an `Arc`.
pub struct RedisBlacklist {
    connection: Connection,
    keys: Keys,
    raise: Script,
    seal: Script,
    ticket: String,
    /// How many writes of this process failed. It starts at 1: what a process before this one failed to write is not
    /// known, so the first thing is a rebuild.
    failed: AtomicU64,
    /// The value of `failed` that the last rebuild covered.
    covered: AtomicU64,
    /// How often the connection had failed when its server was last seen to be the one that the rebuild filled.
    seen: AtomicU64,
    /// The memory that the last rebuild filled, and the one that is being filled.
    memories: Mutex<Memories>,
    evicts: AtomicBool,
}

#[derive(Default)]
struct Memories {
    filled: Option<String>,
    filling: Option<String>,
}

impl RedisBlacklist {
    /// A blacklist that connects when it is first used. `ticket` is a word that no other process has.
    ///
    /// # Errors
    /// When the URL cannot be used at all.
    pub fn open(options: &RedisOptions, ticket: String) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Connection::open(options)?,
            keys: Keys::new(options.prefix.clone()),
            raise: Script::new(RAISE),
            seal: Script::new(SEAL),
            ticket,
            failed: AtomicU64::new(1),
            covered: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            memories: Mutex::default(),
            evicts: AtomicBool::new(false),
        })
    }

    fn believes_absence(&self) -> bool {
        !self.missed_a_write()
            && self.seen.load(Ordering::Acquire) == self.connection.failures()
            && !self.evicts.load(Ordering::Acquire)
    }

    fn missed_a_write(&self) -> bool {
        self.failed.load(Ordering::Acquire) != self.covered.load(Ordering::Acquire)
    }

    fn memories(&self) -> MutexGuard<'_, Memories> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, mark: &Mark) -> (String, String) {
        match mark {
            Mark::CutOff { user, version } => (self.keys.user(user), version.to_string()),
            Mark::Revoked { session, user } => (self.keys.session(user, *session), REVOKED.to_owned()),
            Mark::Rotated { session, user, generation } => (self.keys.session(user, *session), generation.to_string()),
        }
    }

    async fn raise(&self, marks: &[(Mark, TimeDelta)]) -> Result<(), StoreError> {
        for call in self.raises(marks) {
            let mut manager = self.connection.manager()?;
            self.connection.limited(call.invoke_async::<i64>(&mut manager)).await?;
        }
        Ok(())
    }

    async fn raise_aside(&self, marks: &[(Mark, TimeDelta)]) -> Result<(), StoreError> {
        let mut manager = self.connection.aside()?;
        for call in self.raises(marks) {
            self.connection.limited_aside(call.invoke_async::<i64>(&mut manager)).await?;
        }
        Ok(())
    }

    /// One call for each bucket: its keys lie together.
    fn raises(&self, marks: &[(Mark, TimeDelta)]) -> Vec<ScriptInvocation<'_>> {
        let mut calls: BTreeMap<u8, ScriptInvocation<'_>> = BTreeMap::new();
        for (mark, ttl) in marks {
            let (key, value) = self.entry(mark);
            let call = calls.entry(Keys::bucket(mark.user())).or_insert_with(|| self.raise.prepare_invoke());
            call.key(key).arg(value).arg(ttl.num_milliseconds().max(1));
        }
        calls.into_values().collect()
    }

    async fn server(&self) -> Result<Server, StoreError> {
        let info: String = self.connection.send(&cmd("INFO")).await?;
        Ok(Server::parse(&info))
    }
}

fn number(mark: Option<&String>) -> Option<u32> {
    mark?.parse().ok()
}

#[async_trait]
impl Blacklist for RedisBlacklist {
    async fn check(&self, token: &TokenRef) -> Verdict {
        let mut command = cmd("MGET");
        command
            .arg(self.keys.epoch(Keys::bucket(&token.user)))
            .arg(self.keys.session(&token.user, token.session))
            .arg(self.keys.user(&token.user));
        let answer: Result<Vec<Option<String>>, _> = self.connection.send(&command).await;
        let Ok(answer) = answer else { return Verdict::Unknown };
        let [epoch, session, user] = answer.as_slice() else { return Verdict::Unknown };
        if session.as_deref() == Some(REVOKED) {
            return Verdict::Revoked;
        }
        if number(user.as_ref()).is_some_and(|lowest| token.version < lowest) {
            return Verdict::CutOff;
        }
        if let (Some(generation), Some(lowest)) = (token.generation, number(session.as_ref()))
            && generation < lowest
        {
            return Verdict::Spent;
        }
        // A mark that cannot be read says nothing, and then neither does its absence.
        let readable = [session, user].iter().all(|mark| mark.is_none() || number(mark.as_ref()).is_some());
        if epoch.is_some() && readable && self.believes_absence() { Verdict::Clear } else { Verdict::Unknown }
    }

    async fn write(&self, marks: &[(Mark, TimeDelta)]) -> Result<(), StoreError> {
        let mut written = self.raise(marks).await;
        // One slow answer, and the shared connection rests for a second. The others would go on believing that nothing
        // was revoked meanwhile; a spent generation they may miss, because whoever is asked for it asks the database.
        if written.is_err() && marks.iter().any(|(mark, _)| !matches!(mark, Mark::Rotated { .. })) {
            written = self.raise_aside(marks).await;
        }
        if written.is_err() {
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
        written
    }

    async fn needs_rebuild(&self) -> Result<bool, StoreError> {
        let failures = self.connection.failures();
        let server = self.server().await?;
        let evicts = server.evicts.is_some();
        if self.evicts.swap(evicts, Ordering::AcqRel) && !evicts {
            // It does not any more, but nobody knows what it took away.
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
        for bucket in 0..BUCKETS {
            let there: bool = self.connection.send(cmd("EXISTS").arg(self.keys.epoch(bucket))).await?;
            if !there {
                return Ok(true);
            }
        }
        if self.missed_a_write() || self.memories().filled.as_ref() != Some(&server.memory) {
            return Ok(true);
        }
        self.seen.store(failures, Ordering::Release);
        Ok(false)
    }

    async fn start_rebuild(&self) -> Result<u64, StoreError> {
        let ticket = self.failed.load(Ordering::Acquire);
        let memory = self.server().await?.memory;
        self.memories().filling = Some(memory);
        for bucket in 0..BUCKETS {
            let key = self.keys.building(bucket, &self.ticket);
            let () = self.connection.send(cmd("SET").arg(key).arg(ticket).arg("PX").arg(TICKET_LIFE)).await?;
        }
        Ok(ticket)
    }

    async fn finish_rebuild(&self, ticket: u64) -> Result<bool, StoreError> {
        for bucket in 0..BUCKETS {
            let mut call = self.seal.prepare_invoke();
            call.key(self.keys.epoch(bucket)).key(self.keys.building(bucket, &self.ticket)).arg(ticket);
            let mut manager = self.connection.manager()?;
            if self.connection.limited(call.invoke_async::<i64>(&mut manager)).await? == 0 {
                return Ok(false);
            }
        }
        let failures = self.connection.failures();
        let memory = self.server().await?.memory;
        let mut memories = self.memories();
        if memories.filling.take().as_ref() != Some(&memory) {
            return Ok(false);
        }
        memories.filled = Some(memory);
        drop(memories);
        self.seen.store(failures, Ordering::Release);
        self.covered.store(ticket, Ordering::Release);
        Ok(true)
    }

    async fn warnings(&self) -> Result<Vec<String>, StoreError> {
        let server = self.server().await?;
        Ok(server
            .evicts
            .into_iter()
            .map(|policy| {
                format!(
                    "Redis evicts keys ({policy}), so every check also asks the database: \
                     set maxmemory-policy to noeviction"
                )
            })
            .collect())
    }
}
