//! Queries that raise session epochs, and the list of raised epochs.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, IntoSql as _, OptionalExtension as _,
    QueryDsl as _, SelectableHelper as _, sql_types::Bool,
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};

use super::user;
use crate::sql::{
    SqlStore,
    audit::NewAuditRow,
    error::from_query,
    pool::on_conn,
    rows::{UserRow, counter, number, stored},
    schema::{audit_events, users},
    server_time::ServerTime,
};
use latchkey_domain::{
    ids::UserId,
    password::PasswordHash,
    ports::{RevokeAll, StoreError},
    time::Moment,
    user::User,
};

/// Changes the row of `users` that `$rows` selects, with an audit event in the same transaction.
/// Returns the columns `$returning` of the changed row.
macro_rules! update_audited {
    ($self:ident, $revoke_all:ident, $rows:expr, $changes:expr, $returning:expr) => {{
        let audit = NewAuditRow::from(&$revoke_all.audit);
        on_conn!($self.pool, |conn| {
            conn.transaction(async |conn| {
                let changed = diesel::update($rows)
                    .set($changes)
                    .returning($returning)
                    .get_result(conn)
                    .await
                    .optional()?;
                if changed.is_some() {
                    diesel::insert_into(audit_events::table)
                        .values(&audit)
                        .execute(conn)
                        .await?;
                }
                diesel::QueryResult::Ok(changed)
            })
            .await
        })?
        .map_err(from_query)?
    }};
}

impl SqlStore {
    pub(super) async fn change_password(
        &self,
        revoke_all: &RevokeAll,
        hash: &PasswordHash,
    ) -> Result<Option<User>, StoreError> {
        let changed: Option<UserRow> = update_audited!(
            self,
            revoke_all,
            users::table
                .filter(users::id.eq(revoke_all.id.as_str()))
                .filter(users::deleted_at.is_null()),
            (
                users::password_hash.eq(hash.expose()),
                users::session_epoch.eq(users::session_epoch + 1),
                users::epoch_raised_at.eq(ServerTime::new(revoke_all.now)),
            ),
            UserRow::as_returning()
        );
        user(changed)
    }

    pub(super) async fn change_active(
        &self,
        revoke_all: &RevokeAll,
        active: bool,
    ) -> Result<Option<User>, StoreError> {
        // Only a change revokes sessions: a repeated command does not end sessions that began
        // meanwhile.
        let changed: Option<UserRow> = update_audited!(
            self,
            revoke_all,
            users::table
                .filter(users::id.eq(revoke_all.id.as_str()))
                .filter(users::deleted_at.is_null())
                .filter(users::is_active.ne(active)),
            (
                users::is_active.eq(active),
                users::session_epoch.eq(users::session_epoch + 1),
                users::epoch_raised_at.eq(ServerTime::new(revoke_all.now)),
            ),
            UserRow::as_returning()
        );
        match changed {
            Some(row) => row.into_user(),
            None => self.find_user(&revoke_all.id).await,
        }
    }

    pub(super) async fn revoke_sessions_of(
        &self,
        revoke_all: &RevokeAll,
        epoch: Option<u32>,
    ) -> Result<Option<User>, StoreError> {
        let (any, epoch) = (epoch.is_none(), counter(epoch.unwrap_or_default()));
        let changed: Option<UserRow> = update_audited!(
            self,
            revoke_all,
            users::table
                .filter(users::id.eq(revoke_all.id.as_str()))
                .filter(users::deleted_at.is_null())
                .filter(users::session_epoch.eq(epoch).or(any.into_sql::<Bool>())),
            (
                users::session_epoch.eq(users::session_epoch + 1),
                users::epoch_raised_at.eq(ServerTime::new(revoke_all.now))
            ),
            UserRow::as_returning()
        );
        user(changed)
    }

    pub(super) async fn raise_epochs(
        &self,
        now: Moment,
        step: u32,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<(UserId, u32)>, StoreError> {
        let (stamp, mut after) = (
            ServerTime::new(now),
            after.map(ToString::to_string).unwrap_or_default(),
        );
        loop {
            let ids: Vec<String> = on_conn!(self.pool, |conn| {
                let users = users::table
                    .filter(users::id.gt(&after))
                    .order(users::id)
                    .limit(limit);
                users.select(users::id).load(conn).await
            })?
            .map_err(from_query)?;
            let Some(last) = ids.last() else {
                return Ok(Vec::new());
            };
            let changed: Vec<(String, i32)> = on_conn!(self.pool, |conn| {
                diesel::update(users::table.filter(users::id.eq_any(&ids)))
                    .set((
                        users::session_epoch.eq(users::session_epoch + counter(step)),
                        users::epoch_raised_at.eq(stamp),
                    ))
                    .returning((users::id, users::session_epoch))
                    .get_results(conn)
                    .await
            })?
            .map_err(from_query)?;
            // All selected rows were deleted meanwhile. That is not the end of the table.
            if changed.is_empty() {
                after.clone_from(last);
                continue;
            }
            // In the order of the database, which may differ from byte order.
            let epochs: HashMap<String, i32> = changed.into_iter().collect();
            let known = ids
                .into_iter()
                .filter_map(|id| epochs.get(&id).map(|epoch| (id, *epoch)));
            return known
                .map(|(id, epoch)| Ok((UserId::new(id), number(epoch)?)))
                .collect();
        }
    }

    pub(super) async fn delete_user(
        &self,
        revoke_all: &RevokeAll,
    ) -> Result<Option<u32>, StoreError> {
        let (now, nothing) = (stored(revoke_all.now), Option::<String>::None);
        let epoch: Option<i32> = update_audited!(
            self,
            revoke_all,
            users::table
                .filter(users::id.eq(revoke_all.id.as_str()))
                .filter(users::deleted_at.is_null()),
            (
                users::username.eq(""),
                users::username_key.eq(&nothing),
                users::email.eq(""),
                users::email_key.eq(&nothing),
                users::password_hash.eq(""),
                users::first_name.eq(""),
                users::last_name.eq(""),
                users::is_active.eq(false),
                users::session_epoch.eq(users::session_epoch + 1),
                users::epoch_raised_at.eq(ServerTime::new(revoke_all.now)),
                users::deleted_at.eq(now),
            ),
            users::session_epoch
        );
        epoch.map(number).transpose()
    }

    pub(super) async fn find_raised_epochs(
        &self,
        since: Moment,
        after: Option<(Moment, UserId)>,
        limit: i64,
    ) -> Result<Vec<(Moment, UserId, u32)>, StoreError> {
        // Every id sorts after the empty text.
        let (from, last) = after.map_or_else(
            || (stored(since), String::new()),
            |(moment, id)| (stored(moment), id.to_string()),
        );
        let rows: Vec<(Option<NaiveDateTime>, String, i32)> = on_conn!(self.pool, |conn| {
            users::table
                // The redundant lower bound lets the query use the index, which an `OR` alone does
                // not.
                .filter(users::epoch_raised_at.ge(from))
                .filter(users::epoch_raised_at.gt(from).or(users::id.gt(&last)))
                .order((users::epoch_raised_at, users::id))
                .limit(limit)
                .select((users::epoch_raised_at, users::id, users::session_epoch))
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        let revoke_all = |(at, id, epoch): (Option<NaiveDateTime>, String, i32)| {
            Ok((
                at.unwrap_or_default().and_utc(),
                UserId::new(id),
                number(epoch)?,
            ))
        };
        rows.into_iter().map(revoke_all).collect()
    }
}
