//! Client places, and the guarantees for spent tokens that another place sends.

use super::{
    oracle::Outcome,
    plan::Command,
    play::{Event, Record},
    rng::Rng,
};

/// Limit of repeats for a generation to clients that differ in one property.
const LIMIT: usize = 3;

/// Address and `User-Agent` of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Address and `User-Agent` of the owner.
    Home,
    /// The owner's `User-Agent`, in another network.
    OtherAddress,
    /// Another `User-Agent`, in that other network.
    Elsewhere,
}

impl Place {
    pub fn new(rng: &mut Rng, without_revocations: bool) -> Self {
        match rng.below(10) {
            0 | 1 => Self::OtherAddress,
            2 if !without_revocations => Self::Elsewhere,
            _ => Self::Home,
        }
    }

    /// Returns the address and the `User-Agent`.
    pub const fn client(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Home => ("127.0.0.1", None),
            Self::OtherAddress => ("127.0.0.9", None),
            Self::Elsewhere => ("127.0.0.9", Some("curl/8")),
        }
    }

    /// Number of properties in which two clients differ.
    fn apart(self, other: Self) -> usize {
        let (one, other) = (self.client(), other.client());
        usize::from(one.0 != other.0) + usize::from(one.1 != other.1)
    }
}

impl Event {
    /// Generation of the refresh token in the request.
    fn presented_generation(&self) -> Option<u32> {
        match self.what {
            Command::Refresh { generation, .. }
            | Command::LogOut { generation }
            | Command::VerifyRefresh { generation } => Some(generation),
            Command::RevokeAll | Command::VerifyAccess => None,
        }
    }

    fn refreshes(&self, generation: u32) -> bool {
        matches!(self.what, Command::Refresh { generation: presented, .. } if presented == generation)
    }
}

impl Record {
    /// Returns the possible places of the rotation of this generation.
    fn rotators(&self, generation: u32) -> Vec<Place> {
        if generation < self.plan.generation {
            return vec![Place::Home];
        }
        self.events
            .iter()
            .filter(|event| event.refreshes(generation))
            .map(|event| event.place)
            .collect()
    }

    /// Returns the places of clients that may hold the newest token when one of this generation is
    /// spent.
    fn holders(&self, generation: u32) -> Vec<Place> {
        let before = (generation < self.plan.generation).then_some(Place::Home);
        let later = |event: &&Event| matches!(event.what, Command::Refresh { generation: of, .. } if of >= generation);
        before
            .into_iter()
            .chain(self.events.iter().filter(later).map(|event| event.place))
            .collect()
    }

    /// True if the place of a client may have revoked the session.
    pub fn reuse_by_place(&self) -> bool {
        let elsewhere = |event: &Event| {
            event
                .presented_generation()
                .is_some_and(|presented_generation| {
                    self.holders(presented_generation)
                        .iter()
                        .any(|holder| holder.apart(event.place) == 2)
                })
        };
        let beyond_limit = |event: &Event| {
            let Command::Refresh { generation, .. } = event.what else {
                return false;
            };
            self.rotators(generation).iter().any(|rotator| {
                let others = self
                    .events
                    .iter()
                    .filter(|event| event.refreshes(generation));
                others
                    .filter(|event| event.place.apart(*rotator) == 1)
                    .count()
                    > LIMIT
            })
        };
        self.events
            .iter()
            .any(|event| elsewhere(event) || beyond_limit(event))
    }

    /// True if a client from elsewhere was refused.
    pub fn other_client_was_refused(&self) -> bool {
        let refused = |event: &Event| {
            event
                .answer
                .as_ref()
                .is_some_and(|(_, answer)| answer.status >= 400)
        };
        self.events.iter().any(|event| {
            event.place == Place::Elsewhere
                && event.presented_generation().is_some()
                && refused(event)
        })
    }

    /// Returns the violated guarantees about places.
    pub fn judge_places(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = Vec::new();
        for generation in 0..=outcome.generation {
            let given = |event: &&Event| {
                event.refreshes(generation)
                    && event
                        .answer
                        .as_ref()
                        .is_some_and(|(_, answer)| answer.status == 200)
            };
            let given: Vec<Place> = self
                .events
                .iter()
                .filter(given)
                .map(|event| event.place)
                .collect();
            let explains = |rotator: &Place| {
                let apart = |by: usize| {
                    given
                        .iter()
                        .filter(|place| place.apart(*rotator) == by)
                        .count()
                };
                apart(2) == 0 && apart(1) <= LIMIT
            };
            if !given.is_empty() && !self.rotators(generation).iter().any(explains) {
                wrong.push(format!(
                    "too many clients received the successor of generation {generation}: {given:?}"
                ));
            }
        }
        for event in &self.events {
            let (Command::VerifyRefresh { generation }, Some((_, answer))) =
                (event.what, &event.answer)
            else {
                continue;
            };
            let holders = self.holders(generation);
            let elsewhere =
                !holders.is_empty() && holders.iter().all(|holder| holder.apart(event.place) == 2);
            if elsewhere && answer.status == 400 && !outcome.dead() {
                wrong.push(format!(
                    "the session is live after a verification of a spent token from elsewhere: {event:?}"
                ));
            }
        }
        wrong
    }
}
