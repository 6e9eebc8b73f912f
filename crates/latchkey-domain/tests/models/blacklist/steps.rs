//! Initial state and actions.

use stateright::{Model, Property};

use super::{
    Action, Blacklist, Instance, Janitor, Outcome, Redis, Request, Rules, State, Status, properties,
};

const INSTANCES: [usize; 2] = [0, 1];

/// Number of clock jumps that expire an entry. An entry outlives its token by this many epoch
/// lifetimes.
pub(super) const MARGIN: u8 = 2;

impl Instance {
    /// Instance after a start. It counts as having a failed write, because those of its predecessor
    /// are not recorded. So its blacklist starts untrusted.
    const NEW: Self = Self {
        failed: 1,
        covered: 0,
        untrusted: false,
        rebuilt: None,
        sealed: None,
        request: Request::None,
        janitor: Janitor::Idle,
        replay_due: false,
    };
}

impl State {
    /// Lookup of an access token: true if this instance finds no revocation and trusts the
    /// blacklist.
    pub fn lookup_is_clear(&self, instance: usize) -> bool {
        let Instance {
            failed,
            covered,
            untrusted,
            sealed,
            ..
        } = &self.instances[instance];
        let epoch = self
            .redis
            .epoch
            .is_some_and(|epoch| *sealed == Some(epoch.name) || self.trusts_every_epoch);
        self.redis.entry < Status::Revoked && epoch && failed == covered && !untrusted
    }
}

impl Model for Blacklist {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            row: Status::Live,
            acknowledged: Status::Live,
            redis: Redis {
                process: 0,
                epoch: None,
                last_epoch: 0,
                entry: Status::Live,
                margin: MARGIN,
                clock: 0,
                tickets: [None; 2],
            },
            saved: None,
            instances: [Instance::NEW, Instance::NEW],
            flushes: self.flushes,
            restarts: self.restarts,
            failures: self.failures,
            crashes: self.crashes,
            jumps: self.jumps,
            foreign_rebuilds: self.foreign_rebuilds,
            trusts_every_epoch: self.rules == Rules::EveryEpochIsTrusted,
            status_decreased: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for number in INSTANCES {
            let instance = &state.instances[number];
            let mut outcomes = vec![Outcome::Done];
            if state.failures > 0 {
                outcomes.extend([Outcome::NotSent, Outcome::Unanswered]);
            }
            match instance.request {
                Request::None => {
                    let next = [Status::Rotated, Status::Revoked]
                        .into_iter()
                        .filter(|status| *status > state.row);
                    actions.extend(next.map(|status| Action::Begin(number, status)));
                }
                Request::WriteEntry(_) => actions.extend(
                    outcomes
                        .iter()
                        .map(|outcome| Action::Request(number, *outcome)),
                ),
                Request::WriteRow(_) | Request::Answer(_) => {
                    actions.push(Action::Request(number, Outcome::Done));
                }
            }
            match instance.janitor {
                Janitor::Idle | Janitor::Rebuild { .. } => {
                    actions.push(Action::Janitor(number, Outcome::Done));
                }
                _ => actions.extend(
                    outcomes
                        .iter()
                        .map(|outcome| Action::Janitor(number, *outcome)),
                ),
            }
            if state.crashes > 0 {
                actions.push(Action::Crash(number));
            }
        }
        if state.flushes > 0 {
            actions.push(Action::Flush);
        }
        if state.jumps > 0 {
            actions.push(Action::Jump);
        }
        if state.foreign_rebuilds > 0 && state.redis.epoch.is_none() {
            actions.push(Action::ForeignRebuild);
        }
        if state.restarts > 0 {
            actions.push(Action::Save);
            if state.saved.is_some() {
                actions.push(Action::Restart);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(number, status) => {
                let first = if self.rules == Rules::EntryFirst {
                    Request::WriteEntry(status)
                } else {
                    Request::WriteRow(status)
                };
                state.instances[number].request = first;
            }
            Action::Request(number, outcome) => self.request(&mut state, number, outcome),
            Action::Janitor(number, outcome) => self.janitor(&mut state, number, outcome),
            Action::Flush => {
                state.flushes -= 1;
                let Redis {
                    process,
                    last_epoch,
                    clock,
                    ..
                } = state.redis;
                let (epoch, entry, tickets) = (None, Status::Live, [None; 2]);
                state.redis = Redis {
                    process,
                    epoch,
                    last_epoch,
                    entry,
                    margin: MARGIN,
                    clock,
                    tickets,
                };
            }
            Action::Save => state.saved = Some(state.redis.clone()),
            Action::Restart => {
                state.restarts -= 1;
                let Redis {
                    process,
                    last_epoch,
                    clock,
                    ..
                } = state.redis;
                state.redis = Redis {
                    process: process + 1,
                    last_epoch,
                    clock,
                    ..state.saved.take()?
                };
                for instance in &mut state.instances {
                    instance.untrusted = self.rules != Rules::FailedConnectionsAreTrusted;
                }
            }
            Action::Jump => {
                state.jumps -= 1;
                self.jump(&mut state.redis);
            }
            Action::ForeignRebuild => {
                state.foreign_rebuilds -= 1;
                state.redis.store_epoch();
            }
            Action::Crash(number) => {
                state.crashes -= 1;
                state.instances[number] = Instance {
                    replay_due: state.instances[number].replay_due,
                    ..Instance::NEW
                };
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
