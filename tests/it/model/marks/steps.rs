//! What may happen next, and what follows.

use stateright::{Model, Property};

use super::{
    Action, Epoch, Found, Instance, Janitor, Mark, Marks, Outcome, Redis, Request, Rules, State,
    promises,
};

const BOTH: [usize; 2] = [0, 1];

/// The number of jumps that a mark survives: an entry outlives its token by so many lives of an epoch.
const MARGIN: u8 = 2;

impl Instance {
    /// A process that starts does not know what the one before it failed to write.
    const NEW: Self = Self {
        failed: 1,
        covered: 0,
        doubts: false,
        filled: None,
        sealed: None,
        request: Request::None,
        janitor: Janitor::Rests,
        excused: false,
    };
}

impl State {
    /// What the check of an access token says at this instance: whether "no mark" is believed, and there is none.
    pub fn says_clear(&self, instance: usize) -> bool {
        let Instance {
            failed,
            covered,
            doubts,
            sealed,
            ..
        } = &self.instances[instance];
        let epoch = self
            .redis
            .epoch
            .is_some_and(|epoch| *sealed == Some(epoch.name) || self.trusts_every_epoch);
        self.redis.mark < Mark::Revoked && epoch && failed == covered && !doubts
    }
}

impl Model for Marks {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            row: Mark::Nothing,
            told: Mark::Nothing,
            redis: Redis {
                process: 0,
                epoch: None,
                named: 0,
                mark: Mark::Nothing,
                margin: MARGIN,
                clock: 0,
                tickets: [None; 2],
            },
            saved: None,
            instances: [Instance::NEW, Instance::NEW],
            floods: self.floods,
            restarts: self.restarts,
            failures: self.failures,
            crashes: self.crashes,
            jumps: self.jumps,
            strangers: self.strangers,
            trusts_every_epoch: self.rules == Rules::EveryEpochIsTrusted,
            went_down: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for number in BOTH {
            let instance = &state.instances[number];
            let mut outcomes = vec![Outcome::Done];
            if state.failures > 0 {
                outcomes.extend([Outcome::Lost, Outcome::Unheard]);
            }
            match instance.request {
                Request::None => {
                    let later = [Mark::Rotated, Mark::Revoked]
                        .into_iter()
                        .filter(|mark| *mark > state.row);
                    actions.extend(later.map(|mark| Action::Begin(number, mark)));
                }
                Request::Mark(_) => actions.extend(
                    outcomes
                        .iter()
                        .map(|outcome| Action::Request(number, *outcome)),
                ),
                Request::Row(_) | Request::Answer(_) => {
                    actions.push(Action::Request(number, Outcome::Done))
                }
            }
            match instance.janitor {
                Janitor::Rests | Janitor::Rebuilds { .. } => {
                    actions.push(Action::Janitor(number, Outcome::Done))
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
        if state.floods > 0 {
            actions.push(Action::Flood);
        }
        if state.jumps > 0 {
            actions.push(Action::Jump);
        }
        if state.strangers > 0 && state.redis.epoch.is_none() {
            actions.push(Action::Stranger);
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
            Action::Begin(number, mark) => {
                let first = if self.rules == Rules::MarkFirst {
                    Request::Mark(mark)
                } else {
                    Request::Row(mark)
                };
                state.instances[number].request = first;
            }
            Action::Request(number, outcome) => self.request(&mut state, number, outcome),
            Action::Janitor(number, outcome) => self.janitor(&mut state, number, outcome),
            Action::Flood => {
                state.floods -= 1;
                let Redis {
                    process,
                    named,
                    clock,
                    ..
                } = state.redis;
                let (epoch, mark, tickets) = (None, Mark::Nothing, [None; 2]);
                state.redis = Redis {
                    process,
                    epoch,
                    named,
                    mark,
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
                    named,
                    clock,
                    ..
                } = state.redis;
                state.redis = Redis {
                    process: process + 1,
                    named,
                    clock,
                    ..state.saved.take()?
                };
                for instance in &mut state.instances {
                    instance.doubts = self.rules != Rules::ConnectionsAreTrusted;
                }
            }
            Action::Jump => {
                state.jumps -= 1;
                self.jump(&mut state.redis);
            }
            Action::Stranger => {
                state.strangers -= 1;
                state.redis.name_epoch();
            }
            Action::Crash(number) => {
                state.crashes -= 1;
                state.instances[number] = Instance {
                    excused: state.instances[number].excused,
                    ..Instance::NEW
                };
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}

impl Redis {
    /// A memory without an epoch gets one with a new name.
    fn name_epoch(&mut self) -> u8 {
        if self.epoch.is_none() {
            self.named += 1;
        }
        let name = self.epoch.map_or(self.named, |epoch| epoch.name);
        self.epoch = Some(Epoch {
            name,
            renewed: true,
        });
        name
    }
}

impl Marks {
    /// Entries near their end expire. Tickets live for a day.
    fn jump(&self, redis: &mut Redis) {
        redis.clock += 1;
        redis.margin = redis.margin.saturating_sub(1);
        if redis.margin == 0 {
            redis.mark = Mark::Nothing;
        }
        let endless = self.rules == Rules::EpochsAreEndless;
        let left = redis.epoch.filter(|epoch| epoch.renewed || endless);
        redis.epoch = left.map(|epoch| Epoch {
            renewed: false,
            ..epoch
        });
    }

    fn request(&self, state: &mut State, number: usize, outcome: Outcome) {
        let mark_first = self.rules == Rules::MarkFirst;
        state.instances[number].request = match state.instances[number].request {
            Request::None => return,
            Request::Row(mark) => {
                state.row = state.row.max(mark);
                if mark_first {
                    Request::Answer(mark)
                } else {
                    Request::Mark(mark)
                }
            }
            Request::Mark(mark) => {
                let written = self.write(state, number, mark, outcome);
                // The database knows it: the request goes on, and the other instance may miss it for a moment.
                if !written && mark == Mark::Revoked {
                    state.instances[1 - number].excused = true;
                }
                if mark_first {
                    Request::Row(mark)
                } else {
                    Request::Answer(mark)
                }
            }
            Request::Answer(mark) => {
                state.told = state.told.max(mark);
                Request::None
            }
        };
    }

    /// Raises the mark in one command. Whether the writer knows that it was done.
    fn write(&self, state: &mut State, number: usize, mark: Mark, outcome: Outcome) -> bool {
        if outcome != Outcome::Lost {
            let before = state.redis.mark;
            state.redis.mark = if self.rules == Rules::LastWriteWins {
                mark
            } else {
                before.max(mark)
            };
            state.went_down |= state.redis.mark < before;
            state.redis.margin = MARGIN;
        }
        if outcome != Outcome::Done {
            state.failures -= 1;
            let instance = &mut state.instances[number];
            if self.rules != Rules::FailuresAreForgotten {
                instance.failed += 1;
                instance.doubts = true;
            }
        }
        outcome == Outcome::Done
    }

    fn janitor(&self, state: &mut State, number: usize, outcome: Outcome) {
        state.instances[number].janitor = match state.instances[number].janitor {
            Janitor::Rests => self.look(state, number),
            Janitor::Rebuilds { ticket, found } => Janitor::Read {
                ticket,
                found,
                row: state.row,
            },
            Janitor::Read { ticket, found, row } => {
                if self.write(state, number, row, outcome) {
                    Janitor::Wrote { ticket, found }
                } else {
                    Janitor::Rests
                }
            }
            Janitor::Wrote { ticket, found } => {
                self.seal(state, number, (ticket, found), outcome);
                Janitor::Rests
            }
            Janitor::Reapplies { row, doubts_before } => {
                if self.write(state, number, row, outcome) {
                    let missing = state.row > row;
                    let instance = &mut state.instances[number];
                    // A connection that failed in between is looked at again.
                    instance.doubts &= !doubts_before;
                    instance.excused &= missing;
                }
                Janitor::Rests
            }
        };
    }

    /// One look at Redis: lay a ticket and rebuild, or write again what was revoked lately, beginning in the database.
    fn look(&self, state: &mut State, number: usize) -> Janitor {
        let instance = &mut state.instances[number];
        let found = Found {
            process: state.redis.process,
            clock: state.redis.clock,
        };
        let same = instance
            .filled
            .is_some_and(|filled| filled.process == found.process)
            || self.rules == Rules::ConnectionsAreTrusted;
        let calm = instance
            .filled
            .is_some_and(|filled| filled.clock == found.clock)
            || matches!(self.rules, Rules::JumpsAreNotSeen | Rules::EpochsAreEndless);
        let ours = |epoch: &Epoch| {
            instance.sealed == Some(epoch.name) || self.rules == Rules::EveryEpochIsTrusted
        };
        let epoch = state.redis.epoch.filter(ours);
        if let Some(epoch) = epoch.filter(|_| calm || self.rules == Rules::RenewedAfterAJump) {
            state.redis.epoch = Some(Epoch {
                renewed: true,
                ..epoch
            });
        }
        if epoch.is_none() || instance.failed != instance.covered || !same || !calm {
            // Nothing is trusted until it is rebuilt.
            instance.doubts |= instance.filled.is_some();
            state.redis.tickets[number] = Some(instance.failed);
            return Janitor::Rebuilds {
                ticket: instance.failed,
                found,
            };
        }
        // Every second it writes again, needed or not. Where nothing is missing, that is a step that changes nothing.
        if instance.doubts || instance.excused {
            return Janitor::Reapplies {
                row: state.row,
                doubts_before: instance.doubts,
            };
        }
        Janitor::Rests
    }

    /// One script sets the epoch if the ticket still exists. Then a look checks that the memory is the same.
    fn seal(
        &self,
        state: &mut State,
        number: usize,
        (ticket, found): (u8, Found),
        outcome: Outcome,
    ) {
        let kept =
            state.redis.tickets[number] == Some(ticket) || self.rules == Rules::SealWithoutTicket;
        let calm = found.clock == state.redis.clock || self.rules == Rules::SealedAfterAJump;
        let kept = kept && calm;
        if outcome != Outcome::Lost && kept {
            state.redis.name_epoch();
            state.redis.tickets[number] = None;
        }
        let same =
            state.redis.process == found.process || self.rules == Rules::ConnectionsAreTrusted;
        if outcome != Outcome::Done {
            state.failures -= 1;
            state.instances[number].doubts = true;
        } else if kept && same {
            let missing = state.row > state.redis.mark;
            let instance = &mut state.instances[number];
            instance.covered = ticket;
            instance.filled = Some(found);
            instance.sealed = state.redis.epoch.map(|epoch| epoch.name);
            instance.doubts = false;
            instance.excused &= missing;
        }
    }
}
