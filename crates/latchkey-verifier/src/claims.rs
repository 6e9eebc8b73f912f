//! The claims of a token whose signature was checked.

use serde_json::Value;

use crate::{
    Policy, VerifyError,
    claims_set::{ClaimsSet, Member},
};

/// Seconds since 1970-01-01 (RFC 7519's `NumericDate`, cut to whole seconds).
pub type Seconds = i64;

/// The end of the year 9999: a date beyond it is a mistake, not a plan.
const LATEST: f64 = 253_402_300_799.0;

/// A claims set: a JSON object of unique members (RFC 7519, section 4).
#[derive(Clone, Debug)]
pub struct Claims(ClaimsSet);

/// The same claims, whatever their order.
impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        // No name stands twice, so of as many claims as the other has, each is one of the other's.
        self.0.len() == other.0.len()
            && self
                .members()
                .all(|(name, value)| other.get(name).as_ref() == Some(&value))
    }
}

impl Claims {
    pub(crate) const fn new(members: ClaimsSet) -> Self {
        Self(members)
    }

    /// The claim of this name, of any type. It is made for this call: where a claim is text or a number,
    /// [`text`](Self::text) and [`number`](Self::number) cost less.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(Member::to_value)
    }

    /// Whether there is a claim of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// The claim of this name if it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Member::Text(text) => Some(text),
            Member::Number(_) | Member::Other(_) => None,
        }
    }

    /// The claim of this name if it is a whole number that is not negative.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Member::Number(number) => number.as_u64(),
            Member::Other(_) | Member::Text(_) => None,
        }
    }

    /// Whom the token is about (`sub`).
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// When the token ends. `None` when it does not say.
    #[must_use]
    pub fn expires_at(&self) -> Option<Seconds> {
        match self.0.get("exp")? {
            Member::Number(number) => number.as_f64().map(whole),
            Member::Other(_) | Member::Text(_) => None,
        }
    }

    /// All of them with their names, in the token's order.
    pub fn members(&self) -> impl Iterator<Item = (&str, Value)> {
        self.0
            .iter()
            .map(|(name, member)| (name, member.to_value()))
    }

    /// `iat`, `nbf`, `exp` against `now`, in `PyJWT`'s order. An ill-typed date is a refusal, never "not there".
    pub(crate) fn check_times(&self, now: Seconds, leeway: u32) -> Result<(), VerifyError> {
        let leeway = Seconds::from(leeway);
        for (name, tolerance) in [("iat", leeway.max(SKEW)), ("nbf", leeway)] {
            if self
                .date(name)?
                .is_some_and(|date| date > now.saturating_add(tolerance))
            {
                return Err(VerifyError::NotYetValid);
            }
        }
        // Python reads `true` as 1, a moment long past: simplejwt answers "expired", so `exp` does here.
        if matches!(self.0.get("exp"), Some(Member::Other(Value::Bool(_)))) {
            return Err(VerifyError::Expired);
        }
        match self.date("exp")? {
            Some(exp) if exp <= now.saturating_sub(leeway) => Err(VerifyError::Expired),
            _ => Ok(()),
        }
    }

    /// `iss` and `aud` (RFC 7519, sections 4.1.1 and 4.1.3), and the types of the claims that identify.
    pub(crate) fn check_parties(
        &self,
        policy: &Policy,
        audience: Option<&str>,
    ) -> Result<(), VerifyError> {
        if self.text("iss") != Some(&policy.issuer) {
            return Err(VerifyError::Issuer);
        }
        if audience.is_some_and(|audience| !self.names_audience(audience)) {
            return Err(VerifyError::Audience);
        }
        if self.is_no_text("sub") {
            return Err(VerifyError::Claim("sub"));
        }
        if self.is_no_text(&policy.names.jti) {
            return Err(VerifyError::Claim("jti"));
        }
        Ok(())
    }

    /// Whether the claim is there, and is something else than text.
    fn is_no_text(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Member::Number(_) | Member::Other(_)))
    }

    fn names_audience(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Member::Text(one)) => one == audience,
            Some(Member::Other(Value::Array(several))) => {
                several.iter().all(Value::is_string)
                    && several.iter().any(|one| one.as_str() == Some(audience))
            }
            _ => false,
        }
    }

    fn date(&self, name: &'static str) -> Result<Option<Seconds>, VerifyError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Member::Number(number)) => match number.as_f64() {
                Some(date) if date <= LATEST => Ok(Some(whole(date))),
                _ => Err(VerifyError::Claim(name)),
            },
            Some(_) => Err(VerifyError::Claim(name)),
        }
    }
}

/// By how many seconds `iat` may lie ahead whatever the leeway. Dates are whole seconds: of two machines that differ by a
/// hundredth of one, the one behind would refuse one token in a hundred that the other has just signed.
const SKEW: Seconds = 2;

/// Towards zero, as Python's `int` does. A float cast saturates, so even a wild negative is only "long ago".
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by LATEST above, saturating below"
)]
fn whole(date: f64) -> Seconds {
    date as Seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        Claims::new(ClaimsSet::parse(text.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn claims_are_the_same_whatever_their_order() {
        let one = claims(r#"{"sub":"ada","n":{"a":1,"b":2}}"#);
        assert_eq!(one, claims(r#"{"n":{"b":2,"a":1},"sub":"ada"}"#));
        for other in [
            r#"{"sub":"ada"}"#,
            r#"{"sub":"ada","n":{"a":1,"b":3}}"#,
            r#"{"sub":"ada","m":{"a":1,"b":2}}"#,
            r#"{"sub":"ada","n":{"a":1,"b":2},"m":1}"#,
        ] {
            assert_ne!(one, claims(other));
            assert_ne!(claims(other), one);
        }
    }

    #[test]
    fn the_members_come_in_the_tokens_order() {
        let claims = claims(r#"{"z":1,"exp":2,"a":3}"#);
        assert_eq!(
            claims.members().map(|(name, _)| name).collect::<Vec<_>>(),
            ["z", "exp", "a"]
        );
    }
}
