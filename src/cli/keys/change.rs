//! What changes the ring, and what is said about it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use latchkey_verifier::{Algorithm, Kind};
use zeroize::Zeroizing;

use super::RingArgs;
use crate::{
    app::keys,
    cli::{Failure, output},
    crypto::passphrase::Passphrase,
    domain::{
        keys::{KeyFacts, NOTICE},
        time::Moment,
    },
    ports::Clock,
    service::keys::{Import, KeyManager, KeysError, Rotate, Successor},
};

/// The longest file that a key is read from.
const LONGEST: u64 = 64 * 1024;

/// A key that was made elsewhere.
pub(super) struct Foreign {
    pub file: PathBuf,
    pub algorithm: Option<Algorithm>,
    pub kind: Kind,
    pub now: bool,
    pub passphrase_file: Option<PathBuf>,
}

pub(super) async fn rotate(ring: &RingArgs, kind: Kind, now: bool, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let manager = writer(ring, Arc::clone(&clock)).await?;
    let made = manager.rotate(Rotate { kind, algorithm: None, now }).await?;
    output::line(&format!("made {}", described(&made, clock.now())));
    Ok(())
}

/// The successor first; then as long as every instance needs to see it; then the end of the key.
pub(super) async fn revoke(ring: &RingArgs, kid: &str, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let manager = writer(ring, Arc::clone(&clock)).await?;
    let said = match manager.prepare_revocation(kid).await {
        Ok(Successor::AtOnce(made)) => {
            tokio::time::sleep(SEEN).await;
            format!(
                "made {}, which signs instead; verifiers that cache the key set refuse its tokens until they fetch it again",
                made.kid
            )
        }
        Ok(Successor::Later(made)) => {
            format!("an older key signs again; made {}", described(&made, clock.now()))
        }
        Ok(Successor::NotNeeded) => String::new(),
        // No reason not to revoke.
        Err(error @ (KeysError::Broken(..) | KeysError::Full(_) | KeysError::Passphrase(..))) => {
            format!("no successor was made, because of {error}: repair that, then run latchkey keys rotate --now")
        }
        Err(error) => return Err(error.into()),
    };
    let revoked = manager.revoke(kid).await?;
    output::line(&format!("revoked {}: its tokens are refused", revoked.kid));
    if !said.is_empty() {
        output::line(&said);
    }
    Ok(())
}

pub(super) async fn prune(ring: &RingArgs, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let pruned = writer(ring, clock).await?.prune().await?;
    for key in &pruned {
        output::line(&format!("removed {}", key.kid));
    }
    if pruned.is_empty() {
        output::line("nothing to do: tokens of every key may still live");
    }
    Ok(())
}

pub(super) async fn import(ring: &RingArgs, foreign: &Foreign, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let shown = foreign.file.display();
    let unreadable = |reason: String| Failure::Failed(format!("{shown}: {reason}"));
    let length = fs::metadata(&foreign.file).map_err(|error| unreadable(error.to_string()))?.len();
    if length > LONGEST {
        return Err(unreadable(format!("is longer than {LONGEST} bytes: that is no key")));
    }
    let bytes = Zeroizing::new(fs::read(&foreign.file).map_err(|error| unreadable(error.to_string()))?);
    let passphrase = foreign.passphrase_file.as_deref().map(passphrase).transpose()?;
    let manager = writer(ring, Arc::clone(&clock)).await?;
    let import =
        Import { bytes: &bytes, passphrase, algorithm: foreign.algorithm, kind: foreign.kind, now: foreign.now };
    let taken = manager.import(&import).await.map_err(|error| match error {
        KeysError::Material(reason) => unreadable(reason.to_string()),
        error => error.into(),
    })?;
    output::line(&format!("imported {}", described(&taken, clock.now())));
    output::line(&format!("{shown} is not needed any more: remove it, or keep it where nobody reads it"));
    Ok(())
}

pub(super) async fn rewrap(ring: &RingArgs, new: Option<&Path>, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let new = new.map(passphrase).transpose()?;
    let count = writer(ring, clock).await?.rewrap(new.as_ref()).await?;
    let keys = if count == 1 { "1 key".to_owned() } else { format!("{count} keys") };
    output::line(&match new {
        Some(_) => format!("encrypted {keys}: now put the new passphrase into LATCHKEY_KEYS_PASSPHRASE_FILE"),
        None => format!("decrypted {keys}: now unset LATCHKEY_KEYS_PASSPHRASE_FILE"),
    });
    Ok(())
}

/// As long as instances need to see a change, and a bit: a revocation is urgent.
const SEEN: Duration = Duration::from_millis(2_500);

async fn writer(ring: &RingArgs, clock: Arc<dyn Clock>) -> Result<KeyManager, Failure> {
    let (manager, missing) = keys::writer(ring.settings(), clock).await?;
    if let Some(missing) = missing {
        tracing::warn!("{missing}: the audit trail is not told");
    }
    Ok(manager)
}

fn passphrase(path: &Path) -> Result<Passphrase, Failure> {
    Passphrase::from_file(path).map_err(|error| Failure::Config(format!("{} {error}", path.display())))
}

fn described(facts: &KeyFacts, now: Moment) -> String {
    let KeyFacts { kid, kind, algorithm, signs_from } = facts;
    let when = match *signs_from {
        from if from <= now => "it signs at once".to_owned(),
        // Names have whole seconds.
        from if from <= now + NOTICE + TimeDelta::seconds(1) => {
            format!("it signs from {} on, as soon as every instance has seen it", from.format("%T UTC"))
        }
        from => format!("it signs from {} on", from.format("%F %T UTC")),
    };
    format!("{kid} ({algorithm}, for {} tokens): {when}", kind.token_type())
}
