//! Invariants, and situations that the exploration must reach so that the invariants are tested.

use latchkey_domain::session::ReuseGrace;
use stateright::Property;

use super::{Answer, Reason, Request, Rules, Sessions, Stage, State, Token, Violation};

pub const ONE_SUCCESSOR: &str = "a generation has one successor";
pub const ONE_CURRENT: &str = "a session has one current token";
pub const REVOKED: &str = "no refresh succeeds after a reported revocation";
pub const GRACE: &str = "the grace covers only the last spent token, and is never extended";
pub const CAUSE: &str = "only reuse outside the grace revokes a session";
pub const PROMPT: &str = "a client that retries within the grace gets the current token";

pub const OTHER_CLIENT_REFUSED: &str =
    "another client gets no successor for a token that the owner has spent";
pub const OTHER_CLIENT_REVOKES: &str =
    "another client that sends a token that the owner has spent revokes the session";

pub fn all() -> Vec<Property<Sessions>> {
    vec![
        Property::always(ONE_SUCCESSOR, |model: &Sessions, state: &State| {
            // With an unlimited grace, any old token returns the current one.
            let alike = |one: &(u8, Token), other: &(u8, Token)| {
                one.1.generation == other.1.generation
                    || one.0 == other.0 && model.grace != ReuseGrace::Unlimited
            };
            let apart = |one: &(u8, Token), other: &(u8, Token)| {
                one.1.session != other.1.session || one.1 == other.1
            };
            let given = &state.history.given;
            given.iter().all(|one| {
                given
                    .iter()
                    .all(|other| !alike(one, other) || apart(one, other))
            })
        }),
        Property::always(ONE_CURRENT, |_, state: &State| {
            let live = |token: &Token| token.generation == state.rows[token.session].generation;
            let given = state.history.given.iter().map(|(_, token)| token);
            given
                .filter(|token| live(token))
                .all(|token| *token == state.token(token.session))
        }),
        Property::always(REVOKED, |_, state: &State| {
            is_not(state, Violation::SuccessAfterRevocation)
        }),
        Property::always(
            "a session that was reported as revoked is revoked",
            |_, state: &State| {
                state
                    .history
                    .ended
                    .iter()
                    .enumerate()
                    .all(|(session, ended)| !ended || state.dead(session))
            },
        ),
        Property::always(GRACE, |_, state: &State| {
            is_not(state, Violation::RepeatOutsideTheGrace)
        }),
        Property::always(CAUSE, |_, state: &State| {
            is_not(state, Violation::RevokedWithoutReuse)
        }),
        Property::always(OTHER_CLIENT_REFUSED, |_, state: &State| {
            is_not(state, Violation::RepeatForAnotherClient)
        }),
        Property::always(OTHER_CLIENT_REVOKES, |_, state: &State| {
            is_not(state, Violation::ReuseWithoutRevocation)
        }),
        Property::always("a forged token changes no row", |_, state: &State| {
            is_not(state, Violation::ForgedTokenChangedARow)
        }),
        Property::always("no token is returned after expiry", |_, state: &State| {
            is_not(state, Violation::TokenAfterExpiry)
        }),
        Property::always(PROMPT, |_, state: &State| {
            is_not(state, Violation::PromptClientRefused)
        }),
        Property::sometimes(
            "a client holds the second generation",
            |_, state: &State| {
                state
                    .clients
                    .iter()
                    .any(|client| client.holds.generation > 1)
            },
        ),
        Property::sometimes(
            "a retry gets the successor again",
            |model: &Sessions, state: &State| {
                let strict = matches!(model.grace, ReuseGrace::Window(window) if window.is_zero());
                let again =
                    |request: &Request| matches!(request.at, Stage::Answered(Answer::Again(_)));
                strict || model.rules == Rules::NoGrace || state.requests.iter().any(again)
            },
        ),
        Property::sometimes(
            "reuse revokes a session",
            |model: &Sessions, state: &State| {
                let never = model.prompt || model.grace == ReuseGrace::Unlimited;
                never
                    || state
                        .rows
                        .iter()
                        .any(|row| row.revoked == Some(Reason::Reuse))
            },
        ),
        Property::sometimes(
            "a log-out revokes a session",
            |model: &Sessions, state: &State| {
                model.log_outs == 0
                    || state
                        .rows
                        .iter()
                        .any(|row| row.revoked == Some(Reason::LoggedOut))
            },
        ),
        Property::sometimes(
            "one session is revoked and another is not",
            |_, state: &State| {
                state.rows.len() == 1
                    || state.rows[0].revoked.is_some()
                        && state.rows[1].revoked.is_none()
                        && state.rows[1].generation > 0
            },
        ),
    ]
}

fn is_not(state: &State, violation: Violation) -> bool {
    state.history.violation != Some(violation)
}
