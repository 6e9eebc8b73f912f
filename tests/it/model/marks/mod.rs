//! The marks in Redis in front of one row: two instances, a server that forgets, writes that fail, processes that die.
//! The database is written first, then the mark. The absence of a mark is believed only where none can be missing.

mod promises;
mod steps;
mod stories;

/// Which faults there are, and by which rules the instances go.
#[derive(Clone, Debug)]
pub struct Marks {
    /// How often Redis is emptied while it runs.
    pub floods: u8,
    /// How often it starts again with what it had saved at some moment.
    pub restarts: u8,
    /// How many commands of one instance fail, or are done and not answered.
    pub failures: u8,
    /// How many instances die and start again.
    pub crashes: u8,
    /// The number of jumps of Redis' clock, each by most of an epoch's life.
    pub jumps: u8,
    /// The number of times that another deployment fills an empty Redis from a copy of the database.
    pub strangers: u8,
    pub rules: Rules,
}

/// The rules, or rules that are broken in one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rules {
    Ours,
    /// The mark is written before the row.
    MarkFirst,
    /// A rebuild sets the epoch, whatever became of its ticket.
    SealWithoutTicket,
    /// A late write lowers a mark.
    LastWriteWins,
    /// A write that failed is forgotten.
    FailuresAreForgotten,
    /// A connection that failed is believed as before.
    ConnectionsAreTrusted,
    /// An epoch is trusted, regardless of its owner.
    EveryEpochIsTrusted,
    /// An epoch has no end.
    EpochsAreEndless,
    /// A look renews the epoch without asking Redis for the time.
    JumpsAreNotSeen,
    /// A look that notices a jump still renews the epoch, though others have not noticed the jump.
    RenewedAfterAJump,
    /// A rebuild sets the epoch, although the clock has jumped since its start.
    SealedAfterAJump,
}

/// What a row or a mark says: the lowest live generation, or revoked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mark {
    Nothing,
    Rotated,
    Revoked,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    pub row: Mark,
    /// What somebody was told of the row: the request that wrote it has answered.
    pub told: Mark,
    pub redis: Redis,
    pub saved: Option<Redis>,
    pub instances: [Instance; 2],
    pub floods: u8,
    pub restarts: u8,
    pub failures: u8,
    pub crashes: u8,
    pub jumps: u8,
    pub strangers: u8,
    pub trusts_every_epoch: bool,
    /// A mark went down while its memory was kept.
    pub went_down: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Redis {
    /// Which process this is: a new one after each start.
    pub process: u8,
    pub epoch: Option<Epoch>,
    /// The number of epochs named.
    pub named: u8,
    pub mark: Mark,
    /// The number of jumps that the mark still survives.
    pub margin: u8,
    /// The number of jumps of the clock.
    pub clock: u8,
    pub tickets: [Option<u8>; 2],
}

/// The memory, and true if it was set or renewed after the last jump. It does not survive a second one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Epoch {
    pub name: u8,
    pub renewed: bool,
}

/// The state at the start of a rebuild: the process of Redis, and its clock.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Found {
    pub process: u8,
    pub clock: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Instance {
    /// How many writes failed, and how many of them the last rebuild covered.
    pub failed: u8,
    pub covered: u8,
    /// Whether the connection failed since the same server was last seen behind it.
    pub doubts: bool,
    /// The memory that the last rebuild filled, and the epoch that it sealed.
    pub filled: Option<Found>,
    pub sealed: Option<u8>,
    pub request: Request,
    pub janitor: Janitor,
    /// A mark that the other one could not write, and this one has not written again yet: the one second that the
    /// service admits.
    pub excused: bool,
}

/// A request that changes the row, then the mark, then answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Request {
    None,
    /// To be done second.
    Mark(Mark),
    Row(Mark),
    Answer(Mark),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Janitor {
    Rests,
    /// A rebuild: the ticket lies in Redis.
    Rebuilds {
        ticket: u8,
        found: Found,
    },
    /// It has read this in the database.
    Read {
        ticket: u8,
        found: Found,
        row: Mark,
    },
    /// It has written it: the seal comes next.
    Wrote {
        ticket: u8,
        found: Found,
    },
    /// It writes again what was revoked lately.
    Reapplies {
        row: Mark,
        doubts_before: bool,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    Begin(usize, Mark),
    Request(usize, Outcome),
    Janitor(usize, Outcome),
    Flood,
    Save,
    Restart,
    Crash(usize),
    Jump,
    Stranger,
}

/// What becomes of a command to Redis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Done,
    /// It did not arrive.
    Lost,
    /// It was done, and the answer was lost.
    Unheard,
}
