//! Small models of what takes more than one statement, explored to their last state: each step of each request is one
//! action, and every order of them is tried. That a model can fail is a story of its own: with one rule broken, the
//! broken promise is found.

mod marks;
mod sessions;

use stateright::{Checker, HasDiscoveries, Model};

/// Explores every state. Fails at the first promise that does not hold, with the shortest way there, or unless every
/// story that should be possible was met. Says how many states there were.
fn explored<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + std::hash::Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    say(&format!(
        "{name}: {states} states, the longest way has {} steps",
        checker.max_depth()
    ));
}

/// Fails unless this promise is found broken.
fn found_broken<M>(promise: &'static str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + std::hash::Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    let only = HasDiscoveries::AnyOf([promise].into());
    let checker = model.checker().finish_when(only).spawn_bfs().join();
    let way = checker
        .discovery(promise)
        .unwrap_or_else(|| panic!("in vain: {promise:?} holds"));
    say(&format!(
        "broken as it should be, in {} steps: {promise}",
        way.into_actions().len()
    ));
}

#[expect(
    clippy::print_stdout,
    reason = "shown on --nocapture: how much was explored"
)]
fn say(text: &str) {
    println!("{text}");
}
