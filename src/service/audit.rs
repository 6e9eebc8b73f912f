//! The audit trail: events that need no transaction of their own are handed over here and written in batches, off the
//! request path. What matters (sign-ins, revocations, cut-offs) is written by the stores together with what it tells of.

use std::{collections::HashMap, sync::Arc, time::Duration};

use latchkey_verifier::{Checked, Kind};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{sleep, timeout},
};

use super::{Auth, Client, Error, TokenDetail, tokens::token_ref};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind, Origin},
        time::Moment,
    },
    ports::AuditStore,
};

/// Events that may wait. More are counted and dropped: a flood of refusals must not take the memory.
const WAITING: usize = 8192;

/// So many of them in the queue, and so many in the batch that is being gathered.
const HALF: usize = WAITING / 2;

/// Events that are taken at once.
const BATCH: usize = 500;

/// Rows that are written in one round at the most, which is about a second: what arises faster is counted and dropped.
const MOST_ROWS: usize = 1000;

/// How long events are gathered: the same event in this time is one row.
const GATHER: Duration = Duration::from_secs(1);

/// How long a database that did not take a batch is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a stop waits for the last batch.
const LAST: Duration = Duration::from_secs(3);

/// Takes events and never waits. Cloning shares it.
#[derive(Clone)]
pub struct AuditTrail {
    events: Sender<AuditEvent>,
    dropped: Counter,
}

/// Writes what the trail was handed.
pub struct AuditWriter {
    dropped: Counter,
    events: Receiver<AuditEvent>,
    store: Arc<dyn AuditStore>,
    written: Counter,
}

/// A trail into `store`, and who writes it. `dropped` and `written` count events.
#[must_use]
pub fn audit_trail(store: Arc<dyn AuditStore>, dropped: Counter, written: Counter) -> (AuditTrail, AuditWriter) {
    let (sender, events) = channel(HALF);
    (AuditTrail { events: sender, dropped: dropped.clone() }, AuditWriter { dropped, events, store, written })
}

impl AuditTrail {
    /// Hands an event over.
    pub fn record(&self, event: AuditEvent) {
        if self.events.try_send(event).is_err() && self.dropped.inc() == 0 {
            tracing::error!("audit events are dropped: the database takes them more slowly than they arise");
        }
    }
}

impl AuditWriter {
    /// Writes until `stop` is done, then what is left. A batch that the database does not take is tried again.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            tokio::select! {
                () = &mut stop => return self.finish(batch).await,
                received = self.events.recv_many(&mut batch, BATCH) => if received == 0 { return },
            }
            tokio::select! {
                () = &mut stop => return self.finish(batch).await,
                () = gather(&mut self.events, &mut batch) => {}
            }
            while let Err(error) = self.write(&batch).await {
                tracing::warn!(%error, events = batch.len(), "audit events wait for the database");
                tokio::select! {
                    () = &mut stop => return self.finish(batch).await,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }

    async fn finish(mut self, mut batch: Vec<AuditEvent>) {
        while let Ok(event) = self.events.try_recv() {
            batch.push(event);
        }
        for part in batch.chunks(BATCH) {
            if !matches!(timeout(LAST, self.write(part)).await, Ok(Ok(()))) {
                tracing::error!(events = batch.len(), "the last audit events were not written");
                return;
            }
        }
    }

    async fn write(&self, batch: &[AuditEvent]) -> Result<(), crate::ports::StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut grouped = grouped(batch);
        if grouped.len() > MOST_ROWS {
            // Whom a flood of refusals would hide is kept before the flood.
            grouped.sort_by_key(|(event, _)| event.kind == EventKind::TokenRefused);
            self.dropped.inc_by((grouped.len() - MOST_ROWS) as u64);
            grouped.truncate(MOST_ROWS);
        }
        self.store.append(&grouped).await?;
        self.written.inc_by(grouped.len() as u64);
        Ok(())
    }
}

async fn gather(events: &mut Receiver<AuditEvent>, batch: &mut Vec<AuditEvent>) {
    let _ = timeout(GATHER, async {
        while batch.len() < HALF {
            let room = HALF - batch.len();
            if events.recv_many(batch, room).await == 0 {
                return;
            }
        }
    })
    .await;
}

/// One row for what happened several times: a client that does not stop asking with a dead token must not fill the
/// disk, not even one that calls itself something else each time or goes through all tokens of a session. The row has
/// what the first had.
fn grouped(batch: &[AuditEvent]) -> Vec<(AuditEvent, u32)> {
    let mut rows: Vec<(AuditEvent, u32)> = Vec::new();
    let mut places: HashMap<AuditEvent, usize> = HashMap::new();
    for event in batch {
        let origin = Origin { user_agent: None, ..event.origin.clone() };
        // Of refreshes, each token counts: that is why somebody asked for them.
        let jti = event.jti.clone().filter(|_| event.kind == EventKind::Refreshed);
        let alike = AuditEvent { at: Moment::UNIX_EPOCH, jti, origin, ..event.clone() };
        if let Some((_, times)) = places.get(&alike).and_then(|place| rows.get_mut(*place)) {
            *times = times.saturating_add(1);
        } else {
            places.insert(alike, rows.len());
            rows.push((event.clone(), 1));
        }
    }
    rows
}

/// Where a token was presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum View {
    /// simplejwt's blacklist view, and dj-rest-auth's logout.
    Blacklist,
    /// A view for people who are signed in.
    Protected,
    /// simplejwt's refresh view.
    Refresh,
    /// simplejwt's verify view.
    Verify,
}

impl View {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Blacklist => "blacklist",
            Self::Protected => "protected",
            Self::Refresh => "refresh",
            Self::Verify => "verify",
        }
    }
}

impl Auth {
    /// Passes the outcome on, and tells the trail of a refusal. Only tokens that we signed come here: what others make
    /// up is counted, and fills no table.
    pub(super) fn noted<T>(
        &self,
        view: View,
        checked: &Checked,
        client: &Client,
        now: Moment,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Err(error) = &outcome
            && is_told(error)
        {
            let kind = if checked.kind() == Kind::Access { "access" } else { "refresh" };
            let mut event = AuditEvent::new(now, EventKind::TokenRefused, Actor::Client)
                .because(error.cause())
                .from(&client.origin())
                .with("view", view.as_str())
                .with("token", kind);
            event.jti = checked.claims().text(&self.parts.keys.policy().names.jti).map(ToOwned::to_owned);
            if let Ok(token) = token_ref(checked) {
                event = event.of_user(&token.user).of_session(token.session);
            }
            self.parts.audit.record(event);
        }
        outcome
    }
}

/// A token whose time is over is the everyday, and a failure of ours is the log's.
fn is_told(error: &Error) -> bool {
    match error {
        Error::NoActiveAccount | Error::NoUserIdentification | Error::UserInactive | Error::UserNotFound => true,
        Error::Token { detail, .. } => *detail != TokenDetail::Expired,
        Error::BadCredentials
        | Error::Busy
        | Error::Internal(_)
        | Error::NoSession
        | Error::Overloaded
        | Error::Unavailable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::grouped;
    use crate::domain::{
        audit::{Actor, AuditEvent, EventKind, Origin},
        time::Moment,
    };

    #[test]
    fn what_happens_again_is_counted_and_what_differs_is_a_row_of_its_own() {
        let at = |second| Moment::from_timestamp(second, 0).unwrap();
        let event = |second, cause| AuditEvent::new(at(second), EventKind::TokenRefused, Actor::Client).because(cause);
        let renamed = event(5, "spent").from(&Origin { ip: None, user_agent: Some("somebody else".to_owned()) });
        let moved = event(6, "spent").from(&Origin { ip: Some("192.0.2.1".to_owned()), user_agent: None });
        let batch =
            [event(1, "spent"), event(2, "spent"), event(3, "cut_off"), event(4, "spent"), renamed, moved.clone()];
        assert_eq!(grouped(&batch), [(event(1, "spent"), 4), (event(3, "cut_off"), 1), (moved, 1)]);
    }
}
