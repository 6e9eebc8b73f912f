//! Emergency: a key that somebody else may have.

use super::{ATTEMPTS, KeyManager, KeysError, Plan, make::Begin};
use crate::{
    domain::{
        audit::EventKind,
        keys::{self, KeyFacts},
        time::Moment,
    },
    ports::{KeyChange, KeyRecords},
};

/// Who signs when the key is gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Successor {
    /// A new key, from the moment when every instance has seen it: there is no other. Verifiers have not seen it.
    AtOnce(KeyFacts),
    /// An older key again, until a new one has been published long enough.
    Later(KeyFacts),
    /// Whoever would have signed anyway.
    NotNeeded,
}

impl KeyManager {
    /// Makes the successor that is needed once the key `kid` is gone, and does not touch that key yet: an instance that knows the
    /// revocation and not the successor could sign nothing.
    ///
    /// # Errors
    /// [`KeysError::NotFound`]; [`KeysError::Broken`] where another key cannot be used, which is no reason not to revoke.
    pub async fn prepare_revocation(&self, kid: &str) -> Result<Successor, KeysError> {
        self.change(|opened, passphrase| {
            let facts = find(&opened.records, kid)?;
            let others = |starts: &mut Vec<Moment>, with: bool| {
                let of_kind = opened.records.keys.iter().map(|key| &key.facts).filter(|key| key.kind == facts.kind);
                starts.extend(of_kind.filter(|key| with || key.kid != kid).map(|key| key.signs_from));
            };
            let (mut all, mut rest) = (Vec::new(), Vec::new());
            others(&mut all, true);
            others(&mut rest, false);
            let now = self.clock.now();
            let begun = |starts: &[Moment]| keys::signer(starts, now).and_then(|index| starts.get(index).copied());
            let was_signing = begun(&all) == Some(facts.signs_from);
            if !was_signing || rest.last().is_some_and(|last| *last > now) {
                return Ok(Plan::nothing(Successor::NotNeeded));
            }
            self.sound(&opened.wrong)?;
            let begin = if rest.is_empty() { Begin::AtOnce } else { Begin::AfterLead };
            let (made, text) = self.make(opened, (facts.kind, facts.algorithm), begin, passphrase)?;
            let events = vec![self.event(EventKind::KeyMade, &made).because("successor_of_revoked")];
            let changes = vec![KeyChange::Add(made.clone(), text)];
            let outcome = if rest.is_empty() { Successor::AtOnce(made) } else { Successor::Later(made) };
            Ok(Plan { changes, events, outcome })
        })
        .await
    }

    /// Takes the key out of the ring for ever: out of the key set, and its tokens are refused. Whatever else is wrong with the
    /// ring is no obstacle. What it was.
    ///
    /// # Errors
    /// [`KeysError::NotFound`], [`KeysError::Revoked`].
    pub async fn revoke(&self, kid: &str) -> Result<KeyFacts, KeysError> {
        for _ in 0..ATTEMPTS {
            // The records alone: no key has to be opened to be revoked, so no passphrase is needed.
            let records = self.store.read().await.map_err(|error| self.failed(error))?;
            let facts = find(&records, kid)?;
            let changes = vec![KeyChange::Revoke(facts.clone(), self.clock.now())];
            let events = vec![self.event(EventKind::KeyRevoked, &facts)];
            if self.carry_out(&records.version, &changes, events).await? {
                return Ok(facts);
            }
        }
        Err(KeysError::Busy)
    }
}

fn find(records: &KeyRecords, kid: &str) -> Result<KeyFacts, KeysError> {
    if records.revoked.iter().any(|dead| dead.facts.kid == kid) {
        return Err(KeysError::Revoked(kid.to_owned()));
    }
    let found = records.keys.iter().find(|key| key.facts.kid == kid);
    found.map(|key| key.facts.clone()).ok_or_else(|| KeysError::NotFound(kid.to_owned()))
}
