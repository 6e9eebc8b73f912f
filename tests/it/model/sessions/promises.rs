//! What holds in every state, and what must be met at least once, or the rest would say nothing.

use latchkey::domain::session::ReuseGrace;
use stateright::Property;

use super::{Answer, Request, Rules, Sessions, Stage, State, Token, Why, Wrong};

pub const ONE_SUCCESSOR: &str = "a generation has one successor";
pub const ONE_LIVE: &str = "a session has one live token";
pub const ENDED: &str = "after the end was told, nothing succeeds";
pub const WINDOW: &str = "only the parent is forgiven, and the window never moves";
pub const CAUSE: &str = "a session dies by reuse only when a token came outside its right";
pub const PROMPT: &str = "a client that retries in time ends with the live token";

pub const ELSEWHERE: &str = "a thief elsewhere gets nothing for a token that the owner has spent";
pub const EFFECT: &str =
    "a thief elsewhere shows a token that the owner has spent nowhere without ending the session";

pub fn all() -> Vec<Property<Sessions>> {
    vec![
        Property::always(ONE_SUCCESSOR, |model: &Sessions, state: &State| {
            // Without an end of the window, any old token gives whatever is current.
            let alike = |one: &(u8, Token), other: &(u8, Token)| {
                one.1.generation == other.1.generation
                    || one.0 == other.0 && model.grace != ReuseGrace::Unlimited
            };
            let apart = |one: &(u8, Token), other: &(u8, Token)| {
                one.1.session != other.1.session || one.1 == other.1
            };
            let given = &state.story.given;
            given.iter().all(|one| {
                given
                    .iter()
                    .all(|other| !alike(one, other) || apart(one, other))
            })
        }),
        Property::always(ONE_LIVE, |_, state: &State| {
            let live = |token: &Token| token.generation == state.rows[token.session].generation;
            let given = state.story.given.iter().map(|(_, token)| token);
            given
                .filter(|token| live(token))
                .all(|token| *token == state.token(token.session))
        }),
        Property::always(ENDED, |_, state: &State| {
            is_not(state, Wrong::SucceededAfterTheEndWasTold)
        }),
        Property::always("what was told to be dead is dead", |_, state: &State| {
            state
                .story
                .ended
                .iter()
                .enumerate()
                .all(|(session, ended)| !ended || state.dead(session))
        }),
        Property::always(WINDOW, |_, state: &State| {
            is_not(state, Wrong::ForgivenWithoutRight)
        }),
        Property::always(CAUSE, |_, state: &State| {
            is_not(state, Wrong::KilledWithoutCause)
        }),
        Property::always(ELSEWHERE, |_, state: &State| {
            is_not(state, Wrong::GivenElsewhere)
        }),
        Property::always(EFFECT, |_, state: &State| {
            is_not(state, Wrong::AskedWithoutEffect)
        }),
        Property::always("a forged token changes nothing", |_, state: &State| {
            is_not(state, Wrong::ForgedTokenChangedARow)
        }),
        Property::always("nothing is given after the end", |_, state: &State| {
            is_not(state, Wrong::GivenAfterTheEnd)
        }),
        Property::always(PROMPT, |_, state: &State| {
            is_not(state, Wrong::PromptClientRefused)
        }),
        Property::sometimes("a second generation is held", |_, state: &State| {
            state
                .clients
                .iter()
                .any(|client| client.holds.generation > 1)
        }),
        Property::sometimes("a retry is forgiven", |model: &Sessions, state: &State| {
            let strict = matches!(model.grace, ReuseGrace::Window(window) if window.is_zero());
            let again = |request: &Request| matches!(request.at, Stage::Answered(Answer::Again(_)));
            strict || model.rules == Rules::NoForgiveness || state.requests.iter().any(again)
        }),
        Property::sometimes("reuse ends a session", |model: &Sessions, state: &State| {
            let never = model.prompt || model.grace == ReuseGrace::Unlimited;
            never || state.rows.iter().any(|row| row.revoked == Some(Why::Reuse))
        }),
        Property::sometimes(
            "a log-out ends a session",
            |model: &Sessions, state: &State| {
                model.log_outs == 0
                    || state
                        .rows
                        .iter()
                        .any(|row| row.revoked == Some(Why::LoggedOut))
            },
        ),
        Property::sometimes("one session dies and another lives", |_, state: &State| {
            state.rows.len() == 1
                || state.rows[0].revoked.is_some()
                    && state.rows[1].revoked.is_none()
                    && state.rows[1].generation > 0
        }),
    ]
}

fn is_not(state: &State, wrong: Wrong) -> bool {
    state.story.wrong != Some(wrong)
}
