//! Events of the audit trail.

use super::{
    ids::{SessionId, UserId},
    time::Moment,
};

/// Kind of event. The names are stable, because scripts depend on them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventKind {
    /// All sessions of a user were revoked. The cause has the reason.
    AllSessionsRevoked,
    /// Operators revoked all sessions of all users.
    AllUsersSignedOut,
    /// A signing key was created or imported. The cause has the reason.
    KeyCreated,
    /// A signing key was removed because all its tokens had expired.
    KeyPruned,
    /// A signing key was revoked, so that its tokens are refused.
    KeyRevoked,
    /// All signing keys were encrypted with a new passphrase.
    KeysRewrapped,
    /// A refresh issued new tokens. Only recorded if enabled in the settings.
    Refreshed,
    /// A spent refresh token within the reuse grace received the same successor.
    RefreshRepeated,
    /// Like [`Self::RefreshRepeated`], for a client that differs from the holder in address or
    /// `User-Agent`.
    RefreshRepeatedElsewhere,
    /// Reuse of a spent refresh token, which revoked its session.
    Reuse,
    /// One session was revoked. The cause has the reason.
    SessionRevoked,
    /// A user signed in.
    SignIn,
    /// A sign-in was refused.
    SignInRefused,
    /// A token with a valid signature was refused.
    TokenRefused,
    /// A user was created.
    UserCreated,
    /// First name, last name, email address or staff status of a user changed. The detail `fields`
    /// lists the fields.
    UserUpdated,
}

impl EventKind {
    /// All kinds.
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

    /// Returns the name that is stored and displayed.
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

    /// Parses a name. Returns `None` for a kind of a later version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Prefix of the text of each [`Actor::Operator`], and of no other actor.
pub const OPERATOR: &str = "operator";

/// Initiator of an event.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Actor {
    /// Sender of a request whose identity is not known.
    Client,
    /// Operator at the command line, with the name from the operating system if known.
    Operator(Option<String>),
    /// Service, by its own rules.
    Service,
    /// User, authenticated by a token or a password.
    User,
}

impl Actor {
    /// Returns the text that is stored and displayed.
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

/// Client of a request.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Origin {
    /// Client address.
    pub ip: Option<String>,
    /// `User-Agent` header.
    pub user_agent: Option<String>,
}

/// Event to be written.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AuditEvent {
    /// Time of the event.
    pub at: Moment,
    /// Kind of event.
    pub kind: EventKind,
    /// Cause, as a stable label.
    pub cause: Option<&'static str>,
    /// Initiator.
    pub actor: Actor,
    /// User concerned.
    pub user: Option<UserId>,
    /// Session concerned.
    pub session: Option<SessionId>,
    /// Id of the token that was presented or issued. The token itself is never recorded.
    pub jti: Option<String>,
    /// Client of the request.
    pub origin: Origin,
    /// Further facts, by name.
    pub details: Vec<(&'static str, String)>,
}

impl AuditEvent {
    /// Returns an event without further facts.
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

    /// Sets the cause.
    #[must_use]
    pub const fn with_cause(mut self, cause: &'static str) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn of_user(mut self, user: &UserId) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// Sets the session.
    #[must_use]
    pub const fn of_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Sets the token id.
    #[must_use]
    pub fn of_token(mut self, jti: impl Into<String>) -> Self {
        self.jti = Some(jti.into());
        self
    }

    /// Sets the client.
    #[must_use]
    pub fn from(mut self, origin: &Origin) -> Self {
        self.origin = origin.clone();
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }
}

/// Event as read from the trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditEntry {
    /// Sequence number, which increases with time.
    pub id: i64,
    /// Time of the first occurrence.
    pub at: Moment,
    /// Name of an [`EventKind`], possibly of a later version.
    pub event: String,
    /// Cause.
    pub cause: Option<String>,
    /// Text of the [`Actor`].
    pub actor: String,
    /// User concerned.
    pub user: Option<UserId>,
    /// Session concerned.
    pub session: Option<SessionId>,
    /// Token id.
    pub jti: Option<String>,
    /// Client of the request.
    pub origin: Origin,
    /// Further facts, by name.
    pub details: Vec<(String, String)>,
    /// Number of equal events within about a second, or of events beyond a budget.
    pub times: u32,
}
