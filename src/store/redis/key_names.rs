//! The names of keys.
//!
//! All that one token's check looks at carries one hash tag, so that on a cluster it is one `MGET` in one slot. Users
//! are spread over a few tags, each with an epoch of its own: a node that lost its memory lost its epochs with it.

use std::io::Write as _;

use redis::{Cmd, RedisWrite as _};

use crate::domain::ids::{SessionId, UserId};

/// How many tags there are. Changing it orphans all marks, which the next rebuild writes again.
pub(super) const BUCKETS: u8 = 16;

/// The beginnings of all keys, made once: a check needs three of them.
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

    /// FNV-1a: the same everywhere and for ever.
    pub(super) fn bucket(user: &UserId) -> u8 {
        let hash = user
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        u8::try_from(hash % u64::from(BUCKETS)).unwrap_or_default()
    }

    /// The question for all that may be said of a token: the epoch, the mark of its session, that of its user. Written in one
    /// piece: it is asked for every token.
    pub(super) fn lookup_command(&self, user: &UserId, session: SessionId) -> Cmd {
        let tag = self.tag(Self::bucket(user));
        let mut text = [0; SessionId::LENGTH];
        let rest = [
            ["epoch", ""],
            ["s:", session.encode(&mut text)],
            ["u:", user.as_str()],
        ];
        let length = rest
            .iter()
            .map(|[kind, name]| tag.len() + kind.len() + name.len())
            .sum::<usize>();
        let mut question = Cmd::with_capacity(1 + rest.len(), "MGET".len() + length);
        question.arg("MGET");
        for [kind, name] in rest {
            let mut key = question.writer_for_next_arg();
            // Into memory, which takes everything.
            let _ = [tag, kind, name]
                .iter()
                .try_for_each(|part| key.write_all(part.as_bytes()));
        }
        question
    }

    pub(super) fn epoch(&self, bucket: u8) -> String {
        [self.tag(bucket), "epoch"].concat()
    }

    /// Each process that rebuilds has a key of its own: two at once are not in each other's way.
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
    fn all_keys_of_a_user_have_one_tag_and_are_what_they_always_were() {
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
        let mut question = redis::cmd("MGET");
        question
            .arg(keys.epoch(11))
            .arg(keys.session(&user, session))
            .arg(keys.user(&user));
        assert_eq!(
            keys.lookup_command(&user, session).get_packed_command(),
            question.get_packed_command()
        );
    }
}
