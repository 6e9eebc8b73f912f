//! Change of the passphrase.

use secrecy::ExposeSecret as _;

use super::{ATTEMPTS, KeyManager, KeysError, Opened, Plan, ensure_usable};
use latchkey_crypto::{
    key_pem, key_ring::KeyRing, passphrase::Passphrase, signing_key::SigningKey,
};
use latchkey_domain::{
    audit::{AuditEvent, EventKind},
    ports::KeyChange,
};

impl KeyManager {
    /// Encrypts all keys with `new`, or stores them unencrypted if it is `None`. Returns the
    /// number of keys. Keys that are encrypted with `new` already are accepted, so that an
    /// interrupted change can be repeated.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn rewrap(&self, new: Option<&Passphrase>) -> Result<usize, KeysError> {
        if new.is_none() && self.store.wants_encryption() {
            return Err(KeysError::Unprotected);
        }
        let passphrases: Vec<Passphrase> = self
            .passphrase_to_open()?
            .into_iter()
            .chain(new.cloned())
            .collect();
        for _ in 0..ATTEMPTS {
            let opened = self
                .opened_with(self.read().await?, passphrases.clone(), &KeyRing::default())
                .await?;
            ensure_usable(&opened.wrong)?;
            let plan = self.rewrapped(&opened, &passphrases, new)?;
            if let Some(count) = self.attempt(&opened.records, plan).await? {
                return Ok(count);
            }
        }
        Err(KeysError::Busy)
    }

    fn rewrapped(
        &self,
        opened: &Opened,
        passphrases: &[Passphrase],
        new: Option<&Passphrase>,
    ) -> Result<Plan<usize>, KeysError> {
        let mut changes = Vec::new();
        for record in &opened.records.keys {
            let facts = &record.facts;
            let (_, contents) = SigningKey::open(facts, &record.text, passphrases)?;
            let (_, text) = SigningKey::keep(facts.algorithm, facts.kind, &contents, new)?;
            let by_hand = key_pem::has_successor_by_hand(record.text.expose_secret());
            let text = if by_hand {
                key_pem::with_successor_by_hand(&text)
            } else {
                text
            };
            changes.push(KeyChange::Rewrap(facts.clone(), text));
        }
        let outcome = changes.len();
        let event = AuditEvent::new(
            self.clock.now(),
            EventKind::KeysRewrapped,
            self.actor.clone(),
        );
        Ok(Plan {
            changes,
            events: vec![event.with("keys", outcome.to_string())],
            outcome,
        })
    }
}
