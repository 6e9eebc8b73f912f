//! Lifetimes, contents and rotation of tokens.

use std::time::Duration;

use chrono::TimeDelta;
use clap::{ArgAction, Args, ValueEnum};
use latchkey_verifier::ClaimNames;

use super::{ConfigError, value};
use latchkey_domain::{claims::ExtraClaim, reuse::ClientBinding, session::ReuseGrace};

/// Maximum tolerance for clock skew: "usually no more than a few minutes" in RFC 7519, section
/// 4.1.4.
const MAX_LEEWAY: Duration = Duration::from_mins(1);

/// Names that a renamed claim may not have.
const RESERVED_CLAIMS: [&str; 10] = [
    "iss", "sub", "aud", "exp", "nbf", "iat", "sid", "gen", "ver", "typ",
];

/// Binding of a spent refresh token to a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum GraceBinding {
    /// Address and `User-Agent` of the last refresh.
    Client,
    /// No binding.
    None,
}

/// Lifetimes of tokens and sessions.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Lifetimes")]
pub struct LifetimesConfig {
    /// Lifetime of an access token
    #[arg(long, env = "LATCHKEY_ACCESS_TOKEN_LIFETIME", value_name = "DURATION", default_value = "5m", value_parser = value::whole_seconds)]
    pub access_token_lifetime: Duration,

    /// Maximum random reduction of the lifetime of an access token, so that tabs which signed in
    /// together do not refresh together
    #[arg(long, env = "LATCHKEY_ACCESS_TOKEN_JITTER", value_name = "DURATION", default_value = "0s", value_parser = value::duration)]
    pub access_token_jitter: Duration,

    /// Lifetime of a refresh token, and so the longest absence of a client
    #[arg(long, env = "LATCHKEY_REFRESH_TOKEN_LIFETIME", value_name = "DURATION", default_value = "1d", value_parser = value::whole_seconds)]
    pub refresh_token_lifetime: Duration,

    /// Lifetime of a session, regardless of the number of refreshes
    #[arg(long, env = "LATCHKEY_SESSION_LIFETIME", value_name = "DURATION", default_value = "30d", value_parser = value::whole_seconds)]
    pub session_lifetime: Duration,

    /// Maximum number of live sessions of a user; a further sign-in ends the oldest
    #[arg(long, env = "LATCHKEY_SESSIONS_PER_USER", value_name = "NUMBER", default_value = "50", value_parser = value::number::<u32>(1..=100_000))]
    pub sessions_per_user: u32,
}

impl LifetimesConfig {
    /// Checks the order of the lifetimes: access token, refresh token, session.
    ///
    /// # Errors
    /// If a lifetime exceeds the next one, or the jitter is not less than the lifetime of an access
    /// token.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.access_token_jitter >= self.access_token_lifetime {
            return Err(ConfigError::new(
                "LATCHKEY_ACCESS_TOKEN_JITTER",
                "is not less than LATCHKEY_ACCESS_TOKEN_LIFETIME",
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

    /// Lifetime of an access token: simplejwt's `ACCESS_TOKEN_LIFETIME`.
    #[must_use]
    pub fn access(&self) -> TimeDelta {
        value::delta(self.access_token_lifetime)
    }

    /// Maximum random reduction of the lifetime of an access token.
    #[must_use]
    pub fn jitter(&self) -> TimeDelta {
        value::delta(self.access_token_jitter)
    }

    /// Lifetime of a refresh token: simplejwt's `REFRESH_TOKEN_LIFETIME`.
    #[must_use]
    pub fn refresh(&self) -> TimeDelta {
        value::delta(self.refresh_token_lifetime)
    }

    /// Absolute lifetime of a session.
    #[must_use]
    pub fn session(&self) -> TimeDelta {
        value::delta(self.session_lifetime)
    }
}

/// Contents and rotation of tokens.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens")]
pub struct TokensConfig {
    /// Issuer of the tokens (claim iss): the URL under which clients reach this server. By default,
    /// it is the address to listen on, if that is a loopback address
    #[arg(long, env = "LATCHKEY_ISSUER", value_name = "URL", value_parser = value::text)]
    pub issuer: Option<String>,

    /// Audience of access tokens (claim aud); without it, they have no such claim
    #[arg(long, env = "LATCHKEY_AUDIENCE", value_name = "TEXT", value_parser = value::text)]
    pub audience: Option<String>,

    /// Return a new refresh token with each refresh
    #[arg(long, env = "LATCHKEY_ROTATE_REFRESH_TOKENS", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub rotate_refresh_tokens: bool,

    /// Revoke the old refresh token at a rotation; if not, it returns the same successor until it
    /// expires
    #[arg(long, env = "LATCHKEY_BLACKLIST_AFTER_ROTATION", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub blacklist_after_rotation: bool,

    /// Time after a rotation in which the spent refresh token still returns the same successor, for
    /// retries and concurrent tabs. With 0, a client whose response was lost must sign in again
    #[arg(long, env = "LATCHKEY_REFRESH_REUSE_GRACE", value_name = "DURATION", default_value = "10s", value_parser = value::duration)]
    pub refresh_reuse_grace: Duration,

    /// Binding of spent refresh tokens to the client of the last refresh. With client, its address
    /// (IPv4, or IPv6 /64) and its User-Agent are compared with those of the sender: if one
    /// differs, the refresh can be repeated 3 times within LATCHKEY_REFRESH_REUSE_GRACE; if both
    /// differ, the session ends. With none, nothing is compared, as needed where a backend and
    /// browsers refresh the same token
    #[arg(
        long,
        env = "LATCHKEY_REFRESH_REUSE_GRACE_BINDING",
        value_name = "BINDING",
        default_value = "client",
        value_enum
    )]
    pub refresh_reuse_grace_binding: GraceBinding,

    /// Update the last_login of a user at each sign-in
    #[arg(long, env = "LATCHKEY_UPDATE_LAST_LOGIN", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub update_last_login: bool,

    /// Tolerance for clocks of other machines when tokens are checked; at most 60s
    #[arg(long, env = "LATCHKEY_LEEWAY", value_name = "DURATION", default_value = "0s", value_parser = leeway)]
    pub leeway: Duration,

    /// Number of access tokens whose signature is cached, so that it is not verified again.
    /// Revocation and expiry are checked every time. About 1 KiB each; 0 means none
    #[arg(long, env = "LATCHKEY_VERIFY_CACHE", value_name = "NUMBER", default_value = "8192", value_parser = value::number::<usize>(0..=1_000_000))]
    pub verify_cache: usize,

    /// Schemes of the Authorization header, separated by commas; challenges name the first one
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

    /// Claims about the user in access tokens besides the id, separated by commas: email,
    /// first_name, is_staff, last_name, username
    #[arg(long, env = "LATCHKEY_ACCESS_CLAIMS", value_name = "LIST", value_delimiter = ',', value_parser = extra_claim)]
    pub access_claims: Vec<ExtraClaim>,

    /// Type in the header of access tokens: at+jwt (RFC 9068), or JWT for verifiers that require it
    #[arg(long, env = "LATCHKEY_ACCESS_TOKEN_TYP", value_name = "TYPE", default_value = "at+jwt", value_parser = ["at+jwt", "JWT"])]
    pub access_token_typ: String,
}

impl TokensConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.blacklist_after_rotation && !self.rotate_refresh_tokens {
            return Err(ConfigError::new(
                "LATCHKEY_BLACKLIST_AFTER_ROTATION",
                "is true, but LATCHKEY_ROTATE_REFRESH_TOKENS is false",
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
            if extra || twice || RESERVED_CLAIMS.contains(&name.as_str()) {
                return Err(ConfigError::new(
                    variable,
                    &format!("is {name}, the name of another claim"),
                    "a unique name",
                ));
            }
        }
        Ok(())
    }

    /// Names of the claims that can be renamed.
    #[must_use]
    pub fn claim_names(&self) -> ClaimNames {
        ClaimNames {
            jti: self.jti_claim.clone(),
            token_type: self.token_type_claim.clone(),
            user_id: self.user_id_claim.clone(),
        }
    }

    /// Reuse grace of a spent refresh token. It is unlimited if rotation leaves tokens valid.
    #[must_use]
    pub fn grace(&self) -> ReuseGrace {
        if self.blacklist_after_rotation {
            ReuseGrace::Window(value::delta(self.refresh_reuse_grace))
        } else {
            ReuseGrace::Unlimited
        }
    }

    /// Binding of a spent refresh token to the client of the last refresh. There is none if
    /// rotation leaves tokens valid.
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
        "expected names among email, first_name, is_staff, last_name, username".to_owned()
    })
}
