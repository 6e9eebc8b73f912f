//! The checks, in order.

use std::sync::{Arc, OnceLock};

use crate::{
    Claims, KeySet, Kind, Policy, Seconds, VerifyError, VerifyingKey, claims_set::ClaimsSet,
    compact::Compact, header::Header,
};

/// The headers of so many keys are remembered: of those that sign, and of those that did until lately.
const HEADER_CACHE_CAPACITY: usize = 8;

/// Keys and a policy. Cheap to share behind an `Arc`; checking takes `&self` and never blocks.
pub struct Verifier {
    keys: KeySet,
    policy: Policy,
    /// The tokens that a key signs have one header: read once, then compared.
    usual: [OnceLock<HeaderCache>; HEADER_CACHE_CAPACITY],
}

/// A header that stood in a token whose signature held, and that says of it what it should.
struct HeaderCache {
    header: Box<str>,
    kid: Arc<str>,
    key: VerifyingKey,
}

/// A token of ours: form, key, signature and type hold, and will hold tomorrow. Whether its time has come and is not
/// over is to be asked each time, with [`Verifier::check_claims`]; so this may be kept beside the token's hash.
#[derive(Clone, Debug)]
pub struct Signed {
    claims: Claims,
    kid: Arc<str>,
    kind: Kind,
}

/// A token of ours whose signature, times, issuer and audience hold. What must be there is still to be asked for
/// with [`Checked::require`]: the server looks at its blacklist in between, as simplejwt does.
#[derive(Clone, Debug)]
pub struct Checked(Arc<Signed>);

impl Verifier {
    /// A verifier of the tokens that `keys` signed.
    #[must_use]
    pub fn new(keys: KeySet, policy: Policy) -> Self {
        Self {
            keys,
            policy,
            usual: Default::default(),
        }
    }

    /// The policy that it was made with.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The claims of an access token that is valid at `now` (RFC 9068, section 4).
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn verify_access(&self, token: &str, now: Seconds) -> Result<Claims, VerifyError> {
        let checked = self.check(token, now)?;
        checked.require(Kind::Access, &self.policy)?;
        Ok(Arc::unwrap_or_clone(checked.0).claims)
    }

    /// Form, key, signature, times, issuer and audience, in this order: no claim is looked at before the signature
    /// holds (RFC 7515, section 5.2). The key that the `kid` names decides on algorithm and kind.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn check(&self, token: &str, now: Seconds) -> Result<Checked, VerifyError> {
        self.check_claims(Arc::new(self.check_signature(token)?), now)
    }

    /// The first half of [`check`](Self::check): what does not depend on the time.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn check_signature(&self, token: &str) -> Result<Signed, VerifyError> {
        let compact = Compact::parse(token)?;
        let (kid, kind) = match self
            .cached_header()
            .find(|usual| *usual.header == *compact.header)
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

    /// Header, key, signature and type, and that the header is known from now on.
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
        let usual = || HeaderCache {
            header: compact.header.into(),
            kid: Arc::clone(kid),
            key: key.clone(),
        };
        // The first free place, unless another thread was faster with the same header: each has one place.
        let _ = self
            .usual
            .iter()
            .find(|place| *place.get_or_init(usual).header == *compact.header);
        Ok((kid, key.kind))
    }

    fn cached_header(&self) -> impl Iterator<Item = &HeaderCache> {
        self.usual.iter().map_while(OnceLock::get)
    }

    /// The second half of [`check`](Self::check): times, issuer and audience.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn check_claims(&self, signed: Arc<Signed>, now: Seconds) -> Result<Checked, VerifyError> {
        signed.claims.check_times(now, self.policy.leeway)?;
        signed
            .claims
            .check_parties(&self.policy, self.policy.audience(signed.kind))?;
        Ok(Checked(signed))
    }
}

impl Checked {
    /// That the token ends, has an id, and is of this kind by its key and by its claim, in simplejwt's order.
    ///
    /// # Errors
    /// [`Refusal::MissingExpiry`], [`Refusal::MissingId`], [`Refusal::MissingType`], [`Refusal::WrongType`].
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

    /// That the token ends and has an id: all that simplejwt's verify view asks for.
    ///
    /// # Errors
    /// [`Refusal::MissingExpiry`], [`Refusal::MissingId`].
    pub fn require_identity(&self, policy: &Policy) -> Result<(), VerifyError> {
        if !self.0.claims.contains("exp") {
            return Err(VerifyError::MissingExpiry);
        }
        if !self.0.claims.contains(&policy.names.jti) {
            return Err(VerifyError::MissingId);
        }
        Ok(())
    }

    /// The claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// The key that signed.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// What the key says that the token is.
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
    fn a_header_has_one_place_also_if_several_threads_read_it_for_the_first_time() {
        let mut keys = KeySet::new();
        for number in 0..10 {
            let key = VerifyingKey::from_secret(Algorithm::Hs256, Kind::Access, &SECRET).unwrap();
            keys.insert(&number.to_string(), key).unwrap();
        }
        let verifier = Verifier::new(keys, Policy::new("https://auth.example.com"));
        for number in 0..10 {
            let token = token(&number.to_string());
            // As threads do that have all found nothing.
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
