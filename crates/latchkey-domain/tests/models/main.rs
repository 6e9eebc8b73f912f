//! Small models of protocols that take several statements. The model checker visits every state.
//!
//! Each step of each request is one action, and every order of actions is tried. Further tests
//! break one rule and expect the checker to find the violated property.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod blacklist;
mod sessions;

use stateright::{Checker, HasDiscoveries, Model};

/// Visits every state, and prints the number of states.
///
/// Fails with the shortest path to the first violated property, or if a `sometimes` property was
/// never reached.
fn assert_holds<M>(name: &str, model: M)
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
    print(&format!(
        "{name}: {states} states, maximum depth {}",
        checker.max_depth()
    ));
}

/// Fails unless the checker finds a violation of this property.
fn assert_violated<M>(property: &'static str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + std::hash::Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + std::fmt::Debug + PartialEq,
{
    let only = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().finish_when(only).spawn_bfs().join();
    let path = checker
        .discovery(property)
        .unwrap_or_else(|| panic!("no violation of {property:?} found"));
    print(&format!(
        "violated after {} steps, as expected: {property}",
        path.into_actions().len()
    ));
}

#[expect(
    clippy::print_stdout,
    reason = "number of visited states, shown on --nocapture"
)]
fn print(text: &str) {
    println!("{text}");
}
