//! Observes the servers: what they answer, and whether they can do all that is asked of them.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use redis::{Value, from_redis_value, pipe};

use super::RedisBlacklist;
use crate::{
    ports::{Blacklist as _, StoreError},
    store::redis::{
        clock_drift::ClockReading,
        connection::Via,
        info::ServerInfo,
        scripts::{self, Term},
        slot_map::Node,
        trust::{Observation, SealedCache},
    },
};

/// The response of one server.
struct ServerReply {
    server: ServerInfo,
    reading: ClockReading,
    epochs: Vec<Option<String>>,
    tickets: bool,
}

impl RedisBlacklist {
    /// Does all that a server does with Redis, on keys that live for a millisecond. What is wrong with how the servers
    /// are set up, a sentence each. The owner of the blacklist is checked only if the deployment `is_known`.
    ///
    /// # Errors
    /// What a server could not do.
    pub async fn examine(&self, is_known: bool) -> Result<Vec<String>, StoreError> {
        self.probe().await?;
        let term = Term {
            life: Duration::from_millis(1),
            latest: Duration::from_secs(u32::MAX.into()),
        };
        let name = self.trust.name_epochs(&self.process);
        self.on_all::<i64>(Via::Worker, |_, bucket, pipeline| {
            let key = self.keys.rebuild_ticket(bucket, &self.process);
            pipeline.cmd("MGET").arg(self.keys.epoch(bucket)).ignore();
            pipeline.cmd("EXISTS").arg(self.keys.epoch(bucket)).ignore();
            pipeline
                .add_command(scripts::raise(&[(key.clone(), "0".to_owned(), 1)]))
                .ignore();
            pipeline
                .cmd("SET")
                .arg(&key)
                .arg(0)
                .arg("PX")
                .arg(1)
                .ignore();
            pipeline
                .add_command(scripts::renew(&key, "0", term))
                .ignore();
            pipeline
                .add_command(scripts::seal(&key, (&key, 1), &name, term))
                .ignore();
            pipeline.cmd("DEL").arg(&key);
        })
        .await?;
        Ok(self.trust.warnings(is_known))
    }

    /// Asks all servers, in one round trip to each. Trusted epochs are renewed.
    pub(super) async fn observe(&self) -> Result<Observation, StoreError> {
        let route = self.topology.find(&self.keys).await?;
        let mut seen = Observation::new(self.trust.failures.load(Ordering::Acquire));
        let (filling, trusted) = (self.trust.rebuilding(), self.trust.trusted());
        let answers = join_all(
            route
                .nodes
                .iter()
                .map(|node| self.observe_node(node, filling, &trusted)),
        )
        .await;
        let mut failure = None;
        for (node, answer) in route.nodes.iter().zip(answers) {
            let accepted = answer.and_then(|answer| {
                self.accept(node, &answer.server)
                    .inspect_err(|error| node.link.drop_shared(&error.to_string()))?;
                Ok(answer)
            });
            // What is wrong with one server is no reason not to know the others.
            let ServerReply {
                server,
                reading,
                epochs,
                tickets,
            } = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    failure.get_or_insert(error);
                    continue;
                }
            };
            node.link.expect_run_id(&server.run_id);
            seen.add(node.link.address(), &node.buckets, server, reading);
            for (bucket, epoch) in node.buckets.iter().zip(epochs) {
                seen.epochs.note(*bucket, epoch);
            }
            seen.tickets &= tickets;
        }
        failure.map_or(Ok(seen), Err)
    }

    async fn observe_node(
        &self,
        node: &Node,
        filling: Option<u64>,
        trusted: &SealedCache,
    ) -> Result<ServerReply, StoreError> {
        let mut question = pipe();
        question.cmd("INFO").cmd("TIME");
        let term = trusted.term(node.link.address());
        for bucket in &node.buckets {
            let epoch = trusted.epochs.get(*bucket).unwrap_or_default();
            question.add_command(scripts::renew(&self.keys.epoch(*bucket), epoch, term));
        }
        for bucket in node.buckets.iter().filter(|_| filling.is_some()) {
            question
                .cmd("GET")
                .arg(self.keys.rebuild_ticket(*bucket, &self.process));
        }
        let asked = Instant::now();
        let ask = async {
            (
                node.link
                    .query_pipeline::<Vec<Value>>(Via::Shared, &question)
                    .await,
                Instant::now(),
            )
        };
        let ((answers, answered), ()) = join(ask, node.link.ping_worker_connections()).await;
        let mut answers = answers?.into_iter();
        let strange = || {
            StoreError::Failed(format!(
                "Redis at {} speaks another language",
                node.link.address()
            ))
        };
        let info: String = answers
            .next()
            .and_then(|info| from_redis_value(info).ok())
            .ok_or_else(strange)?;
        let time: (u64, u32) = answers
            .next()
            .and_then(|time| from_redis_value(time).ok())
            .ok_or_else(strange)?;
        let theirs = Duration::from_secs(time.0) + Duration::from_micros(time.1.into());
        // A value that is not text names no deployment.
        let epoch = |value| from_redis_value(value).unwrap_or_else(|_| Some(String::new()));
        let epochs = answers
            .by_ref()
            .take(node.buckets.len())
            .map(epoch)
            .collect();
        let mut tickets =
            answers.map(|answer| from_redis_value::<Option<u64>>(answer).ok().flatten());
        let tickets = tickets.all(|ticket| ticket.is_some() && ticket == filling);
        Ok(ServerReply {
            server: ServerInfo::parse(&info),
            reading: ClockReading {
                asked,
                answered,
                theirs,
            },
            epochs,
            tickets,
        })
    }

    /// Whether the server is what the route takes it for.
    fn accept(&self, node: &Node, server: &ServerInfo) -> Result<(), StoreError> {
        let address = node.link.address();
        if server.cluster != self.topology.is_known_cluster() {
            self.topology.forget_kind();
            return Err(StoreError::Unavailable(format!(
                "Redis at {address} is of another kind than before"
            )));
        }
        if server.replica {
            return Err(StoreError::Unavailable(format!(
                "Redis at {address} is a replica, and takes no marks"
            )));
        }
        Ok(())
    }
}
