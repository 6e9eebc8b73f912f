//! Random plan of a round.

use super::{places::Place, rng::Rng};

/// Initial state of a session, and the concurrent operations on it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Current generation of the session.
    pub generation: u32,
    /// True if the grace of the last rotation is over.
    pub window_over: bool,
    pub operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub what: Command,
    pub server: usize,
    pub place: Place,
    /// Number of yields before the operation starts.
    pub turns: u32,
    /// Number of further yields after which the client disconnects.
    pub crash: Option<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Refreshes with the token of this generation, then with each successor. `times` is the total.
    Refresh {
        generation: u32,
        times: u32,
    },
    LogOut {
        generation: u32,
    },
    RevokeAll,
    VerifyAccess,
    VerifyRefresh {
        generation: u32,
    },
}

pub const SERVERS: usize = 3;

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let generation = rng.below(3);
        let number = 3 + rng.below(6);
        // Half of the rounds have no operation that revokes the session on purpose.
        let without_revocations = rng.one_in(2);
        let window_over = rng.one_in(2);
        let operations = (0..number)
            .map(|_| Operation::new(&mut rng, generation, without_revocations))
            .collect();
        Self {
            seed,
            generation,
            window_over,
            operations,
        }
    }
}

impl Operation {
    fn new(rng: &mut Rng, generation: u32, without_revocations: bool) -> Self {
        let older = generation - rng.below(generation + 1);
        let what = match rng.below(20) {
            0 if !without_revocations => Command::RevokeAll,
            1 | 2 if !without_revocations => Command::LogOut { generation: older },
            3 | 4 if !without_revocations => Command::Refresh {
                generation: older,
                times: 1,
            },
            5 | 6 => Command::VerifyAccess,
            7 | 8 => Command::VerifyRefresh { generation: older },
            9 | 10 => Command::Refresh {
                generation,
                times: 2,
            },
            11 => Command::Refresh {
                generation: older.max(generation.saturating_sub(1)),
                times: 1,
            },
            _ => Command::Refresh {
                generation,
                times: 1,
            },
        };
        let crash = rng.one_in(7).then(|| rng.turns());
        let server = usize::try_from(rng.below(3)).unwrap() % SERVERS;
        let turns = rng.turns();
        Self {
            what,
            server,
            place: Place::new(rng, without_revocations),
            turns,
            crash,
        }
    }
}
