//! What the audit trail is told: who did what to which session, from where, and why it was refused.

use super::{
    ids::{SessionId, UserId},
    time::Moment,
};

/// What happened. The names are stable: scripts read them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventKind {
    /// Everything that a user holds died at once; the cause says why.
    AllSessionsRevoked,
    /// Operators cut everybody off.
    AllUsersSignedOut,
    /// A signing key was made or taken in; the cause says why.
    KeyCreated,
    /// A signing key was removed: its tokens had expired.
    KeyPruned,
    /// A signing key was revoked: its tokens are refused.
    KeyRevoked,
    /// All signing keys were encrypted anew.
    KeysRewrapped,
    /// A refresh gave new tokens. Noted only where the settings ask for it.
    Refreshed,
    /// A refresh token came back within the grace and got the same successor.
    RefreshRepeated,
    /// As [`Self::RefreshRepeated`], from a client that differs in address or `User-Agent` from the last one.
    RefreshRepeatedElsewhere,
    /// A spent refresh token came back: its session died of it.
    Reuse,
    /// One session was ended; the cause says why.
    SessionRevoked,
    /// Somebody signed in.
    SignIn,
    /// A sign-in was refused.
    SignInRefused,
    /// A token that we signed was refused.
    TokenRefused,
    /// A user was made.
    UserCreated,
    /// First or last name, e-mail address or staff mark of a user was changed; the detail `fields` lists them.
    UserUpdated,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::AllSessionsRevoked,
        Self::AllUsersSignedOut,
        Self::KeyCreated,
        Self::KeyPruned,
        Self::KeyRevoked,
        Self::KeysRewrapped,
        Self::Refreshed,
        Self::RefreshRepeated,
        Self::RefreshRepeatedElsewhere,
        Self::Reuse,
        Self::SessionRevoked,
        Self::SignIn,
        Self::SignInRefused,
        Self::TokenRefused,
        Self::UserCreated,
        Self::UserUpdated,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllSessionsRevoked => "cut_off",
            Self::AllUsersSignedOut => "everybody_cut_off",
            Self::KeyCreated => "key_made",
            Self::KeyPruned => "key_pruned",
            Self::KeyRevoked => "key_revoked",
            Self::KeysRewrapped => "keys_rewrapped",
            Self::Refreshed => "refreshed",
            Self::RefreshRepeated => "refresh_repeated",
            Self::RefreshRepeatedElsewhere => "refresh_repeated_elsewhere",
            Self::Reuse => "reuse",
            Self::SessionRevoked => "session_revoked",
            Self::SignIn => "sign_in",
            Self::SignInRefused => "sign_in_refused",
            Self::TokenRefused => "token_refused",
            Self::UserCreated => "user_created",
            Self::UserUpdated => "user_updated",
        }
    }

    /// The kind of this name; `None` for one of a later version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The beginning of the text of each [`Actor::Operator`], and of no other actor.
pub const OPERATOR: &str = "operator";

/// Who did it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Actor {
    /// Whoever sent the request; nobody knows who that was.
    Client,
    /// Somebody at the command line, by the name that the machine gave.
    Operator(Option<String>),
    /// The service itself, by its rules.
    Service,
    /// The user, by a token.
    User,
}

impl Actor {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_text(&self) -> String {
        match self {
            Self::Client => "client".to_owned(),
            Self::Operator(None) => OPERATOR.to_owned(),
            Self::Operator(Some(name)) => format!("{OPERATOR} {name}"),
            Self::Service => "latchkey".to_owned(),
            Self::User => "user".to_owned(),
        }
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Origin {
    /// The client's address.
    pub ip: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// An event that is to be written.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AuditEvent {
    /// When.
    pub at: Moment,
    /// What.
    pub kind: EventKind,
    /// Why, as a stable label.
    pub cause: Option<&'static str>,
    /// By whom.
    pub actor: Actor,
    /// Whose account.
    pub user: Option<UserId>,
    /// Which session.
    pub session: Option<SessionId>,
    /// The id of the token that was presented or given. Never the token.
    pub jti: Option<String>,
    /// From where.
    pub origin: Origin,
    /// What else there is to know, by name.
    pub details: Vec<(&'static str, String)>,
}

impl AuditEvent {
    /// An event of which nothing more is known.
    #[must_use]
    pub const fn new(at: Moment, kind: EventKind, actor: Actor) -> Self {
        Self {
            at,
            kind,
            cause: None,
            actor,
            user: None,
            session: None,
            jti: None,
            origin: Origin {
                ip: None,
                user_agent: None,
            },
            details: Vec::new(),
        }
    }

    /// With a cause.
    #[must_use]
    pub const fn with_cause(mut self, cause: &'static str) -> Self {
        self.cause = Some(cause);
        self
    }

    /// About a user.
    #[must_use]
    pub fn of_user(mut self, user: &UserId) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// About a session.
    #[must_use]
    pub const fn of_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// About a token.
    #[must_use]
    pub fn of_token(mut self, jti: impl Into<String>) -> Self {
        self.jti = Some(jti.into());
        self
    }

    /// From somewhere.
    #[must_use]
    pub fn from(mut self, origin: &Origin) -> Self {
        self.origin = origin.clone();
        self
    }

    /// With something more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }
}

/// An event as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditEntry {
    /// Grows with time.
    pub id: i64,
    /// When it happened for the first time.
    pub at: Moment,
    /// The name of an [`EventKind`], perhaps of a later version.
    pub event: String,
    /// Why.
    pub cause: Option<String>,
    /// By whom.
    pub actor: String,
    /// Whose account.
    pub user: Option<UserId>,
    /// Which session.
    pub session: Option<SessionId>,
    /// Which token.
    pub jti: Option<String>,
    /// From where.
    pub origin: Origin,
    /// What else there is to know, by name.
    pub details: Vec<(String, String)>,
    /// How often the same happened within about a second.
    pub times: u32,
}
