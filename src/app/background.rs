//! What runs beside the server, until it stops.

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

use crate::{
    http::connection::Connections,
    ports::StoreError,
    service::{
        audit::AuditWriter, janitor::Maintenance, keys::watch::KeyWatch, operators::OperatorWatch,
        write_behind::EntryWriter,
    },
};

/// How often the blacklist is looked after: a mark that one instance could not write reaches the others this soon.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How often the ring of keys is looked at: every instance follows a change this soon.
const KEY_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The interval between two searches for connections that are past their deadline.
const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The interval between two looks at the revocations by operators: that between two scrapes, or less.
const OPERATOR_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How often rows that are over are removed.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);

/// Work that has not begun.
pub(super) struct Background {
    connections: Arc<Connections>,
    hints: Option<EntryWriter>,
    janitor: Arc<Maintenance>,
    keys: Arc<KeyWatch>,
    operators: Arc<OperatorWatch>,
    writer: AuditWriter,
}

/// What is wrong with a part, told when it changes and not at each round.
struct StateLog {
    told: Mutex<Vec<String>>,
    part: &'static str,
    meanwhile: &'static str,
}

/// Work that runs.
pub(super) struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    pub(super) fn new(
        janitor: Maintenance,
        keys: KeyWatch,
        hints: Option<EntryWriter>,
        writer: AuditWriter,
        operators: OperatorWatch,
        connections: Arc<Connections>,
    ) -> Self {
        let (janitor, keys, operators) = (Arc::new(janitor), Arc::new(keys), Arc::new(operators));
        Self {
            connections,
            hints,
            janitor,
            keys,
            operators,
            writer,
        }
    }

    pub(super) fn start(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let keeper = Arc::clone(&self.janitor);
        let writer = Arc::clone(&self.janitor);
        let flusher = self.janitor;
        let disk = Arc::new(StateLog::of(
            "the database",
            "sign-ins and refreshes are refused",
        ));
        let mut writer_stopped = stopped.clone();
        let blacklist = Arc::new(StateLog::of("the blacklist", "the database answers"));
        let (keys, ring) = (
            Arc::clone(&self.keys),
            Arc::new(StateLog::of("the ring of keys", "the keys in force stay")),
        );
        let (keeper_of_keys, due) = (
            self.keys,
            Arc::new(StateLog::of(
                "what keys are due",
                "it is tried again in a minute",
            )),
        );
        let mut tasks = vec![
            tokio::spawn(every(SYNC_INTERVAL, stopped.clone(), move || {
                let (janitor, complaint) = (Arc::clone(&keeper), Arc::clone(&blacklist));
                async move {
                    match janitor.sync().await {
                        Ok(_) => complaint.report(janitor.blacklist_warnings()),
                        // Redis or the database: which of them answers meanwhile is not known.
                        Err(error) => {
                            let failed = format!("the blacklist could not be updated: {error}");
                            complaint.report_with(
                                vec![failed],
                                "the next attempt follows within a second",
                            );
                        }
                    }
                }
            })),
            tokio::spawn(every(SYNC_INTERVAL, stopped.clone(), move || {
                let (janitor, complaint) = (Arc::clone(&writer), Arc::clone(&disk));
                async move {
                    let failed =
                        |error: StoreError| vec![format!("the database takes no writes: {error}")];
                    complaint.report(
                        janitor
                            .check_writes()
                            .await
                            .map_or_else(failed, |()| Vec::new()),
                    );
                }
            })),
            tokio::spawn(every(KEY_POLL_INTERVAL, stopped.clone(), move || {
                let (keys, complaint) = (Arc::clone(&keys), Arc::clone(&ring));
                async move {
                    complaint.report(
                        keys.poll()
                            .await
                            .map_or_else(|error| error.lines(), |()| Vec::new()),
                    )
                }
            })),
            tokio::spawn(every(KEY_POLL_INTERVAL, stopped.clone(), move || {
                let (keys, complaint) = (Arc::clone(&keeper_of_keys), Arc::clone(&due));
                async move {
                    complaint.report(
                        keys.keep()
                            .await
                            .map_or_else(|error| error.lines(), |()| Vec::new()),
                    )
                }
            })),
            tokio::spawn(every(PURGE_INTERVAL, stopped.clone(), move || {
                let janitor = Arc::clone(&flusher);
                async move {
                    match janitor.purge_expired().await {
                        Ok(flushed) => tracing::debug!(?flushed, "expired sessions were removed"),
                        Err(error) => tracing::warn!(%error, "expired sessions were not removed"),
                    }
                }
            })),
            tokio::spawn(every(OPERATOR_POLL_INTERVAL, stopped.clone(), move || {
                let operators = Arc::clone(&self.operators);
                async move {
                    if let Err(error) = operators.poll().await {
                        tracing::debug!(%error, "revocations by operators could not be counted");
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
            tokio::spawn(self.writer.run(async move {
                let _ = writer_stopped.changed().await;
            })),
        ];
        tasks.extend(self.hints.map(|hints| tokio::spawn(hints.run(stopped))));
        Running { stop, tasks }
    }
}

impl StateLog {
    const fn of(part: &'static str, meanwhile: &'static str) -> Self {
        Self {
            told: Mutex::new(Vec::new()),
            part,
            meanwhile,
        }
    }

    fn report(&self, found: Vec<String>) {
        self.report_with(found, self.meanwhile);
    }

    /// Logs what was found and what happens meanwhile, if it is not the same as before.
    fn report_with(&self, found: Vec<String>, meanwhile: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if found == *told {
            return;
        }
        for wrong in &found {
            tracing::warn!("{wrong}; {meanwhile}");
        }
        if found.is_empty() {
            tracing::info!("{} is as it should be again", self.part);
        }
        *told = found;
    }
}

impl Running {
    /// Ends what runs, wherever it is: each piece of it may be left half done, and the next start does it again. Marks
    /// that wait are written.
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
            // The next round may fare better: nobody else would do this work.
            if AssertUnwindSafe(work()).catch_unwind().await.is_err() {
                tracing::error!("background work panicked: it is tried again");
            }
        };
        tokio::select! {
            _ = stopped.changed() => return,
            () = round => {}
        }
    }
}
