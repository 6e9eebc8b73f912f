//! Commands that change the key ring.

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
};
use latchkey_crypto::passphrase::{Passphrase, PassphraseError};
use latchkey_domain::{
    keys::{KeyMetadata, PROPAGATION, saturating_add},
    ports::Clock,
    time::Moment,
};
use latchkey_files as files;
use latchkey_files::FileError;
use latchkey_service::keys::{Import, Imported, KeyManager, KeysError, Revoked, Rotate, Successor};

/// Maximum size of a file with a key.
const MAX_FILE: u64 = 64 * 1024;

/// Key to import.
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
    // The records suffice: opening all keys again takes time.
    let before = manager.records().await?.keys;
    let created = manager
        .rotate(Rotate {
            kind,
            algorithm: None,
            now,
        })
        .await?;
    output::line(&format!(
        "created {}",
        described(&created, ring, clock.now())
    ));
    match before.iter().rfind(|key| key.facts.kind == kind) {
        None => output::line(
            "there was no such key before: if you expected one, check LATCHKEY_KEYS_DIR",
        ),
        Some(newest) if newest.facts.signs_from > created.signs_from => output::line(&format!(
            "but {} takes over at {}: revoke it if the new key is to remain",
            newest.facts.kid,
            newest.facts.signs_from.format("%F %T UTC")
        )),
        Some(_) => {}
    }
    ring.changed()
}

/// Creates a successor if one is needed, waits until every instance has read it, and revokes the
/// key. A failure before the revocation does not prevent it.
pub(super) async fn revoke(
    ring: &RingArgs,
    kid: &str,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    let manager = keys::reader(&ring.settings(), Arc::clone(&clock))?;
    match manager.prepare_revocation(kid).await {
        Ok(Successor::AtOnce(created)) => {
            output::line(&format!(
                "created {}, which signs from now on; verifiers refuse its tokens until they fetch the key set again",
                created.kid
            ));
            output::line("waiting until every instance has read it");
            tokio::time::sleep(PROPAGATION_WAIT).await;
        }
        Ok(Successor::Later(created)) => {
            output::line(&format!(
                "an older key signs again; created {}",
                described(&created, ring, clock.now())
            ));
        }
        Ok(Successor::NotNeeded) => {}
        Err(error @ (KeysError::NotFound(_) | KeysError::Revoked(_))) => return Err(error.into()),
        Err(error) => {
            output::error(&format!(
                "no successor was created: {error}. Correct this, then run latchkey keys rotate"
            ));
        }
    }
    let Revoked { facts, obstacle } = manager.revoke(kid).await?;
    if let Some(obstacle) = obstacle {
        output::error(&format!(
            "{obstacle}. The key was revoked without the lock of the key ring, which suffices"
        ));
    }
    output::line(&format!("revoked {}: its tokens are refused", facts.kid));
    output::line(
        "Running instances apply it within about a second. This command cannot check them. An instance that cannot read its \
         keys still accepts this one, and reports it: in /health/ready \"keys\" is not \"ok\", and \
         latchkey_key_ring_read_age_seconds is above 5. Restart such an instance",
    );
    if facts.kind == Kind::Access {
        output::line(&accepted_until(&facts, ring, clock.now())?);
    }
    ring.changed()
}

/// Returns a sentence with the time until which offline verifiers may accept tokens of a revoked
/// key.
fn accepted_until(facts: &KeyMetadata, ring: &RingArgs, now: Moment) -> Result<String, Failure> {
    let span = humantime::format_duration;
    let lifetime = ring.lifetimes.access_token_lifetime;
    let expired = saturating_add(now, PROPAGATION + ring.lifetimes.access()).format("%F %T UTC");
    if facts.algorithm.family() == Family::Hmac {
        return Ok(format!(
            "Verifiers that have the secret accept its tokens until they expire, by {expired} (LATCHKEY_ACCESS_TOKEN_LIFETIME \
             is {} here), and forged tokens until the secret is removed there",
            span(lifetime)
        ));
    }
    let http: HttpConfig = from_environment(&HttpConfig::augment_args(bare_command()))?;
    let fetched =
        saturating_add(now, PROPAGATION + value::delta(http.jwks_max_age)).format("%F %T UTC");
    Ok(format!(
        "Offline verifiers that obey Cache-Control refuse its tokens when they fetch the key set, within {} \
         (LATCHKEY_JWKS_MAX_AGE here), so they may accept them until {fetched}. Others may accept them until these expire, by \
         {expired} (LATCHKEY_ACCESS_TOKEN_LIFETIME is {} here), and forged tokens until they fetch the key set",
        span(http.jwks_max_age),
        span(lifetime)
    ))
}

pub(super) async fn prune(ring: &RingArgs, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let manager = keys::writer(&ring.settings(), clock).await?;
    refuse_empty(&manager, ring).await?;
    let pruned = manager.prune().await?;
    let lifetimes = &ring.lifetimes;
    let span = humantime::format_duration;
    for key in &pruned {
        output::line(&format!("removed {}", key.kid));
    }
    // The lifetimes are printed because the command is wrong if they differ from those of the
    // servers.
    output::line(&format!(
        "{}: the lifetime of access tokens is {}, that of refresh tokens {}",
        if pruned.is_empty() {
            "nothing to remove"
        } else {
            "all tokens of these keys have expired"
        },
        span(lifetimes.access_token_lifetime),
        span(lifetimes.refresh_token_lifetime),
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
    let unreadable = |reason: String| Failure::Failed(format!("the key file {shown} {reason}"));
    let bytes = files::read(&foreign.file, MAX_FILE).map_err(|error| {
        unreadable(match error {
            FileError::TooLong(limit) => {
                format!("holds more than {limit} bytes, so it is not a key")
            }
            error => error.to_string(),
        })
    })?;
    // A weak passphrase is accepted here, because the key is encrypted again with the passphrase of
    // the ring.
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
        facts: imported,
        withdrawn,
    } = manager.import(&import).await.map_err(|error| match error {
        KeysError::Material(reason) => unreadable(reason.to_string()),
        error => error.into(),
    })?;
    output::line(&format!(
        "imported {}",
        described(&imported, ring, clock.now())
    ));
    for key in &withdrawn {
        output::line(&format!(
            "removed {}, which has not signed: it would have taken over from the imported key",
            key.kid
        ));
    }
    for line in succession(&imported, ring, rotate) {
        output::line(&line);
    }
    output::line(&format!(
        "{shown} is no longer needed: remove it, or keep it where no other user can read it"
    ));
    ring.changed()
}

/// Returns sentences about the successor of an imported key.
fn succession(imported: &KeyMetadata, ring: &RingArgs, rotate: bool) -> Vec<String> {
    let mut lines = Vec::new();
    match ring.keys.interval().filter(|_| rotate) {
        Some(interval) => lines.push(format!(
            "a new random key signs from {} on (LATCHKEY_KEY_ROTATION_INTERVAL): give it to the services that share this \
             key before then",
            saturating_add(imported.signs_from, interval).format("%F %T UTC")
        )),
        None => lines.push("this key has no automatic successor: latchkey keys rotate creates one".to_owned()),
    }
    if imported.kind == Kind::Access && imported.algorithm != ring.keys.algorithm {
        let otherwise = if rotate {
            "or the next start creates a key of another algorithm"
        } else {
            "or its successor will have another algorithm"
        };
        lines.push(format!(
            "set LATCHKEY_ALGORITHM={} for the servers, {otherwise}",
            imported.algorithm
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
            "encrypted {keys}: now put the new passphrase into the file LATCHKEY_KEYS_PASSPHRASE_FILE"
        ),
        None => format!("decrypted {keys}: now unset LATCHKEY_KEYS_PASSPHRASE_FILE"),
    });
    ring.changed()
}

/// Refuses an empty key ring: it is not the one of the server.
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

/// Wait for all instances to read a new key. They read the key ring every second. A revocation is
/// urgent, so this is shorter than [`PROPAGATION`].
const PROPAGATION_WAIT: Duration = Duration::from_millis(2_500);

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
        // File names of keys have whole seconds.
        from if from <= now + PROPAGATION + TimeDelta::seconds(1) => {
            format!(
                "it signs from {} on, after every instance has read it",
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
