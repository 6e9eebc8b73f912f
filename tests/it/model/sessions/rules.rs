//! Tokens that are not exchanged: the consequence by the rules of the service, and the claim by the promises.

use latchkey::domain::{
    audit::Origin,
    ids::{SessionId, UserId},
    reuse::{ClientBinding, Consequence, Difference, Purpose},
    session::{ReuseGrace, RevokedReason, Session, SessionState, TokenStatus},
    user::User,
};

use super::{
    Answer, Place, Request, Rules, Sessions, Stage, State, Token, What, Why, Wrong, steps::moment,
};

impl Sessions {
    /// Returns true if the window is open for a token that is not current. It depends on the time when the successor
    /// was first made, which no statement can change.
    pub(super) fn in_window(&self, state: &State, token: Token, now: u8) -> bool {
        match self.grace {
            ReuseGrace::Unlimited => true,
            ReuseGrace::Window(window) => {
                let age = i64::from(now) - i64::from(state.story.made[token.session]);
                let window = window.num_seconds();
                window > 0
                    && token.generation + 1 == state.rows[token.session].generation
                    && age <= window
            }
        }
    }

    /// The number of respects in which the sender differs from the client that first made the successor.
    fn differences(&self, state: &State, request: &Request) -> u8 {
        let (holder, _) = state.story.holders[request.token.session];
        match self.grace {
            ReuseGrace::Unlimited => 0,
            ReuseGrace::Window(_) => {
                u8::from(holder.address != request.from.address)
                    + u8::from(holder.agent != request.from.agent)
            }
        }
    }

    /// Returns true if the sender is entitled to the successor.
    fn owed(&self, state: &State, request: &Request) -> bool {
        let (_, given) = state.story.holders[request.token.session];
        let as_client = match self.differences(state, request) {
            0 => true,
            1 => given < self.limit,
            _ => false,
        };
        as_client && self.in_window(state, request.token, request.now)
    }

    /// Reads the row, and acts on it.
    pub(super) fn explain(&self, state: &mut State, request: &Request) -> Stage {
        let (refresh, verify) = (request.what == What::Refresh, request.what == What::Verify);
        let session = self.session(state, request);
        let mut standing = session.token_status(
            request.token.generation.into(),
            moment(request.now),
            self.grace,
        );
        if self.rules == Rules::NoForgiveness && standing == TokenStatus::Grace {
            standing = TokenStatus::Spent;
        }
        match standing {
            TokenStatus::Grace if verify && self.grace == ReuseGrace::Unlimited => {
                Stage::Answered(Answer::Valid)
            }
            TokenStatus::Grace | TokenStatus::Spent => {
                let purpose = match request.what {
                    What::Refresh => Purpose::Refresh,
                    What::LogOut => Purpose::Logout,
                    What::Verify | What::Operate(_) => Purpose::Verify,
                };
                let unbound = self.grace == ReuseGrace::Unlimited || self.rules == Rules::Unbound;
                let binding = if unbound {
                    ClientBinding::None
                } else {
                    ClientBinding::Client
                };
                let difference = Difference::between(&session.session, &origin(request.from));
                let in_grace = standing == TokenStatus::Grace;
                self.follow(
                    purpose.consequence(in_grace, difference, binding),
                    state,
                    request,
                )
            }
            TokenStatus::Revoked(_) | TokenStatus::StaleEpoch => Stage::Answered(Answer::Dead),
            TokenStatus::NoActiveUser if refresh || verify => Stage::Answered(Answer::Dead),
            TokenStatus::NoActiveUser => Stage::Condemned(Why::LoggedOut),
            TokenStatus::Ended | TokenStatus::UnknownGeneration => Stage::Answered(Answer::Refused),
            TokenStatus::Current => match request.what {
                What::LogOut => Stage::Condemned(Why::LoggedOut),
                What::Verify => Stage::Answered(Answer::Valid),
                What::Refresh | What::Operate(_) => Stage::Answered(Answer::Unavailable),
            },
        }
    }

    fn follow(&self, consequence: Consequence, state: &mut State, request: &Request) -> Stage {
        let elsewhere = self.differences(state, request) == 2;
        if elsewhere && matches!(consequence, Consequence::Refusal | Consequence::Logout) {
            state.story.wrong = Some(Wrong::AskedWithoutEffect);
        }
        match consequence {
            Consequence::Successor => self.repeat(state, request),
            Consequence::CountedSuccessor => {
                Stage::Counts(state.rows[request.token.session].generation)
            }
            Consequence::Logout => Stage::Condemned(Why::LoggedOut),
            Consequence::Refusal => Stage::Answered(Answer::Refused),
            Consequence::Reuse => self.condemn(state, request),
        }
    }

    fn repeat(&self, state: &mut State, request: &Request) -> Stage {
        let session = request.token.session;
        if !self.owed(state, request) {
            let elsewhere = self.differences(state, request) == 2;
            state.story.wrong = Some(if elsewhere {
                Wrong::GivenElsewhere
            } else {
                Wrong::ForgivenWithoutRight
            });
        }
        if self.differences(state, request) > 0 {
            state.story.holders[session].1 += 1;
        }
        if self.rules == Rules::MovingWindow {
            state.rows[session].rotated_at = request.now;
        }
        Stage::Answered(Answer::Again(state.token(session)))
    }

    pub(super) fn condemn(&self, state: &mut State, request: &Request) -> Stage {
        if request.what == What::Refresh && self.owed(state, request) {
            state.story.wrong = Some(Wrong::KilledWithoutCause);
        }
        Stage::Condemned(Why::Reuse)
    }

    /// One statement: the condition and the count.
    pub(super) fn count(&self, state: &mut State, request: &Request, generation: u8) -> Stage {
        let row = &mut state.rows[request.token.session];
        let counted = if row.repeats.0 == generation {
            row.repeats.1
        } else {
            0
        };
        let left = counted < self.limit || self.rules == Rules::CountsWithoutLimit;
        if row.generation == generation && row.revoked.is_none() && left {
            row.repeats = (generation, counted + 1);
            self.repeat(state, request)
        } else {
            Stage::Uncounted(generation)
        }
    }

    /// The row as the service reads it.
    fn session(&self, state: &State, request: &Request) -> SessionState {
        let row = &state.rows[request.token.session];
        let reason = row.revoked.map(|why| match why {
            Why::LoggedOut => RevokedReason::LoggedOut,
            Why::Reuse => RevokedReason::Reuse,
        });
        let Origin { ip, user_agent } = origin(row.holder);
        let session = Session {
            id: SessionId::parse("00000000-0000-4000-8000-000000000000").unwrap(),
            user_id: UserId::new(""),
            session_epoch: 0,
            generation: row.generation.into(),
            created_at: moment(0),
            rotated_at: moment(row.rotated_at),
            expires_at: moment(self.ends),
            revoked: reason.map(|reason| (moment(0), reason)),
            last_ip: ip,
            user_agent,
        };
        let user = User {
            id: UserId::new(""),
            username: String::new(),
            email: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            is_active: state.active,
            is_staff: false,
            session_epoch: state.version.into(),
            created_at: moment(0),
            last_login: None,
        };
        SessionState {
            session,
            user: Some(user),
        }
    }
}

fn origin(place: Place) -> Origin {
    Origin {
        ip: Some(format!("192.0.2.{}", place.address)),
        user_agent: Some(format!("agent/{}", place.agent)),
    }
}
