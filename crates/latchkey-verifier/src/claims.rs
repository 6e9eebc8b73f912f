//! Claims of a token with a verified signature.

use serde_json::Value;

use crate::{
    Policy, VerifyError,
    claims_set::{ClaimsSet, Member},
};

/// Seconds since 1970-01-01 (RFC 7519's `NumericDate`, truncated to whole seconds).
pub type Seconds = i64;

/// End of the year 9999. A later date is considered an error.
const MAX_DATE: f64 = 253_402_300_799.0;

/// Claims set: a JSON object with unique member names (RFC 7519, section 4).
#[derive(Clone, Debug)]
pub struct Claims(ClaimsSet);

/// Equality regardless of the order of the claims.
impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        // Names are unique, so with equal lengths it suffices that `other` has each claim.
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

    /// Returns the claim with this name, of any type. It creates a new value: for strings and
    /// numbers, [`text`](Self::text) and [`number`](Self::number) are cheaper.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(Member::to_value)
    }

    /// Returns true if there is a claim with this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// Returns the claim with this name if it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Member::Text(text) => Some(text),
            Member::Number(_) | Member::Other(_) => None,
        }
    }

    /// Returns the claim with this name if it is a non-negative integer.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Member::Number(number) => number.as_u64(),
            Member::Other(_) | Member::Text(_) => None,
        }
    }

    /// Returns the subject of the token (`sub`).
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// Returns the expiry of the token (`exp`), or `None` if it has none.
    #[must_use]
    pub fn expires_at(&self) -> Option<Seconds> {
        match self.0.get("exp")? {
            Member::Number(number) => number.as_f64().map(whole),
            Member::Other(_) | Member::Text(_) => None,
        }
    }

    /// Returns all claims with their names, in the order of the token.
    pub fn members(&self) -> impl Iterator<Item = (&str, Value)> {
        self.0
            .iter()
            .map(|(name, member)| (name, member.to_value()))
    }

    /// Checks `iat`, `nbf` and `exp` against `now`, in the order of `PyJWT`. A date of the wrong
    /// type is an error, not a missing claim.
    pub(crate) fn check_times(&self, now: Seconds, leeway: u32) -> Result<(), VerifyError> {
        let leeway = Seconds::from(leeway);
        for (name, tolerance) in [("iat", leeway.max(MAX_CLOCK_SKEW)), ("nbf", leeway)] {
            if self
                .date(name)?
                .is_some_and(|date| date > now.saturating_add(tolerance))
            {
                return Err(VerifyError::NotYetValid);
            }
        }
        // Python treats `true` as 1, a time in the past, so simplejwt reports an expired token.
        if matches!(self.0.get("exp"), Some(Member::Other(Value::Bool(_)))) {
            return Err(VerifyError::Expired);
        }
        match self.date("exp")? {
            Some(exp) if exp <= now.saturating_sub(leeway) => Err(VerifyError::Expired),
            _ => Ok(()),
        }
    }

    /// Checks `iss` and `aud` (RFC 7519, sections 4.1.1 and 4.1.3), and the types of the
    /// identifying claims.
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
        if self.is_not_text("sub") {
            return Err(VerifyError::Claim("sub"));
        }
        if self.is_not_text(&policy.names.jti) {
            return Err(VerifyError::Claim("jti"));
        }
        Ok(())
    }

    /// Returns true if there is a claim with this name that is not a string.
    fn is_not_text(&self, name: &str) -> bool {
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
                Some(date) if date <= MAX_DATE => Ok(Some(whole(date))),
                _ => Err(VerifyError::Claim(name)),
            },
            Some(_) => Err(VerifyError::Claim(name)),
        }
    }
}

/// Tolerance for `iat` in seconds, even without leeway. Dates are whole seconds: if two clocks
/// differ by a hundredth of a second, the machine behind would refuse one of a hundred tokens that
/// the other has just signed.
const MAX_CLOCK_SKEW: Seconds = 2;

/// Truncates towards zero, like Python's `int`. A float cast saturates, so a large negative number
/// is a time in the past.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by MAX_DATE above, saturating below"
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
    fn claims_are_equal_in_any_order() {
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
    fn members_have_the_order_of_the_token() {
        let claims = claims(r#"{"z":1,"exp":2,"a":3}"#);
        assert_eq!(
            claims.members().map(|(name, _)| name).collect::<Vec<_>>(),
            ["z", "exp", "a"]
        );
    }
}
