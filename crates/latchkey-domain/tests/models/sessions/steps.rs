//! Actions and their effects.

use chrono::TimeDelta;
use latchkey_domain::{session::ReuseGrace, time::Moment};
use stateright::{Model, Property};

use super::{
    Action, Answer, Client, Command, HOME, History, Operation, Place, Reason, Request, Row, Rules,
    Sender, Sessions, Stage, State, Thief, Token, Violation, properties,
};

/// Generation that no exploration reaches.
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
            issued_at: 0,
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
            verifications: self.verifications,
            requests: Vec::new(),
            history: History {
                rotated_at: vec![0; sessions],
                holders: vec![(HOME, 0); sessions],
                ended: vec![false; sessions],
                ..History::default()
            },
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < self.last_tick {
            actions.push(Action::Tick);
        }
        for (number, client) in state.clients.iter().enumerate() {
            if client.tries > 0 && !client.waits && (!self.prompt || self.is_prompt(state, number))
            {
                actions.push(Action::Send(Sender::Client(number), Command::Refresh));
                if state.log_outs > 0 {
                    actions.push(Action::Send(Sender::Client(number), Command::LogOut));
                }
            }
            if state.thief.stolen.is_none() && state.thief.tries + state.verifications > 0 {
                actions.push(Action::Steal(number));
            }
        }
        if state.thief.stolen.is_some() && state.thief.tries > 0 {
            actions.push(Action::Send(Sender::Thief, Command::Refresh));
        }
        if state.thief.stolen.is_some() && state.verifications > 0 {
            actions.push(Action::Send(Sender::Thief, Command::Verify));
        }
        if let Some(operation) = self.operator.get(usize::from(state.operator)) {
            actions.push(Action::Send(Sender::Operator, Command::Operate(*operation)));
        }
        if state.forgeries > 0 {
            actions.push(Action::Send(Sender::Forger, Command::Refresh));
            actions.push(Action::Send(Sender::Forger, Command::LogOut));
        }
        for (number, request) in state.requests.iter().enumerate() {
            actions.push(match request.at {
                Stage::Answered(_) => Action::Deliver(number),
                _ => Action::Step(number),
            });
            actions.push(if request.awaited {
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
            Action::Send(by, command) => self.send(&mut state, by, command),
            Action::Step(number) => self.step(&mut state, number),
            Action::Deliver(number) => self.deliver(&mut state, number),
            Action::GiveUp(number) => {
                stops_waiting(&mut state, number);
                state.requests[number].awaited = false;
            }
            Action::Crash(number) => {
                state.requests.remove(number);
            }
        }
        // An answer without a waiting sender has no effect.
        state
            .requests
            .retain(|request| request.awaited || !matches!(request.at, Stage::Answered(_)));
        state.requests.sort_unstable();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

fn stops_waiting(state: &mut State, number: usize) {
    let request = state.requests[number];
    if let (Sender::Client(client), true) = (request.by, request.awaited) {
        state.clients[client].waits = false;
    }
}

impl Sessions {
    fn send(&self, state: &mut State, by: Sender, command: Command) {
        let first = |generation| Token {
            session: 0,
            generation,
            issued_at: 0,
        };
        let (token, from) = match by {
            Sender::Client(number) => {
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
            Sender::Thief => {
                let left = if command == Command::Verify {
                    &mut state.verifications
                } else {
                    &mut state.thief.tries
                };
                *left -= 1;
                (state.thief.stolen.unwrap(), self.thief)
            }
            Sender::Forger => {
                state.forgeries -= 1;
                (first(NEVER_ISSUED), self.thief)
            }
            Sender::Operator => {
                state.operator += 1;
                (first(NEVER_ISSUED), HOME)
            }
        };
        if command == Command::LogOut && by != Sender::Forger {
            state.log_outs -= 1;
        }
        let late = state.history.ended[token.session];
        state.requests.push(Request {
            by,
            command,
            token,
            from,
            now: state.now,
            late,
            awaited: true,
            at: Stage::Arrived,
        });
    }

    /// True if a prompt client may send now: within the grace since its first request with this
    /// token and since the rotation, and without requests in flight for an older token.
    fn is_prompt(&self, state: &State, number: usize) -> bool {
        let holds = state.clients[number].holds;
        let for_another_token = |request: &Request| request.token != holds;
        let too_late = |request: &Request| match self.grace {
            ReuseGrace::Unlimited => false,
            ReuseGrace::Window(window) => i64::from(state.now - request.now) > window.num_seconds(),
        };
        let blocks = |request: &Request| for_another_token(request) || too_late(request);
        let in_time = holds.generation == state.rows[holds.session].generation
            || self.in_grace(state, holds, state.now);
        in_time && !state.requests.iter().any(blocks)
    }

    fn step(&self, state: &mut State, number: usize) {
        let request = state.requests[number];
        let session = request.token.session;
        let before = (state.rows.clone(), state.version);
        let at = match (request.at, request.command) {
            (Stage::Arrived, Command::Refresh) => self.rotate(state, &request),
            (Stage::Arrived, Command::Operate(operation)) => operate(state, operation),
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
            (Stage::Arrived, Command::LogOut | Command::Verify) | (Stage::NotRotated, _) => {
                self.explain(state, &request)
            }
            (Stage::Counts(generation), _) => self.count(state, &request, generation),
            (Stage::NotCounted(generation), _) => {
                let row = &state.rows[session];
                if row.generation == generation && row.revoked.is_none() {
                    self.revoke_for_reuse(state, &request)
                } else {
                    self.explain(state, &request)
                }
            }
            (Stage::Revokes(why), _) => {
                state.rows[session].revoked.get_or_insert(why);
                Stage::Answered(if why == Reason::LoggedOut {
                    Answer::Done
                } else {
                    Answer::Dead
                })
            }
            (Stage::Answered(_), _) => request.at,
        };
        if request.by == Sender::Forger && before != (state.rows.clone(), state.version) {
            state.history.violation = Some(Violation::ForgedTokenChangedARow);
        }
        if let Stage::Answered(Answer::Next(_) | Answer::Again(_)) = at {
            if request.late {
                state.history.violation = Some(Violation::SuccessAfterRevocation);
            }
            if request.now >= self.expires_at {
                state.history.violation = Some(Violation::TokenAfterExpiry);
            }
        }
        state.requests[number].at = at;
    }

    /// One statement with the condition and the write. With `CheckThenAct`, only the condition.
    fn rotate(&self, state: &mut State, request: &Request) -> Stage {
        let row = &state.rows[request.token.session];
        let revoked = row.revoked.is_some() && self.rules != Rules::RevokedSessionsRotate;
        let fits =
            row.generation == request.token.generation && !revoked && request.now < self.expires_at;
        if !(fits && state.active && state.version == 0) {
            return Stage::NotRotated;
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
                state.history.given.push((request.token.generation, token));
                state.history.given.sort_unstable();
                state.history.given.dedup();
                if let Sender::Client(client) = request.by {
                    state.clients[client].holds = token;
                }
            }
            Answer::Done if matches!(request.command, Command::Operate(_)) => {
                state.history.ended.fill(true);
            }
            Answer::Done | Answer::Dead => state.history.ended[session] = true,
            Answer::Refused | Answer::Unavailable | Answer::Valid => {}
        }
        if let Sender::Client(client) = request.by {
            state.clients[client].waits = false;
            let lives = request.now >= self.expires_at
                || state.clients[client].holds == state.token(session);
            if self.prompt && !(lives && answer != Answer::Dead) {
                state.history.violation = Some(Violation::PromptClientRefused);
            }
        }
    }
}

fn rotated(state: &mut State, request: &Request) -> Stage {
    state.history.rotated_at[request.token.session] = request.now;
    state.history.holders[request.token.session] = (request.from, 0);
    Stage::Answered(Answer::Next(state.token(request.token.session)))
}

/// One statement. It raises the session epoch, except for an activation or deactivation without
/// effect.
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
