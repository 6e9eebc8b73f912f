//! Names of the keys in Redis.
//!
//! All keys of one lookup share a hash tag, so that a lookup is one `MGET` in one slot of a
//! cluster. Users are spread over several tags (buckets). Each bucket has its own cache epoch, so a
//! node that lost its data has lost its epochs too.

use std::io::Write as _;

use redis::{Cmd, RedisWrite as _};

use latchkey_domain::ids::{SessionId, UserId};

/// Number of buckets. A change orphans all entries; the next rebuild writes them again.
pub(super) const BUCKETS: u8 = 16;

/// Prefixes of all keys, built once.
pub(super) struct KeyNames {
    tags: Vec<String>,
}

impl KeyNames {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            tags: (0..BUCKETS)
                .map(|bucket| format!("{{{prefix}:{bucket}}}:"))
                .collect(),
        }
    }

    /// Returns the bucket of a user: FNV-1a, identical in all versions and on all platforms.
    pub(super) fn bucket(user: &UserId) -> u8 {
        let hash = user
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        u8::try_from(hash % u64::from(BUCKETS)).unwrap_or_default()
    }

    /// Builds the command of a lookup: reads the cache epoch, the session's entry and the user's
    /// entry. Keys are written in place, because this runs for every token.
    pub(super) fn lookup_command(&self, user: &UserId, session: SessionId) -> Cmd {
        let tag = self.tag(Self::bucket(user));
        let mut text = [0; SessionId::LENGTH];
        let keys = [
            ["epoch", ""],
            ["s:", session.encode(&mut text)],
            ["u:", user.as_str()],
        ];
        let length = keys
            .iter()
            .map(|[kind, name]| tag.len() + kind.len() + name.len())
            .sum::<usize>();
        let mut command = Cmd::with_capacity(1 + keys.len(), "MGET".len() + length);
        command.arg("MGET");
        for [kind, name] in keys {
            let mut key = command.writer_for_next_arg();
            // Writes to memory cannot fail.
            let _ = [tag, kind, name]
                .iter()
                .try_for_each(|part| key.write_all(part.as_bytes()));
        }
        command
    }

    pub(super) fn epoch(&self, bucket: u8) -> String {
        [self.tag(bucket), "epoch"].concat()
    }

    /// Returns the key of a rebuild's ticket. Each process has its own key, so concurrent rebuilds
    /// do not collide.
    pub(super) fn rebuild_ticket(&self, bucket: u8, ticket: &str) -> String {
        [self.tag(bucket), "building:", ticket].concat()
    }

    pub(super) fn session(&self, user: &UserId, session: SessionId) -> String {
        let mut text = [0; SessionId::LENGTH];
        [
            self.tag(Self::bucket(user)),
            "s:",
            session.encode(&mut text),
        ]
        .concat()
    }

    pub(super) fn user(&self, user: &UserId) -> String {
        [self.tag(Self::bucket(user)), "u:", user.as_str()].concat()
    }

    fn tag(&self, bucket: u8) -> &str {
        self.tags
            .get(usize::from(bucket))
            .map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_user_share_one_tag_and_never_change() {
        let keys = KeyNames::new("latchkey");
        let (user, session) = (
            UserId::new("ada"),
            SessionId::parse("0d0ba1b7-5a1b-4b39-9f6e-33b6a5a0a1c2").unwrap(),
        );
        assert_eq!(KeyNames::bucket(&user), 11);
        assert_eq!(keys.epoch(11), "{latchkey:11}:epoch");
        assert_eq!(keys.rebuild_ticket(11, "t"), "{latchkey:11}:building:t");
        assert_eq!(
            keys.session(&user, session),
            "{latchkey:11}:s:0d0ba1b7-5a1b-4b39-9f6e-33b6a5a0a1c2"
        );
        assert_eq!(keys.user(&user), "{latchkey:11}:u:ada");
        let mut command = redis::cmd("MGET");
        command
            .arg(keys.epoch(11))
            .arg(keys.session(&user, session))
            .arg(keys.user(&user));
        assert_eq!(
            keys.lookup_command(&user, session).get_packed_command(),
            command.get_packed_command()
        );
    }
}
