//! Sessions in SQL.

use async_trait::async_trait;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, IntoSql as _, JoinOnDsl as _, OptionalExtension as _,
    QueryDsl as _, SelectableHelper as _,
    dsl::exists,
    sql_types::{Integer, Nullable, Text, Timestamp},
};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};

use super::{
    SqlStore,
    error::from_query,
    pool::{PoolKind, on_conn, within},
    postgres::{InsertSession, Rotate},
    rows::{SessionRow, UserRow, counter, state, stored},
    schema::{sessions, users},
};
use crate::{
    domain::{
        ids::{SessionId, UserId},
        session::{RevokedReason, Session, SessionState},
        time::Moment,
    },
    ports::{NewSession, Rotation, SessionPage, SessionStore, StoreError},
};

#[async_trait]
impl SessionStore for SqlStore {
    async fn ping(&self) -> Result<(), StoreError> {
        on_conn!(self.pool, |conn| conn.batch_execute("SELECT 1").await)?.map_err(from_query)
    }

    async fn insert(&self, new: NewSession) -> Result<bool, StoreError> {
        match &self.pool.kind {
            PoolKind::Postgres(pool) => {
                let row = SessionRow::from(&new.session);
                let made = within!(pool, self.pool.timeout, |conn| {
                    if new.update_last_login {
                        InsertSession::<true>(row).execute(conn).await
                    } else {
                        InsertSession::<false>(row).execute(conn).await
                    }
                })?;
                Ok(made.map_err(from_query)? == 1)
            }
            PoolKind::Sqlite(_) => self.insert_by_two(new).await,
        }
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Option<SessionState>, StoreError> {
        match &self.pool.kind {
            PoolKind::Postgres(pool) => {
                let query = Rotate::from(rotation);
                let row: Option<(SessionRow, UserRow)> =
                    within!(pool, self.pool.timeout, |conn| query.get_result(conn).await.optional())?
                        .map_err(from_query)?;
                row.map(|(session, user)| state(session, Some(user))).transpose()
            }
            PoolKind::Sqlite(_) => self.rotate_by_two(rotation).await,
        }
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

    async fn revoke(
        &self,
        id: SessionId,
        reason: RevokedReason,
        now: Moment,
    ) -> Result<Option<(Session, bool)>, StoreError> {
        let (text, now) = (id.to_string(), stored(now));
        let revoked: Option<SessionRow> = on_conn!(self.pool, |conn| {
            diesel::update(sessions::table.filter(sessions::id.eq(&text)).filter(sessions::revoked_at.is_null()))
                .set((sessions::revoked_at.eq(now), sessions::revoked_reason.eq(reason.as_str())))
                .returning(SessionRow::as_returning())
                .get_result(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        match revoked {
            Some(row) => Ok(Some((row.into_session()?, true))),
            None => Ok(self.find(id).await?.map(|state| (state.session, false))),
        }
    }

    async fn list_live(&self, user: &UserId, now: Moment) -> Result<Vec<Session>, StoreError> {
        let now = stored(now);
        let rows: Vec<SessionRow> = on_conn!(self.pool, |conn| {
            sessions::table
                .inner_join(users::table.on(users::id.eq(sessions::user_id)))
                .filter(sessions::user_id.eq(user.as_str()))
                .filter(sessions::revoked_at.is_null())
                .filter(sessions::expires_at.gt(now))
                .filter(users::version.eq(sessions::user_version))
                .order(sessions::created_at.desc())
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
        let sessions: Vec<Session> = rows.into_iter().map(SessionRow::into_session).collect::<Result<_, _>>()?;
        let full = i64::try_from(sessions.len()).is_ok_and(|count| count == limit);
        let next = sessions.last().filter(|_| full).map(|session| session.id);
        Ok(SessionPage { sessions, next })
    }

    async fn revoked_since(
        &self,
        since: Moment,
        after: Option<(Moment, SessionId)>,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        // Every id follows the empty text.
        let (from, last) =
            after.map_or_else(|| (stored(since), String::new()), |(moment, id)| (stored(moment), id.to_string()));
        let rows: Vec<SessionRow> = on_conn!(self.pool, |conn| {
            sessions::table
                // Said twice: the index serves a lower bound, not an `OR`.
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
            sessions::table.filter(sessions::expires_at.lt(before)).limit(limit).select(sessions::id).load(conn).await
        })?
        .map_err(from_query)?;
        if ids.is_empty() {
            return Ok(0);
        }
        on_conn!(self.pool, |conn| {
            diesel::delete(sessions::table.filter(sessions::id.eq_any(&ids)).filter(sessions::expires_at.lt(before)))
                .execute(conn)
                .await
        })?
        .map_err(from_query)
    }
}

/// SQLite writes one statement at a time and returns columns of one table only, so each of these is a conditional
/// write, which decides, and a second statement, which no longer decides anything.
impl SqlStore {
    async fn insert_by_two(&self, new: NewSession) -> Result<bool, StoreError> {
        let row = SessionRow::from(&new.session);
        let user = users::table
            .filter(users::id.eq(row.user_id.clone()))
            .filter(users::version.eq(row.user_version))
            .filter(users::is_active.eq(true))
            .filter(users::deleted_at.is_null());
        let made = on_conn!(self.pool, |conn| {
            diesel::insert_into(sessions::table)
                .values(user.select((
                    row.id.as_str().into_sql::<Text>(),
                    users::id,
                    row.user_version.into_sql::<Integer>(),
                    row.generation.into_sql::<Integer>(),
                    row.created_at.into_sql::<Timestamp>(),
                    row.rotated_at.into_sql::<Timestamp>(),
                    row.expires_at.into_sql::<Timestamp>(),
                    row.last_ip.as_deref().into_sql::<Nullable<Text>>(),
                    row.user_agent.as_deref().into_sql::<Nullable<Text>>(),
                )))
                .into_columns((
                    sessions::id,
                    sessions::user_id,
                    sessions::user_version,
                    sessions::generation,
                    sessions::created_at,
                    sessions::rotated_at,
                    sessions::expires_at,
                    sessions::last_ip,
                    sessions::user_agent,
                ))
                .execute(conn)
                .await
        })?
        .map_err(from_query)?;
        if made == 1 && new.update_last_login {
            let noted = on_conn!(self.pool, |conn| {
                diesel::update(users::table.find(&row.user_id))
                    .set(users::last_login.eq(row.created_at))
                    .execute(conn)
                    .await
            });
            // The session is made: a sign-in does not fail because it could not be noted.
            if !matches!(noted, Ok(Ok(_))) {
                tracing::warn!(user = row.user_id, "a sign-in was not noted at its user");
            }
        }
        Ok(made == 1)
    }

    async fn rotate_by_two(&self, rotation: Rotation) -> Result<Option<SessionState>, StoreError> {
        let (id, now) = (rotation.id.to_string(), stored(rotation.now));
        let generation = counter(rotation.generation);
        // Both on one connection: waiting for a second one could fail when the token is spent already.
        let rotated: Option<(SessionRow, Option<UserRow>)> = on_conn!(self.pool, |conn| {
            let rotated: Option<SessionRow> = diesel::update(
                sessions::table
                    .filter(sessions::id.eq(&id))
                    .filter(sessions::user_id.eq(rotation.user.as_str()))
                    .filter(sessions::user_version.eq(counter(rotation.version)))
                    .filter(sessions::generation.eq(generation))
                    .filter(sessions::revoked_at.is_null())
                    .filter(sessions::expires_at.gt(now))
                    .filter(exists(
                        users::table
                            .filter(users::id.eq(sessions::user_id))
                            .filter(users::version.eq(sessions::user_version))
                            .filter(users::is_active.eq(true).and(users::deleted_at.is_null())),
                    )),
            )
            .set((
                sessions::generation.eq(sessions::generation + 1),
                sessions::rotated_at.eq(now),
                sessions::last_ip.eq(rotation.ip.as_deref()),
                sessions::user_agent.eq(rotation.user_agent.as_deref()),
            ))
            .returning(SessionRow::as_returning())
            .get_result(conn)
            .await
            .optional()?;
            match rotated {
                None => Ok(None),
                Some(row) => {
                    let user = users::table.find(&row.user_id).select(UserRow::as_select()).first(conn).await;
                    user.optional().map(|user| Some((row, user)))
                }
            }
        })?
        .map_err(from_query)?;
        rotated.map(|(session, user)| state(session, user)).transpose()
    }
}
