//! Session store in SQL.

use async_trait::async_trait;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, IntoSql as _, JoinOnDsl as _,
    OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
    dsl::case_when,
    sql_types::{Bool, Integer},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _, SimpleAsyncConnection as _};

use super::{
    SqlStore,
    audit::NewAuditRow,
    error::from_query,
    pool::{PoolKind, on_conn, with_conn},
    rows::{SessionRow, UserRow, counter, state, stored},
    schema::{audit_events, sessions, users},
    server_time::ServerTime,
    sign_in::InsertSession,
};
use latchkey_domain::{
    audit::AuditEvent,
    ids::{SessionId, UserId},
    ports::{NewSession, Repeat, Revoke, SessionPage, SessionStore, StoreError},
    session::{RevokedReason, Session, SessionState},
    time::Moment,
};

/// Maximum of sessions that one sign-in revokes. If the limit was lowered, later sign-ins revoke
/// the rest.
const MAX_TRIMMED: i64 = 50;

#[async_trait]
impl SessionStore for SqlStore {
    async fn ping(&self) -> Result<(), StoreError> {
        match &self.pool.kind {
            PoolKind::Postgres(pool) => {
                let clock = &self.pool.server_clock;
                with_conn!(pool.connections(), self.pool, |conn| clock
                    .measure(conn)
                    .await)?
                .map_err(from_query)
            }
            PoolKind::Sqlite(pool) => {
                with_conn!(pool, self.pool, |conn| conn.batch_execute("SELECT 1").await)?
                    .map_err(from_query)?;
                self.pool.writes.check()
            }
        }
    }

    async fn check_writes(&self) -> Result<(), StoreError> {
        self.probe_writes().await
    }

    async fn insert(&self, new: NewSession) -> Result<Option<u32>, StoreError> {
        let others: Option<i64> = match &self.pool.kind {
            PoolKind::Postgres(pool) => {
                let (row, audit) = (
                    SessionRow::from(&new.session),
                    NewAuditRow::from(&new.audit),
                );
                with_conn!(pool.connections(), self.pool, |conn| {
                    // All rows are loaded, although there is one at most: the first row arrives
                    // before the commit.
                    if new.update_last_login {
                        InsertSession::<true>(row, audit).load(conn).await
                    } else {
                        InsertSession::<false>(row, audit).load(conn).await
                    }
                })?
                .map_err(from_query)?
                .pop()
            }
            PoolKind::Sqlite(pool) => self.insert_by_steps(pool, new).await?,
        };
        Ok(others.map(|count| u32::try_from(count).unwrap_or(u32::MAX)))
    }

    async fn trim(
        &self,
        newest: &Session,
        limit: u32,
        audit: AuditEvent,
    ) -> Result<Vec<Session>, StoreError> {
        let (now, user, id) = (
            stored(audit.at),
            newest.user_id.as_str(),
            newest.id.to_string(),
        );
        let rows: Vec<SessionRow> = on_conn!(self.pool, |conn| {
            conn.transaction(async |conn| {
                // Changes nothing, but locks the user's row, so that concurrent calls for this user
                // run one after the other and each sees the sessions revoked by the others.
                diesel::update(users::table.find(user))
                    .set(users::session_epoch.eq(users::session_epoch))
                    .execute(conn)
                    .await?;
                let oldest: Vec<String> = sessions::table
                    .filter(sessions::user_id.eq(user))
                    .filter(sessions::session_epoch.eq(counter(newest.session_epoch)))
                    .filter(sessions::revoked_at.is_null())
                    .filter(sessions::expires_at.gt(now))
                    .order((
                        sessions::id.eq(&id).desc(),
                        sessions::created_at.desc(),
                        sessions::id.desc(),
                    ))
                    .offset(i64::from(limit))
                    .limit(MAX_TRIMMED)
                    .select(sessions::id)
                    .load(conn)
                    .await?;
                if oldest.is_empty() {
                    return diesel::QueryResult::Ok(Vec::new());
                }
                let rows: Vec<SessionRow> = diesel::update(
                    sessions::table
                        .filter(sessions::id.eq_any(&oldest))
                        .filter(sessions::revoked_at.is_null()),
                )
                .set((
                    sessions::revoked_at.eq(ServerTime::new(audit.at)),
                    sessions::revoked_reason.eq(RevokedReason::SessionLimit.as_str()),
                ))
                .returning(SessionRow::as_returning())
                .get_results(conn)
                .await?;
                for row in &rows {
                    let audit_row = NewAuditRow::of_session(&audit, row);
                    diesel::insert_into(audit_events::table)
                        .values(&audit_row)
                        .execute(conn)
                        .await?;
                }
                Ok(rows)
            })
            .await
        })?
        .map_err(from_query)?;
        rows.into_iter().map(SessionRow::into_session).collect()
    }

    async fn count_repeat(&self, repeat: Repeat) -> Result<bool, StoreError> {
        let Repeat {
            id,
            generation,
            limit,
        } = repeat;
        let (id, generation, limit) = (id.to_string(), counter(generation), counter(limit));
        let is_new_generation = sessions::grace_generation.ne(generation);
        let counted = on_conn!(self.pool, |conn| {
            diesel::update(
                sessions::table
                    .filter(sessions::id.eq(&id))
                    .filter(sessions::generation.eq(generation))
                    .filter(sessions::revoked_at.is_null())
                    .filter(is_new_generation.or(sessions::grace_repeats.lt(limit))),
            )
            .set((
                sessions::grace_repeats.eq(case_when(is_new_generation, 1.into_sql::<Integer>())
                    .otherwise(sessions::grace_repeats + 1)),
                sessions::grace_generation.eq(generation),
            ))
            .execute(conn)
            .await
        })?
        .map_err(from_query)?;
        Ok(counted > 0)
    }

    async fn find(&self, id: SessionId) -> Result<Option<SessionState>, StoreError> {
        let id = id.to_string();
        let row: Option<(SessionRow, Option<UserRow>)> = on_conn!(self.pool, |conn| {
            sessions::table
                .left_join(users::table.on(users::id.eq(sessions::user_id)))
                .filter(sessions::id.eq(&id))
                .select((SessionRow::as_select(), Option::<UserRow>::as_select()))
                .first(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        row.map(|(session, user)| state(session, user)).transpose()
    }

    async fn revoke(&self, revoke: Revoke) -> Result<Option<(Session, bool)>, StoreError> {
        let Revoke {
            id,
            of,
            reason,
            now,
            audit,
        } = revoke;
        let (text, stamp, now, audit) = (
            id.to_string(),
            ServerTime::new(now),
            stored(now),
            NewAuditRow::from(&audit),
        );
        let any_user = of.is_none();
        let (owner, epoch) = of
            .as_ref()
            .map_or(("", 0), |(user, epoch)| (user.as_str(), counter(*epoch)));
        let revoked: Option<SessionRow> = on_conn!(self.pool, |conn| {
            conn.transaction(async |conn| {
                let revoked: Option<SessionRow> = diesel::update(
                    sessions::table
                        .filter(sessions::id.eq(&text))
                        .filter(sessions::revoked_at.is_null())
                        .filter(
                            any_user.into_sql::<Bool>().or(sessions::user_id
                                .eq(owner)
                                .and(sessions::session_epoch.eq(epoch))
                                .and(sessions::expires_at.gt(now))),
                        ),
                )
                .set((
                    sessions::revoked_at.eq(stamp),
                    sessions::revoked_reason.eq(reason.as_str()),
                ))
                .returning(SessionRow::as_returning())
                .get_result(conn)
                .await
                .optional()?;
                if revoked.is_some() {
                    diesel::insert_into(audit_events::table)
                        .values(&audit)
                        .execute(conn)
                        .await?;
                }
                diesel::QueryResult::Ok(revoked)
            })
            .await
        })?
        .map_err(from_query)?;
        if let Some(row) = revoked {
            return Ok(Some((row.into_session()?, true)));
        }
        let found = self.find(id).await?.map(|state| state.session);
        Ok(found
            .filter(|session| of.is_none_or(|(user, _)| user == session.user_id))
            .map(|session| (session, false)))
    }

    async fn list_live(&self, user: &UserId, now: Moment) -> Result<Vec<Session>, StoreError> {
        let now = stored(now);
        let rows: Vec<SessionRow> = on_conn!(self.pool, |conn| {
            sessions::table
                .inner_join(users::table.on(users::id.eq(sessions::user_id)))
                .filter(sessions::user_id.eq(user.as_str()))
                .filter(sessions::revoked_at.is_null())
                .filter(sessions::expires_at.gt(now))
                .filter(users::session_epoch.eq(sessions::session_epoch))
                .order((sessions::created_at.desc(), sessions::id.desc()))
                .select(SessionRow::as_select())
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        rows.into_iter().map(SessionRow::into_session).collect()
    }

    async fn page(&self, after: Option<SessionId>, limit: i64) -> Result<SessionPage, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows: Vec<SessionRow> = on_conn!(self.pool, |conn| {
            sessions::table
                .filter(sessions::id.gt(&after))
                .order(sessions::id)
                .limit(limit)
                .select(SessionRow::as_select())
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        let sessions: Vec<Session> = rows
            .into_iter()
            .map(SessionRow::into_session)
            .collect::<Result<_, _>>()?;
        let full = i64::try_from(sessions.len()).is_ok_and(|count| count == limit);
        let next = sessions.last().filter(|_| full).map(|session| session.id);
        Ok(SessionPage { sessions, next })
    }

    async fn stamping_clock(&self, ours: Moment) -> Result<Moment, StoreError> {
        match &self.pool.kind {
            PoolKind::Postgres(_) => self.server_time().await,
            PoolKind::Sqlite(_) => Ok(ours),
        }
    }

    async fn revoked_since(
        &self,
        since: Moment,
        after: Option<(Moment, SessionId)>,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        // Every id sorts after the empty text.
        let (from, last) = after.map_or_else(
            || (stored(since), String::new()),
            |(moment, id)| (stored(moment), id.to_string()),
        );
        let rows: Vec<SessionRow> = on_conn!(self.pool, |conn| {
            sessions::table
                // The redundant lower bound lets the query use the index, which an `OR` alone does
                // not.
                .filter(sessions::revoked_at.ge(from))
                .filter(sessions::revoked_at.gt(from).or(sessions::id.gt(&last)))
                .order((sessions::revoked_at, sessions::id))
                .limit(limit)
                .select(SessionRow::as_select())
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        rows.into_iter().map(SessionRow::into_session).collect()
    }

    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError> {
        let before = stored(before);
        let ids: Vec<String> = on_conn!(self.pool, |conn| {
            sessions::table
                .filter(sessions::expires_at.lt(before))
                .limit(limit)
                .select(sessions::id)
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        if ids.is_empty() {
            return Ok(0);
        }
        on_conn!(self.pool, |conn| {
            diesel::delete(
                sessions::table
                    .filter(sessions::id.eq_any(&ids))
                    .filter(sessions::expires_at.lt(before)),
            )
            .execute(conn)
            .await
        })?
        .map_err(from_query)
    }
}
