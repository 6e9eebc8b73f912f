//! Who does what in a round.

use super::{chance::Chance, places::Place};

/// A round: the session as it is found, and what is done with it at once.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// The generation that the session is at.
    pub generation: u32,
    /// Whether the window since the last rotation is over.
    pub window_over: bool,
    pub operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub what: What,
    pub server: usize,
    pub place: Place,
    /// How often it lets others go first.
    pub turns: u32,
    /// After how many more turns its client is gone, if it goes.
    pub crash: Option<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// Refreshes with the token of this generation, and then with what it got, this often in all.
    Refresh {
        generation: u32,
        times: u32,
    },
    LogOut {
        generation: u32,
    },
    CutOff,
    VerifyAccess,
    VerifyRefresh {
        generation: u32,
    },
}

pub const SERVERS: usize = 3;

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let generation = chance.below(3);
        let number = 3 + chance.below(6);
        // A round in which nobody means to end the session, and one in which somebody does.
        let peaceful = chance.one_in(2);
        let window_over = chance.one_in(2);
        let operations = (0..number)
            .map(|_| Operation::new(&mut chance, generation, peaceful))
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
    fn new(chance: &mut Chance, generation: u32, peaceful: bool) -> Self {
        let older = generation - chance.below(generation + 1);
        let what = match chance.below(20) {
            0 if !peaceful => What::CutOff,
            1 | 2 if !peaceful => What::LogOut { generation: older },
            3 | 4 if !peaceful => What::Refresh {
                generation: older,
                times: 1,
            },
            5 | 6 => What::VerifyAccess,
            7 | 8 => What::VerifyRefresh { generation: older },
            9 | 10 => What::Refresh {
                generation,
                times: 2,
            },
            11 => What::Refresh {
                generation: older.max(generation.saturating_sub(1)),
                times: 1,
            },
            _ => What::Refresh {
                generation,
                times: 1,
            },
        };
        let crash = chance.one_in(7).then(|| chance.turns());
        let server = usize::try_from(chance.below(3)).unwrap() % SERVERS;
        let turns = chance.turns();
        Self {
            what,
            server,
            place: Place::new(chance, peaceful),
            turns,
            crash,
        }
    }
}
