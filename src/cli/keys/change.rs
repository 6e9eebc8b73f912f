//! What changes the ring, and what is said about it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use clap::Args as _;
use latchkey_verifier::{Algorithm, Family, Kind};

use super::RingArgs;
use crate::{
    app::keys,
    cli::{Failure, bare_command, from_environment, output},
    config::{HttpConfig, keys::KeysPlace, value},
    crypto::passphrase::{Passphrase, PassphraseError},
    domain::{
        keys::{KeyMetadata, PROPAGATION, saturating_add},
        time::Moment,
    },
    files::{self, FileError},
    ports::Clock,
    service::keys::{Import, Imported, KeyManager, KeysError, Revoked, Rotate, Successor},
};

/// The longest file that a key is read from.
const LONGEST: u64 = 64 * 1024;

/// A key that was made elsewhere.
pub(super) struct Foreign {
    pub file: PathBuf,
    pub algorithm: Option<Algorithm>,
    pub kind: Kind,
    pub now: bool,
    pub rotate: bool,
    pub passphrase_file: Option<PathBuf>,
}

pub(super) async fn rotate(
    ring: &RingArgs,
    kind: Kind,
    now: bool,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    ring.check()?;
    let manager = keys::writer(&ring.settings(), Arc::clone(&clock)).await?;
    // Only what is known of them: to open all keys once more takes time.
    let before = manager.records().await?.keys;
    let made = manager
        .rotate(Rotate {
            kind,
            algorithm: None,
            now,
        })
        .await?;
    output::line(&format!("made {}", described(&made, ring, clock.now())));
    match before.iter().rfind(|key| key.facts.kind == kind) {
        None => {
            output::line("there was none before: if you expected one, look at LATCHKEY_KEYS_DIR")
        }
        Some(newest) if newest.facts.signs_from > made.signs_from => output::line(&format!(
            "but {} takes over at {}: revoke that one if the new key is to stay",
            newest.facts.kid,
            newest.facts.signs_from.format("%F %T UTC")
        )),
        Some(_) => {}
    }
    ring.changed()
}

/// The successor first; then as long as every instance needs to see it; then the end of the key. Nothing but the key itself
/// can be in the way of that.
pub(super) async fn revoke(
    ring: &RingArgs,
    kid: &str,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let manager = keys::looker(&ring.settings(), Arc::clone(&clock))?;
    match manager.prepare_revocation(kid).await {
        Ok(Successor::AtOnce(made)) => {
            output::line(&format!(
                "made {}, which signs from now on; verifiers refuse its tokens until they fetch the key set again",
                made.kid
            ));
            output::line("waiting until every instance has seen it");
            tokio::time::sleep(SEEN).await;
        }
        Ok(Successor::Later(made)) => {
            output::line(&format!(
                "an older key signs again; made {}",
                described(&made, ring, clock.now())
            ));
        }
        Ok(Successor::NotNeeded) => {}
        Err(error @ (KeysError::NotFound(_) | KeysError::Revoked(_))) => return Err(error.into()),
        Err(error) => {
            output::error(&format!(
                "no successor was made: {error}. Repair that, then run latchkey keys rotate"
            ));
        }
    }
    let Revoked { facts, obstacle } = manager.revoke(kid).await?;
    if let Some(obstacle) = obstacle {
        output::error(&format!(
            "{obstacle}. The key was marked as revoked without the lock, which is enough"
        ));
    }
    output::line(&format!("revoked {}: its tokens are refused", facts.kid));
    output::line(
        "Running instances notice it within about a second. This command cannot check them. An instance that cannot read its \
         keys still accepts this one, and reports it: in /health/ready \"keys\" is not \"ok\", and \
         latchkey_keys_last_look_seconds is above 5. Restart such an instance",
    );
    if facts.kind == Kind::Access {
        output::line(&accepted_until(&facts, ring, clock.now())?);
    }
    ring.changed()
}

/// The time up to which offline verifiers may accept tokens of a revoked key.
fn accepted_until(facts: &KeyMetadata, ring: &RingArgs, now: Moment) -> Result<String, Failure> {
    let span = humantime::format_duration;
    let life = ring.lifetimes.access_token_lifetime;
    let expired = saturating_add(now, PROPAGATION + ring.lifetimes.access()).format("%F %T UTC");
    if facts.algorithm.family() == Family::Hmac {
        return Ok(format!(
            "Verifiers that have the secret accept its tokens until they expire, by {expired} (LATCHKEY_ACCESS_TOKEN_LIFETIME \
             is {} here), and forged ones until the secret is removed there",
            span(life)
        ));
    }
    let http: HttpConfig = from_environment(&HttpConfig::augment_args(bare_command()))?;
    let fetched =
        saturating_add(now, PROPAGATION + value::delta(http.jwks_max_age)).format("%F %T UTC");
    Ok(format!(
        "Offline verifiers that obey Cache-Control refuse its tokens when they fetch the key set, within {} \
         (LATCHKEY_JWKS_MAX_AGE here), so they may accept them until {fetched}. Others may accept them until these expire, by \
         {expired} (LATCHKEY_ACCESS_TOKEN_LIFETIME is {} here), and forged ones until they fetch the key set",
        span(http.jwks_max_age),
        span(life)
    ))
}

pub(super) async fn prune(ring: &RingArgs, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let manager = keys::writer(&ring.settings(), clock).await?;
    refuse_empty(&manager, ring).await?;
    let pruned = manager.prune().await?;
    let lives = &ring.lifetimes;
    let span = humantime::format_duration;
    for key in &pruned {
        output::line(&format!("removed {}", key.kid));
    }
    // Settings that are not the servers' would make this wrong.
    output::line(&format!(
        "{}: access tokens live for {}, refresh tokens for {}",
        if pruned.is_empty() {
            "nothing to remove"
        } else {
            "no token of these keys lives"
        },
        span(lives.access_token_lifetime),
        span(lives.refresh_token_lifetime),
    ));
    if pruned.is_empty() {
        Ok(())
    } else {
        ring.changed()
    }
}

pub(super) async fn import(
    ring: &RingArgs,
    foreign: &Foreign,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    ring.check()?;
    let shown = foreign.file.display();
    let unreadable = |reason: String| Failure::Failed(format!("{shown}: {reason}"));
    let bytes = files::read(&foreign.file, LONGEST).map_err(|error| match error {
        FileError::Io(error) => unreadable(error.to_string()),
        FileError::TooLong(_) => unreadable(format!(
            "is longer than {LONGEST} bytes, so it is not a key"
        )),
        error => unreadable(error.to_string()),
    })?;
    // A weak passphrase is accepted here, because the key is encrypted again with that of the ring.
    let passphrase = foreign
        .passphrase_file
        .as_deref()
        .map(|path| passphrase(path, Passphrase::of_foreign_key))
        .transpose()?;
    let manager = keys::writer(&ring.settings(), Arc::clone(&clock)).await?;
    let Foreign {
        algorithm,
        kind,
        now,
        rotate,
        ..
    } = *foreign;
    let import = Import {
        bytes: &bytes,
        passphrase,
        algorithm,
        kind,
        now,
        rotate,
    };
    let Imported {
        facts: taken,
        withdrawn,
    } = manager.import(&import).await.map_err(|error| match error {
        KeysError::Material(reason) => unreadable(reason.to_string()),
        error => error.into(),
    })?;
    output::line(&format!(
        "imported {}",
        described(&taken, ring, clock.now())
    ));
    for key in &withdrawn {
        output::line(&format!(
            "removed {}, which never signed: it would have taken over from the imported key",
            key.kid
        ));
    }
    for line in succession(&taken, ring, rotate) {
        output::line(&line);
    }
    output::line(&format!(
        "{shown} is not needed any more: remove it, or keep it where no other user can read it"
    ));
    ring.changed()
}

/// The end of an imported key.
fn succession(taken: &KeyMetadata, ring: &RingArgs, rotate: bool) -> Vec<String> {
    let mut lines = Vec::new();
    match ring.keys.interval().filter(|_| rotate) {
        Some(interval) => lines.push(format!(
            "a new random key signs from {} on (LATCHKEY_KEY_ROTATION_INTERVAL): give it to the services that share this \
             key before then",
            saturating_add(taken.signs_from, interval).format("%F %T UTC")
        )),
        None => lines.push("no key takes over by itself: latchkey keys rotate makes a successor".to_owned()),
    }
    if taken.kind == Kind::Access && taken.algorithm != ring.keys.algorithm {
        let otherwise = if rotate {
            "or the next start makes a key of another algorithm"
        } else {
            "or its successor will have another algorithm"
        };
        lines.push(format!(
            "set LATCHKEY_ALGORITHM={} for the servers, {otherwise}",
            taken.algorithm
        ));
    }
    lines
}

pub(super) async fn rewrap(
    ring: &RingArgs,
    new: Option<&Path>,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let new = new
        .map(|path| passphrase(path, Passphrase::from_file))
        .transpose()?;
    let manager = keys::writer(&ring.settings(), clock).await?;
    refuse_empty(&manager, ring).await?;
    let count = manager.rewrap(new.as_ref()).await?;
    let keys = if count == 1 {
        "1 key".to_owned()
    } else {
        format!("{count} keys")
    };
    output::line(&match new {
        Some(_) => format!(
            "encrypted {keys}: now put the new passphrase into LATCHKEY_KEYS_PASSPHRASE_FILE"
        ),
        None => format!("decrypted {keys}: now unset LATCHKEY_KEYS_PASSPHRASE_FILE"),
    });
    ring.changed()
}

/// Refuses a ring without a key: the command was given another one than that of the server.
async fn refuse_empty(manager: &KeyManager, ring: &RingArgs) -> Result<(), Failure> {
    let records = manager.records().await?;
    if !records.keys.is_empty() || !records.revoked.is_empty() || !records.broken.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(match ring.keys.keys {
        KeysPlace::Database => {
            "there are no keys in the database: correct DATABASE_URL, or set LATCHKEY_KEYS=directory".to_owned()
        }
        KeysPlace::Directory => format!(
            "there are no keys in {}: run the command in the working directory of the server, or correct LATCHKEY_KEYS_DIR",
            ring.absolute().display()
        ),
    }))
}

/// As long as instances need to see a change, and a bit: a revocation is urgent.
const SEEN: Duration = Duration::from_millis(2_500);

fn passphrase(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<Passphrase, PassphraseError>,
) -> Result<Passphrase, Failure> {
    let refused = |reason: String| Failure::Config(format!("{} {reason}", path.display()));
    files::refuse_special(path).map_err(|error| refused(error.to_string()))?;
    read(path).map_err(|error| refused(error.to_string()))
}

fn described(facts: &KeyMetadata, ring: &RingArgs, now: Moment) -> String {
    let KeyMetadata {
        kid,
        kind,
        algorithm,
        signs_from,
    } = facts;
    let when = match *signs_from {
        from if from <= now => "it signs at once".to_owned(),
        // Names have whole seconds.
        from if from <= now + PROPAGATION + TimeDelta::seconds(1) => {
            format!(
                "it signs from {} on, as soon as every instance has seen it",
                from.format("%T UTC")
            )
        }
        from => format!("it signs from {} on", from.format("%F %T UTC")),
    };
    format!(
        "{kid} in {} ({algorithm}, for {} tokens): {when}",
        ring.place(),
        kind.token_type()
    )
}
