//! Checks of all tokens after a round, on each server.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use latchkey_domain::ports::SessionStore as _;

use super::{
    oracle::Outcome,
    plan::Command,
    play::{Event, Record, World},
    rng::Rng,
};
use latchkey_testkit::{Forge, TestApp, servers};

impl World {
    async fn outcome(&self, record: &Record) -> Outcome {
        let state = self.store.find(record.session.id).await.unwrap().unwrap();
        Outcome {
            generation: state.session.generation,
            row: state.session,
            session_epoch: state.user.unwrap().session_epoch,
        }
    }

    /// Returns the outcome, and a description of each violation. If the session is live, its newest
    /// token must be accepted. If it is revoked, no server may accept a token of it.
    pub async fn check_afterwards(&self, record: &Record) -> (Outcome, Vec<String>) {
        let mut outcome = self.outcome(record).await;
        if !outcome.dead() {
            let violations = self.check_live(record).await;
            outcome = Outcome {
                generation: outcome.generation,
                ..self.outcome(record).await
            };
            // A request of a disconnected client may still revoke the session.
            if !outcome.dead() {
                return (outcome, violations);
            }
        }
        let violations = self.check_revoked(record).await;
        (
            Outcome {
                generation: outcome.generation,
                ..self.outcome(record).await
            },
            violations,
        )
    }

    async fn check_revoked(&self, record: &Record) -> Vec<String> {
        let refresh: BTreeSet<String> = record
            .tokens
            .refresh
            .iter()
            .cloned()
            .chain(record.given(false))
            .collect();
        let access: BTreeSet<String> = [record.tokens.access.clone()]
            .into_iter()
            .chain(record.given(true))
            .collect();
        if record.may_lack_entry() {
            // The entry is written soon, or by the next replay.
            for server in &self.servers {
                servers::eventually("the entry exists", async || {
                    server.verify(&record.tokens.access).await.status == 400
                })
                .await;
            }
        }
        let checks = self
            .servers
            .iter()
            .map(|server| all_refused(server, &refresh, &access));
        join_all(checks).await.into_iter().flatten().collect()
    }

    async fn check_live(&self, record: &Record) -> Vec<String> {
        let mut rng = Rng::new(record.plan.seed);
        let mut wrong = Vec::new();
        let newest = record.newest().map(|(_, token)| token);
        let mut token = newest.unwrap_or_else(|| record.tokens.refresh.last().unwrap().clone());
        for _ in 0..2 {
            let server = &self.servers[usize::try_from(rng.below(3)).unwrap()];
            let answer = server.refresh(&token).await;
            if answer.status != 200 {
                wrong.push(format!(
                    "newest token of a live session is refused: {answer:?}"
                ));
                return wrong;
            }
            let pair = answer.pair();
            for server in &self.servers {
                let verdicts = [
                    server.verify(&pair.access).await,
                    server.verify(&pair.refresh).await,
                ];
                wrong.extend(verdicts.iter().filter(|verdict| verdict.status != 200).map(
                    |verdict| format!("new token of a live session is not valid: {verdict:?}"),
                ));
            }
            token = pair.refresh;
        }
        wrong
    }
}

async fn all_refused(
    server: &TestApp,
    refresh: &BTreeSet<String>,
    access: &BTreeSet<String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, token: &String, status: u16, refused: u16| {
        if status != refused {
            let claims = Forge::claims_of(token);
            wrong.push(format!(
                "{what} of {} returns {status} for a revoked session: {claims}",
                server.address
            ));
        }
    };
    for token in refresh {
        expect("refresh", token, server.refresh(token).await.status, 401);
    }
    for token in refresh.iter().chain(access) {
        expect("verify", token, server.verify(token).await.status, 400);
    }
    for token in access {
        expect(
            "the protected view",
            token,
            server.me(&format!("Bearer {token}")).await.status,
            401,
        );
    }
    wrong
}

impl Record {
    fn given(&self, access: bool) -> impl Iterator<Item = String> {
        let refreshed = self
            .events
            .iter()
            .filter(|event| matches!(event.what, Command::Refresh { .. }));
        let answers = refreshed
            .filter_map(|event| event.answer.as_ref())
            .filter(|(_, answer)| answer.status == 200);
        answers.map(move |(_, answer)| {
            if access {
                answer.pair().access
            } else {
                answer.pair().refresh
            }
        })
    }

    /// True if a disconnected client may have revoked the session, and no other revocation was
    /// confirmed.
    fn may_lack_entry(&self) -> bool {
        let disconnected = |event: &Event| event.answer.is_none();
        self.events.iter().any(disconnected) && !self.events.iter().any(Event::confirms_revocation)
    }
}
