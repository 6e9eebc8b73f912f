//! Model of sessions: one user, one row for each session, and requests whose statements interleave
//! in every order.
//!
//! An instance has no state here except its requests. The crash of an instance is therefore the
//! crash of its requests. The model calls the service's own `SessionState::token_status`.

mod properties;
mod rules;
mod steps;
mod tests;

use latchkey_domain::session::ReuseGrace;

/// Clients, their permitted actions, and the rules of one exploration.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub grace: ReuseGrace,
    /// For each client, the session of its token, and its maximum number of requests.
    pub clients: Vec<(usize, u8)>,
    /// True if a client changes its network at each request.
    pub roaming: bool,
    /// Network and `User-Agent` of the thief. Clients use [`HOME`].
    pub thief: Place,
    /// Limit of repeats for a client that differs in one property.
    pub limit: u8,
    /// Maximum number of verifications by the thief.
    pub verifications: u8,
    /// True if clients retry within the grace, and use a new token only without requests in flight.
    pub prompt: bool,
    /// Maximum number of refreshes with the stolen token.
    pub thefts: u8,
    pub log_outs: u8,
    pub operator: Vec<Operation>,
    /// Maximum number of requests with a generation that was never issued.
    pub forgeries: u8,
    /// Last tick.
    pub last_tick: u8,
    /// Tick at which the sessions expire.
    pub expires_at: u8,
    pub rules: Rules,
}

/// The implemented rules, or a variant with one fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rules {
    Implemented,
    /// Rotation reads the row and writes it in separate statements.
    CheckThenAct,
    /// Each repeat restarts the grace.
    SlidingWindow,
    /// Rotation ignores revocation.
    RevokedSessionsRotate,
    /// A spent token revokes the session even within the grace.
    NoGrace,
    /// The grace applies to every client.
    Unbound,
    /// The count of repeats ignores the limit.
    RepeatsAreUnlimited,
}

/// Network and `User-Agent` of a client.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    pub address: u8,
    pub agent: u8,
}

/// Place of clients that do not roam.
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
    pub verifications: u8,
    /// Requests in flight. They are sorted, because their order of arrival does not matter.
    pub requests: Vec<Request>,
    pub history: History,
}

/// Row of a session. Its session epoch is 0.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Row {
    pub generation: u8,
    pub rotated_at: u8,
    pub revoked: Option<Reason>,
    /// Place of the last rotation.
    pub holder: Place,
    /// Generation whose repeats were counted, and their number.
    pub repeats: (u8, u8),
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    LoggedOut,
    Reuse,
}

/// Refresh token. It is a pure function of the row.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token {
    pub session: usize,
    pub generation: u8,
    pub issued_at: u8,
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
pub enum Sender {
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
pub enum Command {
    Refresh,
    LogOut,
    Verify,
    Operate(Operation),
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Request {
    pub by: Sender,
    pub command: Command,
    pub token: Token,
    pub from: Place,
    /// Time of arrival. The service reads the clock once.
    pub now: u8,
    /// True if an earlier answer reported the revocation before this request arrived.
    pub late: bool,
    /// True while its sender waits for the answer.
    pub awaited: bool,
    pub at: Stage,
}

/// Next statement of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    Arrived,
    /// With `CheckThenAct`: this generation was read as the current one.
    Checked(u8),
    /// The conditional write changed no row.
    NotRotated,
    /// Counts a repeat of this generation.
    Counts(u8),
    /// The repeat was not counted. The row is read again.
    NotCounted(u8),
    /// Revokes the session.
    Revokes(Reason),
    Answered(Answer),
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Answer {
    Next(Token),
    Again(Token),
    Done,
    /// The token is valid.
    Valid,
    /// "Token is blacklisted", or no active account.
    Dead,
    /// The session has expired, the generation was never issued, or a spent token was sent to
    /// `verify`.
    Refused,
    /// No result. The client may retry.
    Unavailable,
}

/// History for the properties. The rules do not read it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct History {
    /// For each session, the time of its last rotation.
    pub rotated_at: Vec<u8>,
    /// For each session, the place of the last rotation, and the number of repeats for other
    /// places.
    pub holders: Vec<(Place, u8)>,
    /// For each session, true if an answer reported that it is revoked.
    pub ended: Vec<bool>,
    /// Delivered exchanges: the presented generation and the returned token, sorted and unique.
    pub given: Vec<(u8, Token)>,
    pub violation: Option<Violation>,
}

/// Violation that is not visible in the rows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Violation {
    ReuseWithoutRevocation,
    ForgedTokenChangedARow,
    RepeatOutsideTheGrace,
    TokenAfterExpiry,
    RepeatForAnotherClient,
    RevokedWithoutReuse,
    PromptClientRefused,
    SuccessAfterRevocation,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    Tick,
    Send(Sender, Command),
    Steal(usize),
    /// Executes the request's next statement.
    Step(usize),
    /// Delivers the answer.
    Deliver(usize),
    /// The sender stops waiting, or the answer is lost. The request continues.
    GiveUp(usize),
    /// The process crashes, and with it a request without a waiting sender.
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
            issued_at: row.rotated_at,
        }
    }
}
