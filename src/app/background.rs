//! What runs beside the server, until it stops.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::service::{audit::AuditWriter, janitor::Janitor};

/// How often the blacklist is looked after: a mark that one instance could not write reaches the others this soon.
const KEEP: Duration = Duration::from_secs(1);

/// How often rows that are over are removed.
const FLUSH: Duration = Duration::from_hours(1);

/// Work that has not begun.
pub(super) struct Background {
    janitor: Arc<Janitor>,
    writer: AuditWriter,
}

/// Work that runs.
pub(super) struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    pub(super) fn new(janitor: Janitor, writer: AuditWriter) -> Self {
        Self { janitor: Arc::new(janitor), writer }
    }

    pub(super) fn start(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let keeper = Arc::clone(&self.janitor);
        let flusher = self.janitor;
        let mut writer_stopped = stopped.clone();
        let tasks = vec![
            tokio::spawn(every(KEEP, stopped.clone(), move || {
                let janitor = Arc::clone(&keeper);
                async move {
                    if let Err(error) = janitor.keep_blacklist().await {
                        tracing::warn!(%error, "the blacklist could not be looked after: the database answers");
                    }
                }
            })),
            tokio::spawn(every(FLUSH, stopped, move || {
                let janitor = Arc::clone(&flusher);
                async move {
                    match janitor.flush_expired().await {
                        Ok(flushed) => tracing::debug!(?flushed, "expired sessions were removed"),
                        Err(error) => tracing::warn!(%error, "expired sessions were not removed"),
                    }
                }
            })),
            tokio::spawn(self.writer.run(async move {
                let _ = writer_stopped.changed().await;
            })),
        ];
        Running { stop, tasks }
    }
}

impl Running {
    /// Ends what runs, wherever it is: each piece of it may be left half done, and the next start does it again.
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
            work().await;
        };
        tokio::select! {
            _ = stopped.changed() => return,
            () = round => {}
        }
    }
}
