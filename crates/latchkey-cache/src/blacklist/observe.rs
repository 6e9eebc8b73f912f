//! Probes of all servers, and the self-test of `latchkey doctor`.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use redis::{Value, from_redis_value, pipe};

use super::RedisBlacklist;
use crate::{
    clock_drift::ClockReading,
    connection::Via,
    info::ServerInfo,
    scripts::{self, Term},
    slot_map::Node,
    trust::{Observation, SealedCache},
};
use latchkey_domain::ports::{Blacklist as _, StoreError};

/// Reply of one server.
struct ServerReply {
    server: ServerInfo,
    reading: ClockReading,
    epochs: Vec<Option<String>>,
    tickets: bool,
}

impl RedisBlacklist {
    /// Runs every command that a server needs, on keys that expire after a millisecond. Returns
    /// problems of the servers' configuration, one sentence each. The owner of the blacklist is
    /// checked only if the deployment `is_known`.
    ///
    /// # Errors
    /// The first command that a server rejects, or the error of a connection.
    pub async fn examine(&self, is_known: bool) -> Result<Vec<String>, StoreError> {
        self.probe().await?;
        let term = Term {
            life: Duration::from_millis(1),
            latest: Duration::from_secs(u32::MAX.into()),
        };
        let name = self.shared.trust.name_epochs(&self.shared.process);
        self.on_all::<i64>(self.via, |_, bucket, pipeline| {
            let key = self
                .shared
                .keys
                .rebuild_ticket(bucket, &self.shared.process);
            pipeline
                .cmd("MGET")
                .arg(self.shared.keys.epoch(bucket))
                .ignore();
            pipeline
                .cmd("EXISTS")
                .arg(self.shared.keys.epoch(bucket))
                .ignore();
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
        Ok(self.shared.trust.warnings(is_known))
    }

    /// Probes all servers, in one round trip to each. Renews the trusted cache epochs.
    pub(super) async fn observe(&self) -> Result<Observation, StoreError> {
        let route = self.shared.topology.find(&self.shared.keys).await?;
        let mut seen = Observation::new(self.shared.trust.failures.load(Ordering::Acquire));
        let (filling, trusted) = (self.shared.trust.rebuilding(), self.shared.trust.trusted());
        let replies = join_all(
            route
                .nodes
                .iter()
                .map(|node| self.observe_node(node, filling, &trusted)),
        )
        .await;
        let mut failure = None;
        for (node, reply) in route.nodes.iter().zip(replies) {
            let accepted = reply.and_then(|reply| {
                self.accept(node, &reply.server)
                    .inspect_err(|error| node.link.drop_shared(&error.to_string()))?;
                Ok(reply)
            });
            // A faulty server must not hide the state of the others.
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
                seen.epochs.set(*bucket, epoch);
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
        let mut commands = pipe();
        commands.cmd("INFO").cmd("TIME");
        let term = trusted.term(node.link.address());
        for bucket in &node.buckets {
            let epoch = trusted.epochs.get(*bucket).unwrap_or_default();
            commands.add_command(scripts::renew(
                &self.shared.keys.epoch(*bucket),
                epoch,
                term,
            ));
        }
        for bucket in node.buckets.iter().filter(|_| filling.is_some()) {
            commands.cmd("GET").arg(
                self.shared
                    .keys
                    .rebuild_ticket(*bucket, &self.shared.process),
            );
        }
        let sent_at = Instant::now();
        let send = async {
            (
                node.link
                    .query_pipeline::<Vec<Value>>(Via::Shared, &commands)
                    .await,
                Instant::now(),
            )
        };
        let ((replies, replied_at), ()) = join(send, node.link.ping_worker_connections()).await;
        let mut replies = replies?.into_iter();
        let unexpected = || {
            StoreError::Failed(format!(
                "Redis at {} sent an unexpected reply",
                node.link.address()
            ))
        };
        let info: String = replies
            .next()
            .and_then(|info| from_redis_value(info).ok())
            .ok_or_else(unexpected)?;
        let time: (u64, u32) = replies
            .next()
            .and_then(|time| from_redis_value(time).ok())
            .ok_or_else(unexpected)?;
        let server_time = Duration::from_secs(time.0) + Duration::from_micros(time.1.into());
        // A value that is not text names no deployment.
        let epoch = |value| from_redis_value(value).unwrap_or_else(|_| Some(String::new()));
        let epochs = replies
            .by_ref()
            .take(node.buckets.len())
            .map(epoch)
            .collect();
        let mut tickets =
            replies.map(|reply| from_redis_value::<Option<u64>>(reply).ok().flatten());
        let tickets = tickets.all(|ticket| ticket.is_some() && ticket == filling);
        Ok(ServerReply {
            server: ServerInfo::parse(&info),
            reading: ClockReading {
                sent_at,
                replied_at,
                server_time,
            },
            epochs,
            tickets,
        })
    }

    /// Returns an error if the server is not the kind of master that the topology expects.
    fn accept(&self, node: &Node, server: &ServerInfo) -> Result<(), StoreError> {
        let address = node.link.address();
        if server.cluster != self.shared.topology.is_known_cluster() {
            self.shared.topology.forget_kind();
            return Err(StoreError::Unavailable(format!(
                "Redis at {address} has changed between standalone and cluster mode"
            )));
        }
        if server.replica {
            return Err(StoreError::Unavailable(format!(
                "Redis at {address} is a replica and rejects writes"
            )));
        }
        Ok(())
    }
}
