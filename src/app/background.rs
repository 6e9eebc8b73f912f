//! Background tasks of the server.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use latchkey_domain::ports::StoreError;
use latchkey_http::connection::Connections;
use latchkey_service::{
    audit::AuditWriter,
    keys::watch::KeyWatch,
    revocation::write_behind::EntryWriter,
    revocation::{OperatorWatch, janitor::Maintenance},
};

/// Interval between two updates of the blacklist. An entry that one instance could not write is
/// written by others within this time.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between two reads of the key ring. Every instance applies a change within this time.
const KEY_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between two searches for connections that are past their deadline.
const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between two counts of revocations by operators. It is not longer than a usual scrape
/// interval.
const OPERATOR_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Interval between two removals of expired rows.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);

/// Background tasks that have not started.
pub(super) struct Background {
    connections: Arc<Connections>,
    entry_writer: Option<EntryWriter>,
    janitor: Arc<Maintenance>,
    keys: Arc<KeyWatch>,
    operators: Arc<OperatorWatch>,
    audit_writer: AuditWriter,
}

/// Log of the faults of a part. They are logged if they differ from those of the round before.
struct StateLog {
    logged: Mutex<Vec<String>>,
    part: &'static str,
    consequence: &'static str,
}

/// Background tasks that run.
pub(super) struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    pub(super) fn new(
        janitor: Maintenance,
        keys: KeyWatch,
        entry_writer: Option<EntryWriter>,
        audit_writer: AuditWriter,
        operators: OperatorWatch,
        connections: Arc<Connections>,
    ) -> Self {
        let (janitor, keys, operators) = (Arc::new(janitor), Arc::new(keys), Arc::new(operators));
        Self {
            connections,
            entry_writer,
            janitor,
            keys,
            operators,
            audit_writer,
        }
    }

    pub(super) fn start(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let cache_janitor = Arc::clone(&self.janitor);
        let disk_janitor = Arc::clone(&self.janitor);
        let purge_janitor = self.janitor;
        let disk = Arc::new(StateLog::of(
            "the database",
            "sign-ins and refreshes are refused",
        ));
        let mut audit_stopped = stopped.clone();
        let blacklist = Arc::new(StateLog::of(
            "the blacklist",
            "the database answers every check",
        ));
        let (keys, ring) = (
            Arc::clone(&self.keys),
            Arc::new(StateLog::of(
                "the key ring",
                "the active keys remain in use",
            )),
        );
        let (key_rotation, due) = (
            self.keys,
            Arc::new(StateLog::of(
                "key rotation",
                "the next attempt follows within a minute",
            )),
        );
        let mut tasks = vec![
            tokio::spawn(every(SYNC_INTERVAL, stopped.clone(), move || {
                let (janitor, log) = (Arc::clone(&cache_janitor), Arc::clone(&blacklist));
                async move {
                    match janitor.sync().await {
                        Ok(_) => log.report(janitor.blacklist_warnings()),
                        // Redis or the database may have failed, so the log does not name the
                        // one that answers.
                        Err(error) => {
                            let failed = format!("the blacklist could not be updated: {error}");
                            log.report_with(
                                vec![failed],
                                "the next attempt follows within a second",
                            );
                        }
                    }
                }
            })),
            tokio::spawn(every(SYNC_INTERVAL, stopped.clone(), move || {
                let (janitor, log) = (Arc::clone(&disk_janitor), Arc::clone(&disk));
                async move {
                    let failed =
                        |error: StoreError| vec![format!("the database takes no writes: {error}")];
                    log.report(
                        janitor
                            .check_writes()
                            .await
                            .map_or_else(failed, |()| Vec::new()),
                    );
                }
            })),
            tokio::spawn(every(KEY_POLL_INTERVAL, stopped.clone(), move || {
                let (keys, log) = (Arc::clone(&keys), Arc::clone(&ring));
                async move {
                    log.report(
                        keys.poll()
                            .await
                            .map_or_else(|error| error.lines(), |()| Vec::new()),
                    );
                }
            })),
            tokio::spawn(every(KEY_POLL_INTERVAL, stopped.clone(), move || {
                let (keys, log) = (Arc::clone(&key_rotation), Arc::clone(&due));
                async move {
                    log.report(
                        keys.keep()
                            .await
                            .map_or_else(|error| error.lines(), |()| Vec::new()),
                    );
                }
            })),
            tokio::spawn(every(PURGE_INTERVAL, stopped.clone(), move || {
                let janitor = Arc::clone(&purge_janitor);
                async move {
                    match janitor.purge_expired().await {
                        Ok(purged) => tracing::debug!(?purged, "expired sessions removed"),
                        Err(error) => tracing::warn!(%error, "expired sessions not removed"),
                    }
                }
            })),
            tokio::spawn(every(OPERATOR_POLL_INTERVAL, stopped.clone(), move || {
                let operators = Arc::clone(&self.operators);
                async move {
                    if let Err(error) = operators.poll().await {
                        tracing::debug!(%error, "revocations by operators not counted");
                    }
                }
            })),
            tokio::spawn(every(
                CONNECTION_CHECK_INTERVAL,
                stopped.clone(),
                move || {
                    self.connections.close_expired();
                    async {}
                },
            )),
            tokio::spawn(self.audit_writer.run(async move {
                let _ = audit_stopped.changed().await;
            })),
        ];
        tasks.extend(
            self.entry_writer
                .map(|entry_writer| tokio::spawn(entry_writer.run(stopped))),
        );
        Running { stop, tasks }
    }
}

impl StateLog {
    const fn of(part: &'static str, consequence: &'static str) -> Self {
        Self {
            logged: Mutex::new(Vec::new()),
            part,
            consequence,
        }
    }

    fn report(&self, faults: Vec<String>) {
        self.report_with(faults, self.consequence);
    }

    /// Logs the faults with their consequence, if they are not the same as before.
    fn report_with(&self, faults: Vec<String>, consequence: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if faults == *logged {
            return;
        }
        for fault in &faults {
            tracing::warn!("{fault}; {consequence}");
        }
        if faults.is_empty() {
            tracing::info!("{} has recovered", self.part);
        }
        *logged = faults;
    }
}

impl Running {
    /// Stops the tasks. A round in progress is dropped, and the next start does its work. Queued
    /// entries and audit events are written first; events that the database does not take are lost
    /// and counted.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn every<F: Future<Output = ()>>(
    period: Duration,
    mut stopped: watch::Receiver<bool>,
    mut work: impl FnMut() -> F,
) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let round = async {
            ticks.tick().await;
            // A panic must not end the task: no other task does this work.
            if AssertUnwindSafe(work()).catch_unwind().await.is_err() {
                tracing::error!("a background task panicked: its next round follows");
            }
        };
        tokio::select! {
            _ = stopped.changed() => return,
            () = round => {}
        }
    }
}
