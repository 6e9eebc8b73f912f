//! What the tokens of a round are worth afterwards, on each of the servers.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use latchkey::ports::SessionStore as _;

use super::{
    chance::Chance,
    oracle::Left,
    plan::What,
    play::{Event, Record, World},
};
use crate::support::{Forge, TestApp, servers};

impl World {
    async fn left(&self, record: &Record) -> Left {
        let state = self.store.find(record.session.id).await.unwrap().unwrap();
        Left {
            generation: state.session.generation,
            row: state.session,
            version: state.user.unwrap().session_epoch,
        }
    }

    /// What is left of the session, and every promise that is broken afterwards, in words. The newest token goes on if
    /// the session lives; if it is dead, no token of it is good anywhere.
    pub async fn look_after(&self, record: &Record) -> (Left, Vec<String>) {
        let mut left = self.left(record).await;
        if !left.dead() {
            let broken = self.walk_on(record).await;
            left = Left {
                generation: left.generation,
                ..self.left(record).await
            };
            // A request whose client is gone may end it only now.
            if !left.dead() {
                return (left, broken);
            }
        }
        let broken = self.look_at_the_dead(record).await;
        (
            Left {
                generation: left.generation,
                ..self.left(record).await
            },
            broken,
        )
    }

    async fn look_at_the_dead(&self, record: &Record) -> Vec<String> {
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
        if record.may_be_unmarked() {
            // Its mark is on its way, or comes with the next look of the janitors.
            for server in &self.servers {
                servers::eventually("the mark is there", async || {
                    server.verify(&record.tokens.access).await.status == 400
                })
                .await;
            }
        }
        let looks = self
            .servers
            .iter()
            .map(|server| all_refused(server, &refresh, &access));
        join_all(looks).await.into_iter().flatten().collect()
    }

    async fn walk_on(&self, record: &Record) -> Vec<String> {
        let mut chance = Chance::new(record.plan.seed);
        let mut wrong = Vec::new();
        let newest = record.newest().map(|(_, token)| token);
        let mut token = newest.unwrap_or_else(|| record.tokens.refresh.last().unwrap().clone());
        for _ in 0..2 {
            let server = &self.servers[usize::try_from(chance.below(3)).unwrap()];
            let answer = server.refresh(&token).await;
            if answer.status != 200 {
                wrong.push(format!(
                    "the session lives, and its newest token is refused: {answer:?}"
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
                    |verdict| {
                        format!("the session lives, and its new tokens are not valid: {verdict:?}")
                    },
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
                "the session is dead, and {what} of {} answers {status} to {claims}",
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
            .filter(|event| matches!(event.what, What::Refresh { .. }));
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

    /// Whether nobody was told of the end by whom wrote it, because its client was gone.
    fn may_be_unmarked(&self) -> bool {
        let gone = |event: &Event| event.answer.is_none();
        self.events.iter().any(gone) && !self.events.iter().any(Event::ends)
    }
}
