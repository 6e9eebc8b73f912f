//! Audit trail in SQL.

use async_trait::async_trait;
use chrono::NaiveDateTime;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, Insertable, QueryDsl as _, Queryable,
    Selectable, SelectableHelper as _, TextExpressionMethods as _, pg::Pg, sqlite::Sqlite,
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use serde_json::{Map, Value};

use super::{
    SqlStore,
    error::from_query,
    pool::{PoolKind, on_conn, on_sqlite, with_conn},
    rows::{number, stored},
    schema::audit_events,
};
use latchkey_domain::{
    audit::{AuditEntry, AuditEvent, OPERATOR, Origin},
    ids::{SessionId, UserId},
    ports::{AuditQuery, AuditStore, StoreError},
    time::Moment,
};

/// Maximum length of a stored id in characters.
const MAX_ID_LENGTH: usize = 255;

/// Event to insert.
#[derive(Insertable)]
#[diesel(table_name = audit_events, treat_none_as_default_value = false)]
pub(super) struct NewAuditRow {
    pub at: NaiveDateTime,
    pub event: &'static str,
    pub cause: Option<String>,
    pub actor: String,
    pub user_id: Option<String>,
    pub session_id: Option<String>,
    pub jti: Option<String>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub details: String,
    pub times: i32,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_events, check_for_backend(Pg, Sqlite))]
struct AuditRow {
    id: i64,
    at: NaiveDateTime,
    event: String,
    cause: Option<String>,
    actor: String,
    user_id: Option<String>,
    session_id: Option<String>,
    jti: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
    details: String,
    times: i32,
}

impl From<&AuditEvent> for NewAuditRow {
    fn from(event: &AuditEvent) -> Self {
        let details: Map<String, Value> = event
            .details
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
            .collect();
        Self {
            at: stored(event.at),
            event: event.kind.as_str(),
            cause: event.cause.map(ToOwned::to_owned),
            actor: event.actor.as_text(),
            user_id: event.user.as_ref().map(|user| sanitized(user.as_str())),
            session_id: event.session.map(|id| id.to_string()),
            jti: event.jti.as_deref().map(sanitized),
            ip: event.origin.ip.clone(),
            user_agent: event.origin.user_agent.clone(),
            details: Value::Object(details).to_string(),
            times: 1,
        }
    }
}

/// Returns the text of a claim in a form that the database accepts. Postgres rejects NUL and does
/// not index some kilobytes, and one rejected event would block all later ones.
fn sanitized(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\0')
        .take(MAX_ID_LENGTH)
        .collect()
}

impl NewAuditRow {
    /// Returns the same event for one of several sessions.
    pub(super) fn of_session(event: &AuditEvent, session: &super::rows::SessionRow) -> Self {
        let row = Self::from(event);
        Self {
            user_id: Some(session.user_id.clone()),
            session_id: Some(session.id.clone()),
            ..row
        }
    }
}

impl AuditRow {
    fn into_entry(self) -> Result<AuditEntry, StoreError> {
        let details: Map<String, Value> = serde_json::from_str(&self.details).map_err(|_| {
            StoreError::Failed("details of an audit event are not valid JSON".to_owned())
        })?;
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(AuditEntry {
            id: self.id,
            at: self.at.and_utc(),
            event: self.event,
            cause: self.cause,
            actor: self.actor,
            user: self.user_id.map(UserId::new),
            session: self.session_id.as_deref().and_then(SessionId::parse),
            jti: self.jti,
            origin: Origin {
                ip: self.ip,
                user_agent: self.user_agent,
            },
            details: details
                .into_iter()
                .map(|(name, value)| (name, text(value)))
                .collect(),
            times: number(self.times)?,
        })
    }
}

#[async_trait]
impl AuditStore for SqlStore {
    async fn append(&self, events: &[(AuditEvent, u32)]) -> Result<(), StoreError> {
        let rows: Vec<NewAuditRow> = events
            .iter()
            .map(|(event, times)| NewAuditRow {
                times: super::rows::counter(*times),
                ..NewAuditRow::from(event)
            })
            .collect();
        match &self.pool.kind {
            PoolKind::Postgres(pool) => with_conn!(pool.connections(), self.pool, |conn| {
                diesel::insert_into(audit_events::table)
                    .values(&rows)
                    .execute(conn)
                    .await
                    .map(drop)
            })?,
            // For SQLite, diesel splits a multi-row insert into single statements anyway.
            PoolKind::Sqlite(pool) => on_sqlite!(pool, self.pool, |conn| {
                conn.transaction(async |conn| {
                    for row in &rows {
                        diesel::insert_into(audit_events::table)
                            .values(row)
                            .execute(conn)
                            .await?;
                    }
                    diesel::QueryResult::Ok(())
                })
                .await
            })?,
        }
        .map_err(from_query)
    }

    async fn events(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        let rows: Vec<AuditRow> = on_conn!(self.pool, |conn| {
            let mut events = audit_events::table
                .order((audit_events::at, audit_events::id))
                .limit(query.limit)
                .select(AuditRow::as_select())
                .into_boxed();
            if let Some(user) = &query.user {
                events = events.filter(audit_events::user_id.eq(user.as_str()));
            }
            if let Some(session) = &query.session {
                events = events.filter(audit_events::session_id.eq(session.to_string()));
            }
            if let Some(jti) = &query.jti {
                events = events.filter(audit_events::jti.eq(jti));
            }
            if !query.kinds.is_empty() {
                let kinds: Vec<&str> = query.kinds.iter().map(|kind| kind.as_str()).collect();
                events = events.filter(audit_events::event.eq_any(kinds));
            }
            if let Some(until) = query.until {
                events = events.filter(audit_events::at.lt(stored(until)));
            }
            if query.by_operators {
                events = events.filter(audit_events::actor.like(format!("{OPERATOR}%")));
            }
            if let Some(since) = query.since {
                events = events.filter(audit_events::at.ge(stored(since)));
            }
            if let Some((at, id)) = query.after {
                // The redundant lower bound lets the query use the index, which an `OR` alone does
                // not.
                events = events
                    .filter(audit_events::at.ge(stored(at)))
                    .filter(audit_events::at.gt(stored(at)).or(audit_events::id.gt(id)));
            }
            events.load(conn).await
        })?
        .map_err(from_query)?;
        rows.into_iter().map(AuditRow::into_entry).collect()
    }

    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError> {
        let before = stored(before);
        let ids: Vec<i64> = on_conn!(self.pool, |conn| {
            audit_events::table
                .filter(audit_events::at.lt(before))
                .order(audit_events::at)
                .limit(limit)
                .select(audit_events::id)
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        if ids.is_empty() {
            return Ok(0);
        }
        on_conn!(self.pool, |conn| {
            diesel::delete(audit_events::table.filter(audit_events::id.eq_any(&ids)))
                .execute(conn)
                .await
        })?
        .map_err(from_query)
    }
}
