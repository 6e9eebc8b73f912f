//! The places that send requests, and the promises about a token that was spent from another place.

use super::{
    chance::Chance,
    oracle::Left,
    plan::What,
    play::{Event, Record},
};

/// The repeats of a generation for clients that differ in one respect.
const LIMIT: usize = 3;

/// The address and the `User-Agent` of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The owner's.
    Home,
    /// The owner's `User-Agent`, in another network.
    OtherAddress,
    /// Another `User-Agent`, in that other network.
    Elsewhere,
}

impl Place {
    pub fn new(chance: &mut Chance, peaceful: bool) -> Self {
        match chance.below(10) {
            0 | 1 => Self::OtherAddress,
            2 if !peaceful => Self::Elsewhere,
            _ => Self::Home,
        }
    }

    /// The address and the `User-Agent`.
    pub const fn client(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Home => ("127.0.0.1", None),
            Self::OtherAddress => ("127.0.0.9", None),
            Self::Elsewhere => ("127.0.0.9", Some("curl/8")),
        }
    }

    /// The number of respects in which two clients differ.
    fn apart(self, other: Self) -> usize {
        let (one, other) = (self.client(), other.client());
        usize::from(one.0 != other.0) + usize::from(one.1 != other.1)
    }
}

impl Event {
    /// The refresh token in the request, by generation.
    fn shown(&self) -> Option<u32> {
        match self.what {
            What::Refresh { generation, .. }
            | What::LogOut { generation }
            | What::VerifyRefresh { generation } => Some(generation),
            What::CutOff | What::VerifyAccess => None,
        }
    }

    fn refreshes(&self, generation: u32) -> bool {
        matches!(self.what, What::Refresh { generation: presented, .. } if presented == generation)
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

    /// Returns the places of clients that may hold the newest token when one of this generation is spent.
    fn holders(&self, generation: u32) -> Vec<Place> {
        let before = (generation < self.plan.generation).then_some(Place::Home);
        let later = |event: &&Event| matches!(event.what, What::Refresh { generation: of, .. } if of >= generation);
        before
            .into_iter()
            .chain(self.events.iter().filter(later).map(|event| event.place))
            .collect()
    }

    /// Returns true if the place of a client may have ended the session.
    pub fn reuse_by_place(&self) -> bool {
        let elsewhere = |event: &Event| {
            event.shown().is_some_and(|shown| {
                self.holders(shown)
                    .iter()
                    .any(|holder| holder.apart(event.place) == 2)
            })
        };
        let used_up = |event: &Event| {
            let What::Refresh { generation, .. } = event.what else {
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
            .any(|event| elsewhere(event) || used_up(event))
    }

    /// Returns true if a thief from elsewhere was refused.
    pub fn thief_was_refused(&self) -> bool {
        let refused = |event: &Event| {
            event
                .answer
                .as_ref()
                .is_some_and(|(_, answer)| answer.status >= 400)
        };
        self.events.iter().any(|event| {
            event.place == Place::Elsewhere && event.shown().is_some() && refused(event)
        })
    }

    /// Returns the broken promises about places, in words.
    pub fn judge_places(&self, left: &Left) -> Vec<String> {
        let mut wrong = Vec::new();
        for generation in 0..=left.generation {
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
                    "the successor of generation {generation} was given to too many: {given:?}"
                ));
            }
        }
        for event in &self.events {
            let (What::VerifyRefresh { generation }, Some((_, answer))) =
                (event.what, &event.answer)
            else {
                continue;
            };
            let holders = self.holders(generation);
            let elsewhere =
                !holders.is_empty() && holders.iter().all(|holder| holder.apart(event.place) == 2);
            if elsewhere && answer.status == 400 && !left.dead() {
                wrong.push(format!(
                    "it outlived a question from elsewhere about a spent token: {event:?}"
                ));
            }
        }
        wrong
    }
}
