//! Users of all three servers, and offline verifiers.

use super::{
    fleet::{KeyFleet, kid},
    offline::Offline,
};
use latchkey_testkit::{Forge, PASSWORD, Pair};

/// Sessions that alternate between the servers, unexpired access tokens, and three offline
/// verifiers.
pub struct Traffic {
    pub offline: [Offline; 3],
    issued: Vec<String>,
    sessions: Vec<Pair>,
    idle: Vec<Pair>,
    turn: usize,
}

impl Traffic {
    pub async fn start(fleet: &KeyFleet) -> Self {
        let (mut sessions, mut idle) = (Vec::new(), Vec::new());
        for (number, app) in fleet.apps.iter().enumerate() {
            sessions.push(app.signed_in(&format!("user{number}")).await);
            idle.push(app.obtain(&format!("user{number}"), PASSWORD).await.pair());
        }
        Self {
            offline: Default::default(),
            issued: Vec::new(),
            sessions,
            idle,
            turn: 0,
        }
    }

    /// Refreshes each session at the next server. Verifies the newest tokens, and those that expire
    /// next, everywhere.
    pub async fn flow(&mut self, fleet: &KeyFleet) {
        self.turn += 1;
        for (number, pair) in self.sessions.iter_mut().enumerate() {
            let here = &fleet.apps[(number + self.turn) % 3];
            *pair = here.refresh(&pair.refresh).await.pair();
            self.issued.push(pair.access.clone());
            for app in &fleet.apps {
                app.live(pair).await;
            }
        }
        let now = fleet.now().timestamp();
        self.issued
            .retain(|token| Forge::claims_of(token)["exp"].as_i64().unwrap() > now);
        let oldest = self.issued.iter().take(3);
        for (number, token) in oldest.chain(self.issued.iter().rev().take(3)).enumerate() {
            let app = &fleet.apps[(number + self.turn) % 3];
            app.verify(token).await.expect(200, "{}");
            for offline in &mut self.offline {
                offline.check(app, token).await;
            }
        }
    }

    /// Signs in at each server.
    pub async fn sign_in(&mut self, fleet: &KeyFleet) {
        for (number, app) in fleet.apps.iter().enumerate() {
            self.sessions[number] = app.obtain(&format!("user{number}"), PASSWORD).await.pair();
        }
    }

    /// Returns the key ids of the newest access and refresh tokens. Fails unless all sessions
    /// agree.
    #[track_caller]
    pub fn kids(&self) -> (String, String) {
        let mut kids: Vec<_> = self
            .sessions
            .iter()
            .map(|pair| (kid(&pair.access), kid(&pair.refresh)))
            .collect();
        kids.dedup();
        assert_eq!(kids.len(), 1, "servers sign with different keys: {kids:?}");
        kids.remove(0)
    }

    /// Refreshes the sessions that were idle since the start.
    pub async fn refresh_idle(self, fleet: &KeyFleet) {
        for (number, pair) in self.idle.iter().enumerate() {
            let next = fleet.apps[(number + 1) % 3]
                .refresh(&pair.refresh)
                .await
                .pair();
            for app in &fleet.apps {
                app.live(&next).await;
            }
        }
    }
}
