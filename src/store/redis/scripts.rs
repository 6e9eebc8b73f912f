//! What must be decided inside Redis. The text is sent each time, not its hash: after a fail-over nobody has to load it
//! first, and it is shorter than a packet.

use redis::{Cmd, cmd};

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

pub(super) fn seal(epoch: String, building: String, ticket: u64) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(SEAL).arg(2).arg(epoch).arg(building).arg(ticket);
    command
}
