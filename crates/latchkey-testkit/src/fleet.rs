//! Several instances of one deployment.

use std::ops::Deref;

use futures_util::future::join_all;

use crate::{Answer, Backend, Pair, TestApp};

/// Instances that share their stores, keys and clock.
pub struct Fleet(Vec<TestApp>);

impl Fleet {
    /// Starts this number of instances with these flags of `latchkey serve`.
    pub async fn start(backend: Backend, size: usize, flags: &[&str]) -> Self {
        Self::of(TestApp::start_with(backend, flags).await, size).await
    }

    /// Adds twins to an instance.
    pub async fn of(first: TestApp, size: usize) -> Self {
        let mut apps = vec![first];
        while apps.len() < size {
            let twin = apps[0].twin().await;
            apps.push(twin);
        }
        Self(apps)
    }

    /// Returns the instances of a fleet of three.
    pub fn three(&self) -> [&TestApp; 3] {
        self.0.iter().collect::<Vec<_>>().try_into().ok().unwrap()
    }

    /// Asserts that every instance accepts both tokens.
    pub async fn all_accept(&self, pair: &Pair) {
        for app in &self.0 {
            app.live(pair).await;
        }
    }

    /// Asserts that the first response of every instance refuses the tokens.
    pub async fn all_refuse(&self, pair: &Pair) {
        for app in &self.0 {
            app.dead(pair).await;
        }
    }

    /// Sends a refresh token this number of times at once, to the instances in turn.
    pub async fn refreshes(&self, count: usize, token: &str) -> Vec<Answer> {
        join_all((0..count).map(|turn| self.0[turn % self.0.len()].refresh(token))).await
    }
}

impl Deref for Fleet {
    type Target = [TestApp];

    fn deref(&self) -> &[TestApp] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Fleet {
    type Item = &'a TestApp;
    type IntoIter = std::slice::Iter<'a, TestApp>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
