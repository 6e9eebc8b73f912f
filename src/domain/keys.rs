//! The life of a key. What a key does follows from the time alone, so that all instances that see one ring agree without
//! talking: it is published at once, signs from the moment in its record, and verifies until its successor has been
//! signing for as long as a token lives.

use chrono::TimeDelta;
use latchkey_verifier::{Algorithm, Kind};

use super::time::Moment;

/// Within this every instance has noticed that the ring changed: it looks once a second.
pub const PROPAGATION: TimeDelta = TimeDelta::seconds(5);

/// How much longer than its tokens a key is kept: the tolerance for clocks is at most a minute.
const MARGIN: TimeDelta = TimeDelta::minutes(2);

/// What is known of a key without its material.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyMetadata {
    /// The RFC 7638 thumbprint.
    pub kid: String,
    /// The kind of token that it signs.
    pub kind: Kind,
    /// The one algorithm that it is for.
    pub algorithm: Algorithm,
    /// From when on it signs, in whole seconds.
    pub signs_from: Moment,
}

/// How long tokens live at the longest, and so how long a key is needed after it has signed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MaxLifetimes {
    /// Of access tokens.
    pub access: TimeDelta,
    /// Of refresh tokens.
    pub refresh: TimeDelta,
}

impl MaxLifetimes {
    /// Of tokens of this kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> TimeDelta {
        match kind {
            Kind::Access => self.access,
            Kind::Refresh => self.refresh,
        }
    }

    /// The longer of both, each.
    #[must_use]
    pub fn longest(self, other: Self) -> Self {
        Self {
            access: self.access.max(other.access),
            refresh: self.refresh.max(other.refresh),
        }
    }
}

impl KeyMetadata {
    /// The order of a ring: who signs first comes first.
    #[must_use]
    pub fn order(&self) -> (Moment, &str) {
        (self.signs_from, &self.kid)
    }
}

/// What a key does at a moment, and until when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// In the key set, waiting for the verifiers to see it: signs from then on.
    Published(Moment),
    /// Signs, until its successor does if there is one.
    Signing(Option<Moment>),
    /// Signs no more; tokens that it signed may live until then.
    Verifying(Moment),
    /// All its tokens have expired.
    Prunable,
}

impl KeyState {
    /// The state in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published(_) => "published",
            Self::Signing(_) => "signing",
            Self::Verifying(_) => "verifying",
            Self::Prunable => "prunable",
        }
    }

    /// When the next state begins, if that is known.
    #[must_use]
    pub const fn until(self) -> Option<Moment> {
        match self {
            Self::Published(until) | Self::Verifying(until) => Some(until),
            Self::Signing(until) => until,
            Self::Prunable => None,
        }
    }
}

/// Which of the keys of one kind signs at `at`, given when each begins, in order: the newest that has begun. Where none
/// has, the first: it is the oldest that there is.
#[must_use]
pub fn signer(starts: &[Moment], at: Moment) -> Option<usize> {
    starts
        .iter()
        .rposition(|start| *start <= at)
        .or(if starts.is_empty() { None } else { Some(0) })
}

/// What the key at `index` does at `now`, where tokens live for `life` at the longest.
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

/// Whether it is time to make a successor of the newest key, so that it signs when the newest has signed for `interval`.
#[must_use]
pub fn is_due(newest: Moment, interval: TimeDelta, lead: TimeDelta, now: Moment) -> bool {
    saturating_add(now, lead) >= saturating_add(newest, interval)
}

/// Beyond the calendar is its end.
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
    fn a_key_is_published_signs_verifies_and_can_go() {
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
    fn where_no_key_has_begun_the_first_signs() {
        assert_eq!(signer(&[], at(0)), None);
        assert_eq!(signer(&[at(5), at(6)], at(0)), Some(0));
        assert_eq!(
            state(&[at(5), at(6)], 0, at(0), LIFE),
            KeyState::Signing(Some(at(6)))
        );
    }

    #[test]
    fn a_successor_is_made_so_early_that_it_signs_in_time() {
        let (interval, lead) = (TimeDelta::minutes(90), TimeDelta::minutes(15));
        assert!(!is_due(at(0), interval, lead, at(74)));
        assert!(is_due(at(0), interval, lead, at(75)));
        assert!(
            !is_due(at(0), TimeDelta::MAX, lead, at(1_000_000)),
            "never is beyond the calendar"
        );
    }

    proptest! {
        #[test]
        fn one_key_signs_and_none_goes_while_its_tokens_live(
            mut minutes in prop::collection::vec(0..200_i64, 1..8), now in 0..300_i64,
        ) {
            minutes.sort_unstable();
            let starts: Vec<Moment> = minutes.iter().map(|minute| at(*minute)).collect();
            let states: Vec<_> = (0..starts.len()).map(|index| state(&starts, index, at(now), LIFE)).collect();
            let signing = states.iter().filter(|state| matches!(state, KeyState::Signing(_))).count();
            prop_assert_eq!(signing, 1);
            // A token of any minute within the last LIFE is of a key that is still there.
            for minute in (now - 5)..=now {
                let signer = signer(&starts, at(minute)).unwrap();
                prop_assert!(states[signer] != KeyState::Prunable, "{:?} {:?}", starts, states);
            }
        }
    }
}
