//! Tokens that are not current: their consequence by the service's rules, and the entitlement that
//! the properties assume.

use latchkey_domain::{
    audit::Origin,
    decision::Purpose,
    ids::{SessionId, UserId},
    reuse::{ClientBinding, Consequence, Difference},
    session::{ReuseGrace, RevokedReason, Session, SessionState, TokenStatus},
    user::User,
};

use super::{
    Answer, Command, Place, Reason, Request, Rules, Sessions, Stage, State, Token, Violation,
    steps::moment,
};

impl Sessions {
    /// True if the grace covers this token. It starts at the rotation, and no statement can extend
    /// it.
    pub(super) fn in_grace(&self, state: &State, token: Token, now: u8) -> bool {
        match self.grace {
            ReuseGrace::Unlimited => true,
            ReuseGrace::Window(window) => {
                let age = i64::from(now) - i64::from(state.history.rotated_at[token.session]);
                let window = window.num_seconds();
                window > 0
                    && token.generation + 1 == state.rows[token.session].generation
                    && age <= window
            }
        }
    }

    /// Number of properties in which the sender differs from the client of the last rotation.
    fn differences(&self, state: &State, request: &Request) -> u8 {
        let (holder, _) = state.history.holders[request.token.session];
        match self.grace {
            ReuseGrace::Unlimited => 0,
            ReuseGrace::Window(_) => {
                u8::from(holder.address != request.from.address)
                    + u8::from(holder.agent != request.from.agent)
            }
        }
    }

    /// True if the sender is entitled to the successor.
    fn entitled(&self, state: &State, request: &Request) -> bool {
        let (_, given) = state.history.holders[request.token.session];
        let as_client = match self.differences(state, request) {
            0 => true,
            1 => given < self.limit,
            _ => false,
        };
        as_client && self.in_grace(state, request.token, request.now)
    }

    /// Reads the row and returns the next statement.
    pub(super) fn explain(&self, state: &mut State, request: &Request) -> Stage {
        let (refresh, verify) = (
            request.command == Command::Refresh,
            request.command == Command::Verify,
        );
        let session = self.session(state, request);
        let mut status = session.token_status(
            request.token.generation.into(),
            moment(request.now),
            self.grace,
        );
        if self.rules == Rules::NoGrace && status == TokenStatus::Grace {
            status = TokenStatus::Spent;
        }
        match status {
            TokenStatus::Grace if verify && self.grace == ReuseGrace::Unlimited => {
                Stage::Answered(Answer::Valid)
            }
            TokenStatus::Grace | TokenStatus::Spent => {
                let purpose = match request.command {
                    Command::Refresh => Purpose::Refresh,
                    Command::LogOut => Purpose::Logout,
                    Command::Verify | Command::Operate(_) => Purpose::Verify,
                };
                let unbound = self.grace == ReuseGrace::Unlimited || self.rules == Rules::Unbound;
                let binding = if unbound {
                    ClientBinding::None
                } else {
                    ClientBinding::Client
                };
                let difference = Difference::between(&session.session, &origin(request.from));
                let in_grace = status == TokenStatus::Grace;
                self.follow(
                    purpose.consequence(in_grace, difference, binding),
                    state,
                    request,
                )
            }
            TokenStatus::Revoked(_) | TokenStatus::StaleEpoch => Stage::Answered(Answer::Dead),
            TokenStatus::NoActiveUser if refresh || verify => Stage::Answered(Answer::Dead),
            TokenStatus::NoActiveUser => Stage::Revokes(Reason::LoggedOut),
            TokenStatus::Ended | TokenStatus::UnknownGeneration => Stage::Answered(Answer::Refused),
            TokenStatus::Current => match request.command {
                Command::LogOut => Stage::Revokes(Reason::LoggedOut),
                Command::Verify => Stage::Answered(Answer::Valid),
                Command::Refresh | Command::Operate(_) => Stage::Answered(Answer::Unavailable),
            },
        }
    }

    fn follow(&self, consequence: Consequence, state: &mut State, request: &Request) -> Stage {
        let other_client = self.differences(state, request) == 2;
        if other_client && matches!(consequence, Consequence::Refusal | Consequence::Logout) {
            state.history.violation = Some(Violation::ReuseWithoutRevocation);
        }
        match consequence {
            Consequence::Successor => self.repeat(state, request),
            Consequence::CountedSuccessor => {
                Stage::Counts(state.rows[request.token.session].generation)
            }
            Consequence::Logout => Stage::Revokes(Reason::LoggedOut),
            Consequence::Refusal => Stage::Answered(Answer::Refused),
            Consequence::Reuse => self.revoke_for_reuse(state, request),
        }
    }

    fn repeat(&self, state: &mut State, request: &Request) -> Stage {
        let session = request.token.session;
        if !self.entitled(state, request) {
            let other_client = self.differences(state, request) == 2;
            state.history.violation = Some(if other_client {
                Violation::RepeatForAnotherClient
            } else {
                Violation::RepeatOutsideTheGrace
            });
        }
        if self.differences(state, request) > 0 {
            state.history.holders[session].1 += 1;
        }
        if self.rules == Rules::SlidingWindow {
            state.rows[session].rotated_at = request.now;
        }
        Stage::Answered(Answer::Again(state.token(session)))
    }

    pub(super) fn revoke_for_reuse(&self, state: &mut State, request: &Request) -> Stage {
        if request.command == Command::Refresh && self.entitled(state, request) {
            state.history.violation = Some(Violation::RevokedWithoutReuse);
        }
        Stage::Revokes(Reason::Reuse)
    }

    /// One statement with the condition and the count.
    pub(super) fn count(&self, state: &mut State, request: &Request, generation: u8) -> Stage {
        let row = &mut state.rows[request.token.session];
        let counted = if row.repeats.0 == generation {
            row.repeats.1
        } else {
            0
        };
        let left = counted < self.limit || self.rules == Rules::RepeatsAreUnlimited;
        if row.generation == generation && row.revoked.is_none() && left {
            row.repeats = (generation, counted + 1);
            self.repeat(state, request)
        } else {
            Stage::NotCounted(generation)
        }
    }

    /// Row in the service's type.
    fn session(&self, state: &State, request: &Request) -> SessionState {
        let row = &state.rows[request.token.session];
        let reason = row.revoked.map(|why| match why {
            Reason::LoggedOut => RevokedReason::LoggedOut,
            Reason::Reuse => RevokedReason::Reuse,
        });
        let Origin { ip, user_agent } = origin(row.holder);
        let session = Session {
            id: SessionId::parse("00000000-0000-4000-8000-000000000000").unwrap(),
            user_id: UserId::new(""),
            session_epoch: 0,
            generation: row.generation.into(),
            created_at: moment(0),
            rotated_at: moment(row.rotated_at),
            expires_at: moment(self.expires_at),
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
