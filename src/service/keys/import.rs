//! A key that was made elsewhere.

use latchkey_verifier::{Algorithm, Kind};

use super::{KeyManager, KeysError, Plan, make::Begin};
use crate::{
    crypto::{
        key_import,
        passphrase::Passphrase,
        signing_key::{MaterialError, SigningKey},
    },
    domain::{audit::EventKind, keys::KeyFacts},
    ports::KeyChange,
};

/// A key to be taken in.
pub struct Import<'a> {
    /// What its file holds.
    pub bytes: &'a [u8],
    /// What it is encrypted with.
    pub passphrase: Option<Passphrase>,
    /// What it is to be used with; the usual one for such a key if it is not said.
    pub algorithm: Option<Algorithm>,
    /// The kind of token that it is to sign.
    pub kind: Kind,
    /// Without waiting for verifiers that cache the key set: they may know it already.
    pub now: bool,
}

impl KeyManager {
    /// Takes the key into the ring.
    ///
    /// # Errors
    /// [`KeysError::Material`], [`KeysError::Known`], [`KeysError::Revoked`].
    pub async fn import(&self, import: &Import<'_>) -> Result<KeyFacts, KeysError> {
        let algorithm = match (import.kind, import.algorithm) {
            (Kind::Refresh, None | Some(Algorithm::Hs256)) => Some(Algorithm::Hs256),
            (Kind::Refresh, Some(_)) => return Err(KeysError::NotForRefresh),
            (Kind::Access, algorithm) => algorithm,
        };
        // A key of our own was encrypted like the others.
        let passphrases: Vec<Passphrase> = import.passphrase.clone().into_iter().chain(self.passphrase()?).collect();
        let (algorithm, contents) = key_import::read(import.bytes, algorithm, &passphrases)?;
        let begin = if import.now { Begin::AtOnce } else { Begin::AfterLead };
        self.change(|opened, passphrase| {
            Self::room(&opened.records)?;
            self.protected(passphrase)?;
            let (key, text) = SigningKey::keep(algorithm, import.kind, &contents, passphrase)?;
            let kid = key.kid().to_owned();
            if opened.ring.find(&kid).is_some() {
                return Err(KeysError::Known(kid));
            }
            if opened.records.revoked.iter().any(|dead| dead.facts.kid == kid) {
                return Err(KeysError::Revoked(kid));
            }
            key.verifying_key().map_err(|_| MaterialError::NotForAlgorithm(algorithm))?;
            let signs_from = self.begins(&opened.records, import.kind, begin);
            let facts = KeyFacts { kid, kind: import.kind, algorithm, signs_from };
            let events = vec![self.event(EventKind::KeyMade, &facts).because("imported")];
            Ok(Plan { changes: vec![KeyChange::Add(facts.clone(), text)], events, outcome: facts })
        })
        .await
    }
}
