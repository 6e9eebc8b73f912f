//! Lua scripts for decisions that must be atomic in Redis.
//!
//! Each call sends the text and not its hash: it fits into one packet, and no script has to be
//! loaded after a fail-over.

use std::time::Duration;

use redis::{Cmd, cmd};

use super::epoch::EpochName;

/// Raises entries: for each key a value and a time to live in milliseconds. Neither ever decreases,
/// in any order of writers. A value that cannot be parsed comes from a later version, and only a
/// revocation replaces it.
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

/// Reads a cache epoch. Renews it if the caller trusts it and the clock has not jumped since the
/// last probe, because each undetected jump brings entries closer to their expiry.
const RENEW: &str = r"
local epoch = redis.call('GET', KEYS[1])
if epoch == ARGV[1] and tonumber(redis.call('TIME')[1]) <= tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return epoch
";

/// Seals a bucket: stores the cache epoch if the bucket still holds the ticket of the rebuild and
/// the clock has not jumped since the rebuild began. Returns the epoch. An epoch of the same
/// deployment is kept, because other instances trust it. An epoch of another deployment is kept
/// too, and nothing is returned. Earlier versions stored `1`, which names no deployment.
const SEAL: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
if tonumber(redis.call('TIME')[1]) > tonumber(ARGV[5]) then return false end
local epoch = redis.call('GET', KEYS[1])
if not epoch or epoch == '1' then
  epoch = ARGV[3]
elseif string.sub(epoch, 1, #ARGV[2]) ~= ARGV[2] then
  return false
end
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[4])
redis.call('DEL', KEYS[2])
return epoch
";

/// Key, value, and time to live in milliseconds.
pub(super) type Entry = (String, String, i64);

pub(super) fn raise(entries: &[Entry]) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(RAISE).arg(entries.len());
    for (key, _, _) in entries {
        command.arg(key);
    }
    for (_, value, life) in entries {
        command.arg(value).arg(life);
    }
    command
}

/// Lifetime of a cache epoch from now on, and the latest server time at which it may be stored or
/// renewed.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub life: Duration,
    pub latest: Duration,
}

/// Reads the cache epoch at `key`, and renews it if its value is `trusted`.
pub(super) fn renew(key: &str, trusted: &str, term: Term) -> Cmd {
    let mut command = cmd("EVAL");
    command
        .arg(RENEW)
        .arg(1)
        .arg(key)
        .arg(trusted)
        .arg(milliseconds(term.life))
        .arg(term.latest.as_secs());
    command
}

/// Stores the cache epoch at `key` if the key `ticket_key` holds `ticket`.
pub(super) fn seal(
    key: &str,
    (ticket_key, ticket): (&str, u64),
    name: &EpochName,
    term: Term,
) -> Cmd {
    let mut command = cmd("EVAL");
    command
        .arg(SEAL)
        .arg(2)
        .arg(key)
        .arg(ticket_key)
        .arg(ticket)
        .arg(name.owner.as_str());
    command
        .arg(name.new_value.as_str())
        .arg(milliseconds(term.life))
        .arg(term.latest.as_secs());
    command
}

fn milliseconds(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX)
}
