//! Lifetimes, and what tokens say.

use std::time::Duration;

use chrono::TimeDelta;
use clap::{ArgAction, Args, ValueEnum};
use latchkey_verifier::ClaimNames;

use super::{ConfigError, value};
use crate::domain::{claims::ExtraClaim, reuse::ClientBinding, session::ReuseGrace};

/// The longest tolerance for clocks: more is no tolerance but a longer life (RFC 7519, section 4.1.4).
const MAX_LEEWAY: Duration = Duration::from_mins(1);

/// Names that a renamed claim may not take.
const TAKEN: [&str; 10] = [
    "iss", "sub", "aud", "exp", "nbf", "iat", "sid", "gen", "ver", "typ",
];

/// The binding of a spent refresh token to a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum GraceBinding {
    /// The address and `User-Agent` of the last refresh.
    Client,
    /// No binding.
    None,
}

/// How long things last.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Lifetimes")]
pub struct LifetimesConfig {
    /// How long an access token is valid
    #[arg(long, env = "LATCHKEY_ACCESS_TOKEN_LIFETIME", value_name = "SPAN", default_value = "5m", value_parser = value::whole_seconds)]
    pub access_token_lifetime: Duration,

    /// By how much at the most an access token is shorter, at random, so that tabs which signed in together do not
    /// refresh together
    #[arg(long, env = "LATCHKEY_ACCESS_TOKEN_JITTER", value_name = "SPAN", default_value = "0s", value_parser = value::duration)]
    pub access_token_jitter: Duration,

    /// How long a refresh token is valid, which is how long a client may be away
    #[arg(long, env = "LATCHKEY_REFRESH_TOKEN_LIFETIME", value_name = "SPAN", default_value = "1d", value_parser = value::whole_seconds)]
    pub refresh_token_lifetime: Duration,

    /// How long a sign-in lasts, however often it is refreshed
    #[arg(long, env = "LATCHKEY_SESSION_LIFETIME", value_name = "SPAN", default_value = "30d", value_parser = value::whole_seconds)]
    pub session_lifetime: Duration,

    /// How many live sessions a user may have; at the next sign-in the oldest goes
    #[arg(long, env = "LATCHKEY_SESSIONS_PER_USER", value_name = "NUMBER", default_value = "50", value_parser = value::number::<u32>(1..=100_000))]
    pub sessions_per_user: u32,
}

impl LifetimesConfig {
    /// A token never outlives what it belongs to.
    ///
    /// # Errors
    /// When a shorter life is set to be the longer one.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.access_token_jitter >= self.access_token_lifetime {
            return Err(ConfigError::new(
                "LATCHKEY_ACCESS_TOKEN_JITTER",
                "leaves nothing of LATCHKEY_ACCESS_TOKEN_LIFETIME",
                "less than LATCHKEY_ACCESS_TOKEN_LIFETIME",
            ));
        }
        let ordered = [
            (
                self.access_token_lifetime,
                "LATCHKEY_ACCESS_TOKEN_LIFETIME",
                self.refresh_token_lifetime,
                "LATCHKEY_REFRESH_TOKEN_LIFETIME",
            ),
            (
                self.refresh_token_lifetime,
                "LATCHKEY_REFRESH_TOKEN_LIFETIME",
                self.session_lifetime,
                "LATCHKEY_SESSION_LIFETIME",
            ),
        ];
        for (shorter, name, longer, other) in ordered {
            if shorter > longer {
                return Err(ConfigError::new(
                    name,
                    &format!("is longer than {other}"),
                    &format!("at most the value of {other}"),
                ));
            }
        }
        Ok(())
    }

    /// simplejwt's `ACCESS_TOKEN_LIFETIME`.
    #[must_use]
    pub fn access(&self) -> TimeDelta {
        value::delta(self.access_token_lifetime)
    }

    /// By how much an access token may be shorter.
    #[must_use]
    pub fn jitter(&self) -> TimeDelta {
        value::delta(self.access_token_jitter)
    }

    /// simplejwt's `REFRESH_TOKEN_LIFETIME`.
    #[must_use]
    pub fn refresh(&self) -> TimeDelta {
        value::delta(self.refresh_token_lifetime)
    }

    /// The absolute end of a session.
    #[must_use]
    pub fn session(&self) -> TimeDelta {
        value::delta(self.session_lifetime)
    }
}

/// What tokens say, and how they are exchanged.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens")]
pub struct TokensConfig {
    /// Who issues the tokens (claim iss): the URL under which clients reach this server; by default the address that
    /// it listens on, while that is a loopback address
    #[arg(long, env = "LATCHKEY_ISSUER", value_name = "URL", value_parser = value::text)]
    pub issuer: Option<String>,

    /// Whom access tokens are for (claim aud); without it, they do not say
    #[arg(long, env = "LATCHKEY_AUDIENCE", value_name = "TEXT", value_parser = value::text)]
    pub audience: Option<String>,

    /// Whether a refresh also gives a new refresh token
    #[arg(long, env = "LATCHKEY_ROTATE_REFRESH_TOKENS", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub rotate_refresh_tokens: bool,

    /// Whether the old refresh token is dead then; if not, it gives the same new one until it expires
    #[arg(long, env = "LATCHKEY_BLACKLIST_AFTER_ROTATION", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub blacklist_after_rotation: bool,

    /// How long after its first use a refresh token still gives the same new one, for retries and second tabs; 0
    /// means never, and then an answer that is lost on its way costs a sign-in
    #[arg(long, env = "LATCHKEY_REFRESH_REUSE_GRACE", value_name = "SPAN", default_value = "10s", value_parser = value::duration)]
    pub refresh_reuse_grace: Duration,

    /// Binding of spent refresh tokens to the client of the last refresh. With client, its address (IPv4, or IPv6 /64)
    /// and its User-Agent are compared with those of the sender: if one differs, the refresh can be repeated 3 times
    /// within LATCHKEY_REFRESH_REUSE_GRACE; if both differ, the session ends. With none, nothing is compared, as needed
    /// where a backend and browsers refresh the same token
    #[arg(
        long,
        env = "LATCHKEY_REFRESH_REUSE_GRACE_BINDING",
        value_name = "BINDING",
        default_value = "client",
        value_enum
    )]
    pub refresh_reuse_grace_binding: GraceBinding,

    /// Whether a sign-in is noted at the user (last_login)
    #[arg(long, env = "LATCHKEY_UPDATE_LAST_LOGIN", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub update_last_login: bool,

    /// Tolerance for the clocks of others when tokens are checked; at most 60s
    #[arg(long, env = "LATCHKEY_LEEWAY", value_name = "SPAN", default_value = "0s", value_parser = leeway)]
    pub leeway: Duration,

    /// Access tokens whose signature is remembered, so that it is not checked again when they come back; whether they
    /// are revoked or expired is looked at every time. About 1 KiB each; 0 means none
    #[arg(long, env = "LATCHKEY_VERIFY_CACHE", value_name = "NUMBER", default_value = "8192", value_parser = value::number::<usize>(0..=1_000_000))]
    pub verify_cache: usize,

    /// Schemes of the Authorization header, separated by commas; the first is named in challenges
    #[arg(long, env = "LATCHKEY_AUTH_HEADER_TYPES", value_name = "LIST", default_value = "Bearer", value_delimiter = ',', value_parser = scheme)]
    pub auth_header_types: Vec<String>,

    /// Name of the claim with the user's id
    #[arg(long, env = "LATCHKEY_USER_ID_CLAIM", value_name = "NAME", default_value = "user_id", value_parser = claim_name)]
    pub user_id_claim: String,

    /// Name of the claim with the type of the token
    #[arg(long, env = "LATCHKEY_TOKEN_TYPE_CLAIM", value_name = "NAME", default_value = "token_type", value_parser = claim_name)]
    pub token_type_claim: String,

    /// Name of the claim with the token's id
    #[arg(long, env = "LATCHKEY_JTI_CLAIM", value_name = "NAME", default_value = "jti", value_parser = claim_name)]
    pub jti_claim: String,

    /// What access tokens say of the user beyond the id, separated by commas: email, first_name, is_staff, last_name,
    /// username
    #[arg(long, env = "LATCHKEY_ACCESS_CLAIMS", value_name = "LIST", value_delimiter = ',', value_parser = extra_claim)]
    pub access_claims: Vec<ExtraClaim>,

    /// Type in the header of access tokens: at+jwt (RFC 9068), or JWT for verifiers that insist on it
    #[arg(long, env = "LATCHKEY_ACCESS_TOKEN_TYP", value_name = "TYPE", default_value = "at+jwt", value_parser = ["at+jwt", "JWT"])]
    pub access_token_typ: String,
}

impl TokensConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.blacklist_after_rotation && !self.rotate_refresh_tokens {
            return Err(ConfigError::new(
                "LATCHKEY_BLACKLIST_AFTER_ROTATION",
                "is on, but LATCHKEY_ROTATE_REFRESH_TOKENS is off, so nothing is ever rotated",
                "false, or LATCHKEY_ROTATE_REFRESH_TOKENS=true",
            ));
        }
        let names = [&self.user_id_claim, &self.token_type_claim, &self.jti_claim];
        let variables = [
            "LATCHKEY_USER_ID_CLAIM",
            "LATCHKEY_TOKEN_TYPE_CLAIM",
            "LATCHKEY_JTI_CLAIM",
        ];
        for (index, (name, variable)) in names.iter().zip(variables).enumerate() {
            let extra = self
                .access_claims
                .iter()
                .any(|claim| claim.name() == name.as_str());
            let twice = names.iter().skip(index + 1).any(|other| other == name);
            if extra || twice || TAKEN.contains(&name.as_str()) {
                return Err(ConfigError::new(
                    variable,
                    &format!("is {name}, which another claim is called"),
                    "a name of its own",
                ));
            }
        }
        Ok(())
    }

    /// The names of the claims that can be renamed.
    #[must_use]
    pub fn claim_names(&self) -> ClaimNames {
        ClaimNames {
            jti: self.jti_claim.clone(),
            token_type: self.token_type_claim.clone(),
            user_id: self.user_id_claim.clone(),
        }
    }

    /// What happens to a spent refresh token that comes back.
    #[must_use]
    pub fn grace(&self) -> ReuseGrace {
        if self.blacklist_after_rotation {
            ReuseGrace::Window(value::delta(self.refresh_reuse_grace))
        } else {
            ReuseGrace::Unlimited
        }
    }

    /// Returns how the sender of a spent refresh token is compared with the client of the last refresh. Nothing is
    /// compared if rotation leaves tokens valid.
    #[must_use]
    pub const fn binding(&self) -> ClientBinding {
        match self.refresh_reuse_grace_binding {
            GraceBinding::Client if self.blacklist_after_rotation => ClientBinding::Client,
            GraceBinding::Client | GraceBinding::None => ClientBinding::None,
        }
    }
}

fn leeway(text: &str) -> Result<Duration, String> {
    match value::duration(text)? {
        leeway if leeway <= MAX_LEEWAY && leeway.subsec_nanos() == 0 => Ok(leeway),
        _ => Err("expected whole seconds, at most 60s".to_owned()),
    }
}

fn scheme(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        Ok(text.to_owned())
    } else {
        Err("expected names such as Bearer, separated by commas".to_owned())
    }
}

fn claim_name(text: &str) -> Result<String, String> {
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
    {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a claim, such as user_id".to_owned())
    }
}

fn extra_claim(text: &str) -> Result<ExtraClaim, String> {
    let known = ExtraClaim::ALL
        .into_iter()
        .find(|claim| claim.name() == text.trim());
    known.ok_or_else(|| {
        "expected some of email, first_name, is_staff, last_name, username".to_owned()
    })
}
