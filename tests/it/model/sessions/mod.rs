//! One user, a row for each session, and requests whose statements interleave in every order. An instance of the service
//! has nothing of its own here but the requests that it is at, so requests in flight are instances enough, and a crash
//! of one is the crash of its requests.
//!
//! What a token is worth is asked of the service's own `SessionState::standing`.

mod promises;
mod rules;
mod steps;
mod stories;

use latchkey::domain::session::ReuseGrace;

/// Which clients there are, what they may do, and by which rules the service goes.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub grace: ReuseGrace,
    /// For each client, the session whose token it has, and how often it may send one.
    pub clients: Vec<(usize, u8)>,
    /// True if a client changes its network at each request.
    pub roaming: bool,
    /// The properties that the thief shares with the clients, which are all alike.
    pub thief: Place,
    /// The limit of repeats for a client that differs in one respect.
    pub limit: u8,
    /// The number of times that the thief may verify its token.
    pub questions: u8,
    /// Clients that retry within the window, and use a new token only when nothing of theirs is still under way.
    pub prompt: bool,
    /// How often a thief may send the one token that it steals.
    pub thefts: u8,
    pub log_outs: u8,
    pub operator: Vec<Operation>,
    /// How often somebody sends a generation that was never issued.
    pub forgeries: u8,
    /// The last tick.
    pub horizon: u8,
    /// The tick at which the sessions end.
    pub ends: u8,
    pub rules: Rules,
}

/// The service's rules, or rules that are broken in one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rules {
    Ours,
    /// Rotation reads the row, decides, and then writes.
    CheckThenAct,
    /// Each replay inside the window begins it anew.
    MovingWindow,
    /// Rotation does not look whether the session was revoked.
    RotatesTheRevoked,
    /// A spent token revokes whatever the window says.
    NoForgiveness,
    /// Any sender of a spent token counts as the holder.
    Unbound,
    /// A repeat is counted in a statement that does not check the limit.
    CountsWithoutLimit,
}

/// The network and the `User-Agent` of a client.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    pub address: u8,
    pub agent: u8,
}

/// The place of clients that do not roam.
pub const HOME: Place = Place {
    address: 0,
    agent: 0,
};

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct State {
    pub now: u8,
    pub version: u8,
    pub active: bool,
    pub rows: Vec<Row>,
    pub clients: Vec<Client>,
    pub thief: Thief,
    pub log_outs: u8,
    pub operator: u8,
    pub forgeries: u8,
    pub questions: u8,
    /// In flight, in an order of their own: who came first makes no difference.
    pub requests: Vec<Request>,
    pub story: Story,
}

/// A session's row. Its user's version at sign-in is 0.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Row {
    pub generation: u8,
    pub rotated_at: u8,
    pub revoked: Option<Why>,
    /// The place of the last rotation.
    pub holder: Place,
    /// The generation whose repeats were counted, and their number.
    pub repeats: (u8, u8),
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Why {
    LoggedOut,
    Reuse,
}

/// A refresh token: a pure function of the row.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token {
    pub session: usize,
    pub generation: u8,
    pub made: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Client {
    pub holds: Token,
    pub waits: bool,
    pub tries: u8,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Thief {
    pub stolen: Option<Token>,
    pub tries: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Who {
    Client(usize),
    Forger,
    Operator,
    Thief,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    SignOutAll,
    Deactivate,
    Activate,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum What {
    Refresh,
    LogOut,
    Verify,
    Operate(Operation),
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Request {
    pub by: Who,
    pub what: What,
    pub token: Token,
    pub from: Place,
    /// The clock when it arrived: the service reads it once.
    pub now: u8,
    /// Whether somebody had been told before it arrived that the session is dead.
    pub late: bool,
    /// Whether its sender still waits for the answer.
    pub heard: bool,
    pub at: Stage,
}

/// Which statement comes next.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    Arrived,
    /// With check-then-act: this generation was read as the current one.
    Checked(u8),
    /// The conditional write changed nothing.
    Lost,
    /// A repeat of this generation is to be counted.
    Counts(u8),
    /// It was not counted: the row is read once more.
    Uncounted(u8),
    /// The session is to be revoked.
    Condemned(Why),
    Answered(Answer),
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Answer {
    Next(Token),
    Again(Token),
    Done,
    /// The token is live.
    Valid,
    /// "Token is blacklisted", or that there is no active account.
    Dead,
    /// The session has ended, the generation was never issued, or the token was shown where it gives nothing.
    Refused,
    /// Nothing is known: ask again.
    Unavailable,
}

/// What is remembered to judge by, and what no rule may look at.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Story {
    /// For each session, when its present generation was first made.
    pub made: Vec<u8>,
    /// For each session, the client that first made it, and the number of times that other clients got it.
    pub holders: Vec<(Place, u8)>,
    /// For each session, whether somebody was told that it is dead.
    pub ended: Vec<bool>,
    /// What was given in exchange: the generation presented, the token given. In order, each once.
    pub given: Vec<(u8, Token)>,
    pub wrong: Option<Wrong>,
}

/// What may not happen and leaves no trace in the rows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Wrong {
    AskedWithoutEffect,
    ForgedTokenChangedARow,
    ForgivenWithoutRight,
    GivenAfterTheEnd,
    GivenElsewhere,
    KilledWithoutCause,
    PromptClientRefused,
    SucceededAfterTheEndWasTold,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    Tick,
    Send(Who, What),
    Steal(usize),
    /// The request's next statement.
    Step(usize),
    /// The answer arrives.
    Deliver(usize),
    /// The sender stops waiting, or the answer is lost; the request goes on.
    GiveUp(usize),
    /// The process dies with the request, for which nobody waits any more.
    Crash(usize),
}

impl State {
    fn dead(&self, session: usize) -> bool {
        self.version > 0 || !self.active || self.rows[session].revoked.is_some()
    }

    fn token(&self, session: usize) -> Token {
        let row = &self.rows[session];
        Token {
            session,
            generation: row.generation,
            made: row.rotated_at,
        }
    }
}
