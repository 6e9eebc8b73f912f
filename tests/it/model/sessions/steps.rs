//! What may happen next, and what follows.

use chrono::TimeDelta;
use latchkey::domain::{session::ReuseGrace, time::Moment};
use stateright::{Model, Property};

use super::{
    Action, Answer, Client, HOME, Operation, Place, Request, Row, Rules, Sessions, Stage, State,
    Story, Thief, Token, What, Who, Why, Wrong, promises,
};

/// No model gets there.
const NEVER_ISSUED: u8 = 9;

impl Model for Sessions {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let sessions = self
            .clients
            .iter()
            .map(|(session, _)| session)
            .max()
            .unwrap()
            + 1;
        let first = |session| Token {
            session,
            generation: 0,
            made: 0,
        };
        let client = |(session, tries): &(usize, u8)| Client {
            holds: first(*session),
            waits: false,
            tries: *tries,
        };
        vec![State {
            now: 0,
            version: 0,
            active: true,
            rows: vec![
                Row {
                    generation: 0,
                    rotated_at: 0,
                    revoked: None,
                    holder: HOME,
                    repeats: (0, 0)
                };
                sessions
            ],
            clients: self.clients.iter().map(client).collect(),
            thief: Thief {
                stolen: None,
                tries: self.thefts,
            },
            log_outs: self.log_outs,
            operator: 0,
            forgeries: self.forgeries,
            questions: self.questions,
            requests: Vec::new(),
            story: Story {
                made: vec![0; sessions],
                holders: vec![(HOME, 0); sessions],
                ended: vec![false; sessions],
                ..Story::default()
            },
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < self.horizon {
            actions.push(Action::Tick);
        }
        for (number, client) in state.clients.iter().enumerate() {
            if client.tries > 0 && !client.waits && (!self.prompt || self.is_prompt(state, number))
            {
                actions.push(Action::Send(Who::Client(number), What::Refresh));
                if state.log_outs > 0 {
                    actions.push(Action::Send(Who::Client(number), What::LogOut));
                }
            }
            if state.thief.stolen.is_none() && state.thief.tries + state.questions > 0 {
                actions.push(Action::Steal(number));
            }
        }
        if state.thief.stolen.is_some() && state.thief.tries > 0 {
            actions.push(Action::Send(Who::Thief, What::Refresh));
        }
        if state.thief.stolen.is_some() && state.questions > 0 {
            actions.push(Action::Send(Who::Thief, What::Verify));
        }
        if let Some(operation) = self.operator.get(usize::from(state.operator)) {
            actions.push(Action::Send(Who::Operator, What::Operate(*operation)));
        }
        if state.forgeries > 0 {
            actions.push(Action::Send(Who::Forger, What::Refresh));
            actions.push(Action::Send(Who::Forger, What::LogOut));
        }
        for (number, request) in state.requests.iter().enumerate() {
            actions.push(match request.at {
                Stage::Answered(_) => Action::Deliver(number),
                _ => Action::Step(number),
            });
            actions.push(if request.heard {
                Action::GiveUp(number)
            } else {
                Action::Crash(number)
            });
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => state.now += 1,
            Action::Steal(client) => state.thief.stolen = Some(state.clients[client].holds),
            Action::Send(by, what) => self.send(&mut state, by, what),
            Action::Step(number) => self.step(&mut state, number),
            Action::Deliver(number) => self.deliver(&mut state, number),
            Action::GiveUp(number) => {
                stops_waiting(&mut state, number);
                state.requests[number].heard = false;
            }
            Action::Crash(number) => {
                state.requests.remove(number);
            }
        }
        // An answer that nobody waits for is nothing.
        state
            .requests
            .retain(|request| request.heard || !matches!(request.at, Stage::Answered(_)));
        state.requests.sort_unstable();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::all()
    }
}

fn stops_waiting(state: &mut State, number: usize) {
    let request = state.requests[number];
    if let (Who::Client(client), true) = (request.by, request.heard) {
        state.clients[client].waits = false;
    }
}

impl Sessions {
    fn send(&self, state: &mut State, by: Who, what: What) {
        let first = |generation| Token {
            session: 0,
            generation,
            made: 0,
        };
        let (token, from) = match by {
            Who::Client(number) => {
                let client = &mut state.clients[number];
                client.waits = true;
                client.tries -= 1;
                (
                    client.holds,
                    Place {
                        address: if self.roaming {
                            client.tries % 2
                        } else {
                            HOME.address
                        },
                        ..HOME
                    },
                )
            }
            Who::Thief => {
                let left = if what == What::Verify {
                    &mut state.questions
                } else {
                    &mut state.thief.tries
                };
                *left -= 1;
                (state.thief.stolen.unwrap(), self.thief)
            }
            Who::Forger => {
                state.forgeries -= 1;
                (first(NEVER_ISSUED), self.thief)
            }
            Who::Operator => {
                state.operator += 1;
                (first(NEVER_ISSUED), HOME)
            }
        };
        if what == What::LogOut && by != Who::Forger {
            state.log_outs -= 1;
        }
        let late = state.story.ended[token.session];
        state.requests.push(Request {
            by,
            what,
            token,
            from,
            now: state.now,
            late,
            heard: true,
            at: Stage::Arrived,
        });
    }

    /// In time means: since the token was first sent, and no later than that since its successor was made. A new token
    /// is used only when nothing of the old one is under way.
    fn is_prompt(&self, state: &State, number: usize) -> bool {
        let holds = state.clients[number].holds;
        let of_an_old_one = |request: &Request| request.token != holds;
        let too_late = |request: &Request| match self.grace {
            ReuseGrace::Unlimited => false,
            ReuseGrace::Window(window) => i64::from(state.now - request.now) > window.num_seconds(),
        };
        let hinders = |request: &Request| of_an_old_one(request) || too_late(request);
        let in_time = holds.generation == state.rows[holds.session].generation
            || self.in_window(state, holds, state.now);
        in_time && !state.requests.iter().any(hinders)
    }

    fn step(&self, state: &mut State, number: usize) {
        let request = state.requests[number];
        let session = request.token.session;
        let before = (state.rows.clone(), state.version);
        let at = match (request.at, request.what) {
            (Stage::Arrived, What::Refresh) => self.rotate(state, &request),
            (Stage::Arrived, What::Operate(operation)) => operate(state, operation),
            (Stage::Checked(generation), _) => {
                let (rotated_at, holder) = (request.now, request.from);
                let next = Row {
                    generation: generation + 1,
                    rotated_at,
                    holder,
                    ..state.rows[session].clone()
                };
                state.rows[session] = next;
                rotated(state, &request)
            }
            (Stage::Arrived, What::LogOut | What::Verify) | (Stage::Lost, _) => {
                self.explain(state, &request)
            }
            (Stage::Counts(generation), _) => self.count(state, &request, generation),
            (Stage::Uncounted(generation), _) => {
                let row = &state.rows[session];
                if row.generation == generation && row.revoked.is_none() {
                    self.condemn(state, &request)
                } else {
                    self.explain(state, &request)
                }
            }
            (Stage::Condemned(why), _) => {
                state.rows[session].revoked.get_or_insert(why);
                Stage::Answered(if why == Why::LoggedOut {
                    Answer::Done
                } else {
                    Answer::Dead
                })
            }
            (Stage::Answered(_), _) => request.at,
        };
        if request.by == Who::Forger && before != (state.rows.clone(), state.version) {
            state.story.wrong = Some(Wrong::ForgedTokenChangedARow);
        }
        if let Stage::Answered(Answer::Next(_) | Answer::Again(_)) = at {
            if request.late {
                state.story.wrong = Some(Wrong::SucceededAfterTheEndWasTold);
            }
            if request.now >= self.ends {
                state.story.wrong = Some(Wrong::GivenAfterTheEnd);
            }
        }
        state.requests[number].at = at;
    }

    /// One statement: the condition and the write. With check-then-act, the condition alone.
    fn rotate(&self, state: &mut State, request: &Request) -> Stage {
        let row = &state.rows[request.token.session];
        let revoked = row.revoked.is_some() && self.rules != Rules::RotatesTheRevoked;
        let fits =
            row.generation == request.token.generation && !revoked && request.now < self.ends;
        if !(fits && state.active && state.version == 0) {
            return Stage::Lost;
        }
        if self.rules == Rules::CheckThenAct {
            return Stage::Checked(row.generation);
        }
        let row = &mut state.rows[request.token.session];
        row.generation += 1;
        row.rotated_at = request.now;
        row.holder = request.from;
        rotated(state, request)
    }

    fn deliver(&self, state: &mut State, number: usize) {
        let request = state.requests.remove(number);
        let session = request.token.session;
        let Stage::Answered(answer) = request.at else {
            return;
        };
        match answer {
            Answer::Next(token) | Answer::Again(token) => {
                state.story.given.push((request.token.generation, token));
                state.story.given.sort_unstable();
                state.story.given.dedup();
                if let Who::Client(client) = request.by {
                    state.clients[client].holds = token;
                }
            }
            Answer::Done if matches!(request.what, What::Operate(_)) => {
                state.story.ended.fill(true)
            }
            Answer::Done | Answer::Dead => state.story.ended[session] = true,
            Answer::Refused | Answer::Unavailable | Answer::Valid => {}
        }
        if let Who::Client(client) = request.by {
            state.clients[client].waits = false;
            let lives =
                request.now >= self.ends || state.clients[client].holds == state.token(session);
            if self.prompt && !(lives && answer != Answer::Dead) {
                state.story.wrong = Some(Wrong::PromptClientRefused);
            }
        }
    }
}

fn rotated(state: &mut State, request: &Request) -> Stage {
    state.story.made[request.token.session] = request.now;
    state.story.holders[request.token.session] = (request.from, 0);
    Stage::Answered(Answer::Next(state.token(request.token.session)))
}

/// One statement. Only a change of activity is a cut-off.
fn operate(state: &mut State, operation: Operation) -> Stage {
    let active = match operation {
        Operation::SignOutAll => state.active,
        Operation::Deactivate => false,
        Operation::Activate => true,
    };
    if operation != Operation::SignOutAll && state.active == active {
        return Stage::Answered(Answer::Refused);
    }
    state.version += 1;
    state.active = active;
    Stage::Answered(Answer::Done)
}

pub fn moment(tick: u8) -> Moment {
    Moment::UNIX_EPOCH + TimeDelta::seconds(tick.into())
}
