//! Life cycle of a key. A new key is published at once. It signs from the time in its record, and
//! verifies until its successor has been signing for the lifetime of a token.
//!
//! The state follows from the time alone, so all instances with the same key ring agree without
//! communication.

use chrono::TimeDelta;
use latchkey_verifier::{Algorithm, Kind};

use super::time::Moment;

/// Time within which every instance has read a change of the key ring. Each reads it once a second.
pub const PROPAGATION: TimeDelta = TimeDelta::seconds(5);

/// Additional time for which a key is kept after its last token. The tolerance for clocks is at
/// most one minute.
const MARGIN: TimeDelta = TimeDelta::minutes(2);

/// Properties of a key without its material.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyMetadata {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// Kind of tokens that the key signs.
    pub kind: Kind,
    /// Signature algorithm.
    pub algorithm: Algorithm,
    /// Start of signing, in whole seconds.
    pub signs_from: Moment,
}

/// Maximum lifetimes of tokens. They determine how long a key is needed after its last signature.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MaxLifetimes {
    /// Access tokens.
    pub access: TimeDelta,
    /// Refresh tokens.
    pub refresh: TimeDelta,
}

impl MaxLifetimes {
    /// Returns the maximum lifetime of tokens of this kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> TimeDelta {
        match kind {
            Kind::Access => self.access,
            Kind::Refresh => self.refresh,
        }
    }

    /// Returns the longer lifetime for each kind.
    #[must_use]
    pub fn longest(self, other: Self) -> Self {
        Self {
            access: self.access.max(other.access),
            refresh: self.refresh.max(other.refresh),
        }
    }
}

impl KeyMetadata {
    /// Returns the sort key of a key ring: the start of signing, then the `kid`.
    #[must_use]
    pub fn order(&self) -> (Moment, &str) {
        (self.signs_from, &self.kid)
    }
}

/// State of a key, with the time of its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// In the key set, but not signing until this time.
    Published(Moment),
    /// Signing until this time, if it has a successor.
    Signing(Option<Moment>),
    /// No longer signing. Its tokens may be valid until this time.
    Verifying(Moment),
    /// No longer needed, because all its tokens have expired.
    Prunable,
}

impl KeyState {
    /// Returns the label of the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published(_) => "published",
            Self::Signing(_) => "signing",
            Self::Verifying(_) => "verifying",
            Self::Prunable => "prunable",
        }
    }

    /// Returns the start of the next state, if known.
    #[must_use]
    pub const fn until(self) -> Option<Moment> {
        match self {
            Self::Published(until) | Self::Verifying(until) => Some(until),
            Self::Signing(until) => until,
            Self::Prunable => None,
        }
    }
}

/// Returns the index of the key of one kind that signs at `at`, from the sorted starts of signing.
/// It is the newest key that has started, or the first if none has.
#[must_use]
pub fn signer(starts: &[Moment], at: Moment) -> Option<usize> {
    starts
        .iter()
        .rposition(|start| *start <= at)
        .or(if starts.is_empty() { None } else { Some(0) })
}

/// Returns the state at `now` of the key at `index`. `life` is the maximum lifetime of tokens.
#[must_use]
pub fn state(starts: &[Moment], index: usize, now: Moment, life: TimeDelta) -> KeyState {
    let signer = signer(starts, now).unwrap_or_default();
    let next = starts.get(index + 1).copied();
    match (index.cmp(&signer), next) {
        (std::cmp::Ordering::Greater, _) => {
            KeyState::Published(starts.get(index).copied().unwrap_or(now))
        }
        (std::cmp::Ordering::Equal, next) => KeyState::Signing(next),
        (std::cmp::Ordering::Less, next) => {
            match saturating_add(next.unwrap_or(now), life + MARGIN) {
                until if until > now => KeyState::Verifying(until),
                _ => KeyState::Prunable,
            }
        }
    }
}

/// Returns true if the successor of the newest key must be created now, so that it signs after
/// `interval`.
#[must_use]
pub fn is_due(newest: Moment, interval: TimeDelta, lead: TimeDelta, now: Moment) -> bool {
    saturating_add(now, lead) >= saturating_add(newest, interval)
}

/// Adds `span` to `moment`, limited to the largest representable time.
#[must_use]
pub fn saturating_add(moment: Moment, span: TimeDelta) -> Moment {
    moment.checked_add_signed(span).unwrap_or(Moment::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFE: TimeDelta = TimeDelta::minutes(5);

    fn at(minutes: i64) -> Moment {
        Moment::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
    }

    #[test]
    fn key_passes_through_all_states() {
        let starts = [at(0), at(15)];
        let states = |now| [state(&starts, 0, now, LIFE), state(&starts, 1, now, LIFE)];
        assert_eq!(
            states(at(3)),
            [KeyState::Signing(Some(at(15))), KeyState::Published(at(15))]
        );
        assert_eq!(
            states(at(15)),
            [KeyState::Verifying(at(22)), KeyState::Signing(None)]
        );
        assert_eq!(
            states(at(22)),
            [KeyState::Prunable, KeyState::Signing(None)]
        );
    }

    #[test]
    fn first_key_signs_before_any_start() {
        assert_eq!(signer(&[], at(0)), None);
        assert_eq!(signer(&[at(5), at(6)], at(0)), Some(0));
        assert_eq!(
            state(&[at(5), at(6)], 0, at(0), LIFE),
            KeyState::Signing(Some(at(6)))
        );
    }

    #[test]
    fn successor_is_due_one_lead_before_the_interval_ends() {
        let (interval, lead) = (TimeDelta::minutes(90), TimeDelta::minutes(15));
        assert!(!is_due(at(0), interval, lead, at(74)));
        assert!(is_due(at(0), interval, lead, at(75)));
        assert!(
            !is_due(at(0), TimeDelta::MAX, lead, at(1_000_000)),
            "an infinite interval is never due"
        );
    }

    proptest! {
        #[test]
        fn one_key_signs_and_no_needed_key_is_prunable(
            mut minutes in prop::collection::vec(0..200_i64, 1..8), now in 0..300_i64,
        ) {
            minutes.sort_unstable();
            let starts: Vec<Moment> = minutes.iter().map(|minute| at(*minute)).collect();
            let states: Vec<_> = (0..starts.len()).map(|index| state(&starts, index, at(now), LIFE)).collect();
            let signing = states.iter().filter(|state| matches!(state, KeyState::Signing(_))).count();
            prop_assert_eq!(signing, 1);
            // The signer of each token within the last LIFE must not be prunable.
            for minute in (now - 5)..=now {
                let signer = signer(&starts, at(minute)).unwrap();
                prop_assert!(states[signer] != KeyState::Prunable, "{:?} {:?}", starts, states);
            }
        }
    }
}
