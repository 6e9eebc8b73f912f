//! Settings of password hashing.

use std::thread;

use clap::Args;

use super::{ConfigError, value};
use latchkey_crypto::hasher::HashCost;

/// Password hashing. The defaults are OWASP's for argon2id.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Passwords")]
pub struct PasswordsConfig {
    /// Memory of one hash in KiB. After a change, the next sign-in of a user hashes the password
    /// again
    #[arg(long, env = "LATCHKEY_ARGON2_MEMORY", value_name = "KIB", default_value = "19456", value_parser = value::number::<u32>(7168..=262_144))]
    pub argon2_memory: u32,

    /// Passes of one hash
    #[arg(long, env = "LATCHKEY_ARGON2_PASSES", value_name = "NUMBER", default_value = "2", value_parser = value::number::<u32>(1..=16))]
    pub argon2_passes: u32,

    /// Lanes of one hash
    #[arg(long, env = "LATCHKEY_ARGON2_LANES", value_name = "NUMBER", default_value = "1", value_parser = value::number::<u32>(1..=16))]
    pub argon2_lanes: u32,

    /// Hashes that run at once, each with its memory; 0 means one for each core
    #[arg(long, env = "LATCHKEY_HASH_THREADS", value_name = "NUMBER", default_value = "0", value_parser = value::number::<u16>(0..=1024))]
    pub hash_threads: u16,

    /// Sign-ins that wait for a hash; further ones receive 503 with Retry-After
    #[arg(long, env = "LATCHKEY_HASH_QUEUE", value_name = "NUMBER", default_value = "128", value_parser = value::number::<u16>(1..=10_000))]
    pub hash_queue: u16,
}

impl PasswordsConfig {
    /// Checks the cost against OWASP's minimums for argon2id: less memory needs more passes.
    ///
    /// # Errors
    /// If hashes would be weaker than every minimum.
    pub fn check(&self) -> Result<(), ConfigError> {
        let minimums = [
            (47_104, 1),
            (19_456, 2),
            (12_288, 3),
            (9_216, 4),
            (7_168, 5),
        ];
        let strong = minimums
            .iter()
            .any(|(memory, passes)| self.argon2_memory >= *memory && self.argon2_passes >= *passes);
        if strong {
            return Ok(());
        }
        Err(ConfigError::new(
            "LATCHKEY_ARGON2_PASSES",
            &format!(
                "is {} with {} KiB of memory, which is too weak",
                self.argon2_passes, self.argon2_memory
            ),
            "at least 1 pass with 47104 KiB, 2 with 19456, 3 with 12288, 4 with 9216 or 5 with 7168",
        ))
    }

    /// Parameters of argon2id.
    #[must_use]
    pub const fn cost(&self) -> HashCost {
        HashCost {
            memory: self.argon2_memory,
            passes: self.argon2_passes,
            lanes: self.argon2_lanes,
        }
    }

    /// Number of hashing threads on this machine.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.hash_threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => usize::from(threads),
        }
    }
}
