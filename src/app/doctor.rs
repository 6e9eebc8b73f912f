//! Checks everything that a server needs, without lasting changes, and reports one line for each
//! part.

use std::sync::Arc;

use chrono::TimeDelta;

use super::keys::{KeysSettings, manager};
use crate::config::{Config, keys::KeysPlace, value};
use latchkey_cache::RedisBlacklist;
use latchkey_crypto::{key_ring::RingKey, random};
use latchkey_domain::{
    audit::Actor,
    ids::DeploymentId,
    keys::{PROPAGATION, saturating_add},
    ports::{Clock, StoreError},
};
use latchkey_files::Exposure;
use latchkey_store::sql::{DatabaseUrl, SqlPool, SqlStore, migrate};

/// Maximum difference between the clocks of this machine and the database. A larger one changes the
/// reuse grace and lifetimes noticeably.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(2);

/// Severity of one finding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// No problem.
    Good,
    /// Weakness that does not stop the server.
    Warning,
    /// Fault.
    Bad,
}

/// Line of the report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Part that was checked.
    pub part: &'static str,
    /// Severity.
    pub verdict: Severity,
    /// Result, and the remedy for a fault.
    pub text: String,
}

fn good(part: &'static str, text: impl Into<String>) -> Finding {
    Finding {
        part,
        verdict: Severity::Good,
        text: text.into(),
    }
}

fn bad(part: &'static str, text: impl Into<String>) -> Finding {
    Finding {
        part,
        verdict: Severity::Bad,
        text: text.into(),
    }
}

fn warning(part: &'static str, text: impl Into<String>) -> Finding {
    Finding {
        part,
        verdict: Severity::Warning,
        text: text.into(),
    }
}

/// Returns the findings, in the order in which a server would meet them.
pub async fn examine(config: &Config, clock: Arc<dyn Clock>) -> Vec<Finding> {
    let mut findings = vec![match config.check() {
        Ok(()) => good(
            "configuration",
            format!("issuer {}", config.issuer().unwrap_or_default()),
        ),
        Err(error) => bad("configuration", error.to_string()),
    }];
    let database = database(config, clock.as_ref()).await;
    let unready = |finding: &Finding| finding.verdict == Severity::Bad && finding.part != "clock";
    let broken = config.database.url().is_err() || database.iter().any(unready);
    // A fault of the database is reported once. A missing passphrase is a separate fault.
    if broken && config.keys.keys == KeysPlace::Database && config.keys.check_protection().is_ok() {
        findings.push(warning(
            "keys",
            "not checked: they are in the database, which is not ready",
        ));
    } else {
        findings.push(keys(config, Arc::clone(&clock)).await);
    }
    findings.extend(database);
    findings.push(redis(config).await);
    let exposed = |found: Exposure| {
        if found.severe {
            bad("files", found.text)
        } else {
            warning("files", found.text)
        }
    };
    findings.extend(config.exposures().into_iter().map(exposed));
    findings.extend(
        config
            .clear_text_warnings()
            .into_iter()
            .map(|text| warning("encryption", text)),
    );
    findings
}

async fn keys(config: &Config, clock: Arc<dyn Clock>) -> Finding {
    if config.keys.check_protection().is_err() {
        return bad("keys", "not checked: their passphrase is missing");
    }
    let now = clock.now();
    let settings = KeysSettings {
        keys: &config.keys,
        database: &config.database,
        lifetimes: &config.lifetimes,
        actor: Actor::Service,
    };
    let sql = match (config.keys.keys, config.database.url()) {
        (KeysPlace::Directory, _) | (_, Err(_)) => None,
        (KeysPlace::Database, Ok(DatabaseUrl::Sqlite(file)))
            if file.create && !file.path.exists() =>
        {
            return good("keys", "none yet in the database: the server creates them");
        }
        (KeysPlace::Database, Ok(url)) => match SqlPool::open(&url, config.database.limits()) {
            Ok(pool) => Some(Arc::new(SqlStore::new(pool))),
            Err(error) => return bad("keys", error.to_string()),
        },
    };
    let place = match config.keys.keys {
        KeysPlace::Database => "the database".to_owned(),
        KeysPlace::Directory => config.keys.keys_dir.display().to_string(),
    };
    let ring = match manager(&settings, sql.as_ref(), None, clock).ring().await {
        Ok(ring) => ring,
        Err(error) => return bad("keys", error.to_string()),
    };
    let far = |key: &&RingKey| {
        key.facts.signs_from
            > saturating_add(
                now,
                value::delta(config.keys.key_publish_lead) + PROPAGATION,
            )
    };
    match (ring.keys().count(), ring.keys().find(far)) {
        (0, _) => good(
            "keys",
            format!("none yet in {place}: the server creates them"),
        ),
        (_, Some(key)) => {
            let (kid, from) = (&key.facts.kid, key.facts.signs_from.format("%F %T UTC"));
            bad(
                "keys",
                format!("{kid} signs from {from} on, later than any new key: check the clock"),
            )
        }
        (count, None) => good("keys", format!("{count} in {place}")),
    }
}

async fn database(config: &Config, clock: &dyn Clock) -> Vec<Finding> {
    let Ok(url) = config.database.url() else {
        return Vec::new();
    };
    if let DatabaseUrl::Sqlite(file) = &url
        && file.create
        && !file.path.exists()
    {
        return vec![good(
            "database",
            format!("{url} does not exist yet: the server creates it"),
        )];
    }
    let migrations = match migrate::status(&url, config.database.database_timeout).await {
        Err(error) => return vec![bad("database", format!("{url}: {error}"))],
        Ok(status) if !status.unknown.is_empty() => bad(
            "migrations",
            format!(
                "{} unknown here: a newer version of latchkey has migrated the database",
                status.unknown.join(", ")
            ),
        ),
        Ok(status) if !status.pending.is_empty() => bad(
            "migrations",
            format!(
                "{} pending: run latchkey migrate run",
                status.pending.join(", ")
            ),
        ),
        Ok(status) => good(
            "migrations",
            format!("{} applied, none pending", status.applied.len()),
        ),
    };
    let mut findings = vec![good("database", url.to_string()), migrations];
    if matches!(url, DatabaseUrl::Postgres(_)) {
        findings.push(skew(config, &url, clock).await);
        findings.extend(role(config, &url).await);
    }
    findings
}

/// Warns about a superuser, who can bypass all rules of the database, including the trigger that
/// protects audit events.
async fn role(config: &Config, url: &DatabaseUrl) -> Option<Finding> {
    let store = SqlStore::new(SqlPool::open(url, config.database.limits()).ok()?);
    let role = store.role().await.ok()?;
    role.superuser.then(|| {
        let name = output_name(&role.name);
        warning(
            "role",
            format!("{name} is a superuser of Postgres: give the service a role that only owns its database (docs/guides/postgres.md)"),
        )
    })
}

/// Removes control characters from a name that the database server sent.
fn output_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(63).collect()
}

async fn skew(config: &Config, url: &DatabaseUrl, clock: &dyn Clock) -> Finding {
    let time = match SqlPool::open(url, config.database.limits()) {
        Ok(pool) => SqlStore::new(pool).server_time().await,
        Err(error) => Err(error),
    };
    match time {
        Err(error) => bad("clock", error.to_string()),
        Ok(theirs) => {
            let skew = (clock.now() - theirs).abs();
            let text = format!("{} ms from the database's", skew.num_milliseconds());
            if skew <= MAX_SKEW {
                good("clock", text)
            } else {
                bad("clock", format!("{text}: run NTP on both"))
            }
        }
    }
}

async fn redis(config: &Config) -> Finding {
    let options = match config.redis.options(0) {
        Err(error) => return bad("redis", error.to_string()),
        Ok(None) => return good("redis", "not used: the database answers every check"),
        Ok(Some(options)) => options,
    };
    let (deployment, is_known) = match deployment(config).await {
        Ok(known) => (
            known.unwrap_or_else(|| DeploymentId::new(random::jti())),
            true,
        ),
        Err(_) => (DeploymentId::new(random::jti()), false),
    };
    let warnings = match RedisBlacklist::open(&options, deployment, random::jti()) {
        Ok(blacklist) => blacklist.examine(is_known).await,
        Err(error) => Err(error),
    };
    match warnings {
        Err(error) => bad("redis", format!("{}: {error}", options.url)),
        Ok(warnings) if warnings.is_empty() => good("redis", options.url.to_string()),
        Ok(warnings) => bad("redis", warnings.join("; ")),
    }
}

/// Reads the deployment id in the database. A deployment that was never started has none, and
/// entries in Redis belong to another.
async fn deployment(config: &Config) -> Result<Option<DeploymentId>, StoreError> {
    let url = config
        .database
        .url()
        .map_err(|error| StoreError::Failed(error.to_string()))?;
    match &url {
        DatabaseUrl::Sqlite(file) if file.create && !file.path.exists() => Ok(None),
        _ => {
            SqlStore::new(SqlPool::open(&url, config.database.limits())?)
                .known_deployment()
                .await
        }
    }
}
