//! Checks of a token, in their order.

use std::sync::{Arc, OnceLock};

use crate::{
    Claims, KeySet, Kind, Policy, Seconds, VerifyError, VerifyingKey, claims_set::ClaimsSet,
    compact::Compact, header::Header,
};

/// Number of cached headers. It suffices for the keys that sign and those that signed recently.
const HEADER_CACHE_CAPACITY: usize = 8;

/// Verifier with keys and a policy. It can be shared behind an `Arc`, and verification never
/// blocks.
pub struct Verifier {
    keys: KeySet,
    policy: Policy,
    /// Cache of headers. All tokens of a key have the same header, so it is parsed once and then
    /// compared.
    headers: [OnceLock<HeaderCache>; HEADER_CACHE_CAPACITY],
}

/// Header of a token with a valid signature and the expected type.
struct HeaderCache {
    header: Box<str>,
    kid: Arc<str>,
    key: VerifyingKey,
}

/// Token with a verified format, key, signature and type. These do not depend on the time, so the
/// value may be cached under the token's hash. The times must be checked at each use, with
/// [`Verifier::check_claims`].
#[derive(Clone, Debug)]
pub struct Signed {
    claims: Claims,
    kid: Arc<str>,
    kind: Kind,
}

/// Token with a verified signature, times, issuer and audience. Required claims are checked
/// separately with [`Checked::require`], because the server queries its blacklist in between, as
/// simplejwt does.
#[derive(Clone, Debug)]
pub struct Checked(Arc<Signed>);

impl Verifier {
    /// Returns a verifier for tokens signed with `keys`.
    #[must_use]
    pub fn new(keys: KeySet, policy: Policy) -> Self {
        Self {
            keys,
            policy,
            headers: Default::default(),
        }
    }

    /// Returns the policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Verifies an access token at the time `now`, in seconds since 1970, and returns its claims
    /// (RFC 9068, section 4).
    ///
    /// # Errors
    /// The first [`VerifyError`].
    pub fn verify_access(&self, token: &str, now: Seconds) -> Result<Claims, VerifyError> {
        let checked = self.check(token, now)?;
        checked.require(Kind::Access, &self.policy)?;
        Ok(Arc::unwrap_or_clone(checked.0).claims)
    }

    /// Checks format, key, signature, times, issuer and audience, in this order. No claim is read
    /// before the signature is verified (RFC 7515, section 5.2). The key with the header's `kid`
    /// determines the algorithm and the kind.
    ///
    /// # Errors
    /// The first [`VerifyError`].
    pub fn check(&self, token: &str, now: Seconds) -> Result<Checked, VerifyError> {
        self.check_claims(Arc::new(self.check_signature(token)?), now)
    }

    /// Performs the part of [`check`](Self::check) that does not depend on the time.
    ///
    /// # Errors
    /// The first [`VerifyError`].
    pub fn check_signature(&self, token: &str) -> Result<Signed, VerifyError> {
        let compact = Compact::parse(token)?;
        let (kid, kind) = match self
            .cached_header()
            .find(|cached| *cached.header == *compact.header)
        {
            Some(HeaderCache { kid, key, .. })
                if key.verifies(&compact.signature, compact.signing_input) =>
            {
                (kid, key.kind)
            }
            Some(_) => return Err(VerifyError::Signature),
            None => self.check_full(&compact)?,
        };
        let claims = Claims::new(ClaimsSet::parse(compact.payload).ok_or(VerifyError::Malformed)?);
        Ok(Signed {
            claims,
            kid: Arc::clone(kid),
            kind,
        })
    }

    /// Checks header, key, signature and type, and caches the header.
    fn check_full(&self, compact: &Compact<'_>) -> Result<(&Arc<str>, Kind), VerifyError> {
        let header = compact.decoded_header()?;
        let header = Header::parse(&header)?;
        let (kid, key) = self.keys.find(&header.kid).ok_or(VerifyError::UnknownKey)?;
        if header.algorithm != key.algorithm {
            return Err(VerifyError::Algorithm);
        }
        if !key.verifies(&compact.signature, compact.signing_input) {
            return Err(VerifyError::Signature);
        }
        if header.typ.as_deref() != Some(self.policy.typ(key.kind)) {
            return Err(VerifyError::Typ);
        }
        let cached = || HeaderCache {
            header: compact.header.into(),
            kid: Arc::clone(kid),
            key: key.clone(),
        };
        // Takes the first free slot, unless another thread has cached the same header meanwhile.
        // Each header has one slot.
        let _ = self
            .headers
            .iter()
            .find(|slot| *slot.get_or_init(cached).header == *compact.header);
        Ok((kid, key.kind))
    }

    fn cached_header(&self) -> impl Iterator<Item = &HeaderCache> {
        self.headers.iter().map_while(OnceLock::get)
    }

    /// Performs the second part of [`check`](Self::check): times, issuer and audience.
    ///
    /// # Errors
    /// The first [`VerifyError`].
    pub fn check_claims(&self, signed: Arc<Signed>, now: Seconds) -> Result<Checked, VerifyError> {
        signed.claims.check_times(now, self.policy.leeway)?;
        signed
            .claims
            .check_parties(&self.policy, self.policy.audience(signed.kind))?;
        Ok(Checked(signed))
    }
}

impl Checked {
    /// Checks that the token has an expiry and an id, and that it is of this kind by its key and
    /// its claim. The order is that of simplejwt.
    ///
    /// # Errors
    /// [`VerifyError::MissingExpiry`], [`VerifyError::MissingId`], [`VerifyError::MissingType`],
    /// [`VerifyError::WrongType`].
    pub fn require(&self, kind: Kind, policy: &Policy) -> Result<(), VerifyError> {
        self.require_identity(policy)?;
        let (claims, name) = (&self.0.claims, &*policy.names.token_type);
        if !claims.contains(name) {
            return Err(VerifyError::MissingType);
        }
        if self.0.kind != kind || claims.text(name) != Some(kind.token_type()) {
            return Err(VerifyError::WrongType);
        }
        Ok(())
    }

    /// Checks that the token has an expiry and an id, the only required claims of simplejwt's
    /// verify view.
    ///
    /// # Errors
    /// [`VerifyError::MissingExpiry`], [`VerifyError::MissingId`].
    pub fn require_identity(&self, policy: &Policy) -> Result<(), VerifyError> {
        if !self.0.claims.contains("exp") {
            return Err(VerifyError::MissingExpiry);
        }
        if !self.0.claims.contains(&policy.names.jti) {
            return Err(VerifyError::MissingId);
        }
        Ok(())
    }

    /// Returns the claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// Returns the `kid` of the key that signed the token.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// Returns the kind of token, as determined by the key.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::Algorithm;

    const SECRET: [u8; 32] = [7; 32];

    fn token(kid: &str) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"{kid}"}}"#);
        let message = format!("{}.{}", encode(header.as_bytes()), encode(b"{}"));
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &SECRET),
            message.as_bytes(),
        );
        format!("{message}.{}", encode(mac.as_ref()))
    }

    #[test]
    fn header_has_one_slot_despite_concurrent_first_uses() {
        let mut keys = KeySet::new();
        for number in 0..10 {
            let key = VerifyingKey::from_secret(Algorithm::Hs256, Kind::Access, &SECRET).unwrap();
            keys.insert(&number.to_string(), key).unwrap();
        }
        let verifier = Verifier::new(keys, Policy::new("https://auth.example.com"));
        for number in 0..10 {
            let token = token(&number.to_string());
            // Simulates threads that have all missed the cache.
            for _ in 0..3 {
                let (kid, kind) = verifier
                    .check_full(&Compact::parse(&token).unwrap())
                    .unwrap();
                assert_eq!((&**kid, kind), (&*number.to_string(), Kind::Access));
            }
            assert_eq!(
                verifier.cached_header().count(),
                (number + 1).min(HEADER_CACHE_CAPACITY)
            );
        }
    }
}
