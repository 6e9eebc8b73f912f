//! Queries that cut users off, and the list of past cut-offs.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, IntoSql as _, OptionalExtension as _,
    QueryDsl as _, SelectableHelper as _, sql_types::Bool,
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};

use super::user;
use crate::{
    domain::{ids::UserId, password::PasswordHash, time::Moment, user::User},
    ports::{RevokeAll, StoreError},
    store::sql::{
        SqlStore,
        audit::NewAuditRow,
        error::from_query,
        pool::on_conn,
        rows::{UserRow, counter, number, stored},
        schema::{audit_events, users},
        server_time::ServerTime,
    },
};

/// Changes one row of users, if `$rows` finds it, and tells the audit trail so in the same transaction. What
/// `$returning` names, of the row that was changed.
macro_rules! update_audited {
    ($self:ident, $cut_off:ident, $rows:expr, $changes:expr, $returning:expr) => {{
        let audit = NewAuditRow::from(&$cut_off.audit);
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
        cut_off: &RevokeAll,
        hash: &PasswordHash,
    ) -> Result<Option<User>, StoreError> {
        let changed: Option<UserRow> = update_audited!(
            self,
            cut_off,
            users::table
                .filter(users::id.eq(cut_off.id.as_str()))
                .filter(users::deleted_at.is_null()),
            (
                users::password_hash.eq(hash.expose()),
                users::version.eq(users::version + 1),
                users::cut_off_at.eq(ServerTime::new(cut_off.now)),
            ),
            UserRow::as_returning()
        );
        user(changed)
    }

    pub(super) async fn change_active(
        &self,
        cut_off: &RevokeAll,
        active: bool,
    ) -> Result<Option<User>, StoreError> {
        // Only a change is a cut-off: saying it twice signs nobody out who was activated in between.
        let changed: Option<UserRow> = update_audited!(
            self,
            cut_off,
            users::table
                .filter(users::id.eq(cut_off.id.as_str()))
                .filter(users::deleted_at.is_null())
                .filter(users::is_active.ne(active)),
            (
                users::is_active.eq(active),
                users::version.eq(users::version + 1),
                users::cut_off_at.eq(ServerTime::new(cut_off.now)),
            ),
            UserRow::as_returning()
        );
        match changed {
            Some(row) => row.into_user(),
            None => self.find_user(&cut_off.id).await,
        }
    }

    pub(super) async fn cut_off_user(
        &self,
        cut_off: &RevokeAll,
        version: Option<u32>,
    ) -> Result<Option<User>, StoreError> {
        let (any, version) = (version.is_none(), counter(version.unwrap_or_default()));
        let changed: Option<UserRow> = update_audited!(
            self,
            cut_off,
            users::table
                .filter(users::id.eq(cut_off.id.as_str()))
                .filter(users::deleted_at.is_null())
                .filter(users::version.eq(version).or(any.into_sql::<Bool>())),
            (
                users::version.eq(users::version + 1),
                users::cut_off_at.eq(ServerTime::new(cut_off.now))
            ),
            UserRow::as_returning()
        );
        user(changed)
    }

    pub(super) async fn cut_off_users(
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
                        users::version.eq(users::version + counter(step)),
                        users::cut_off_at.eq(stamp),
                    ))
                    .returning((users::id, users::version))
                    .get_results(conn)
                    .await
            })?
            .map_err(from_query)?;
            // All of them were removed just now: that is not the end.
            if changed.is_empty() {
                after.clone_from(last);
                continue;
            }
            // In the order of the database, which need not be that of the bytes.
            let versions: HashMap<String, i32> = changed.into_iter().collect();
            let known = ids
                .into_iter()
                .filter_map(|id| versions.get(&id).map(|version| (id, *version)));
            return known
                .map(|(id, version)| Ok((UserId::new(id), number(version)?)))
                .collect();
        }
    }

    pub(super) async fn delete_user(&self, cut_off: &RevokeAll) -> Result<Option<u32>, StoreError> {
        let (now, nothing) = (stored(cut_off.now), Option::<String>::None);
        let version: Option<i32> = update_audited!(
            self,
            cut_off,
            users::table
                .filter(users::id.eq(cut_off.id.as_str()))
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
                users::version.eq(users::version + 1),
                users::cut_off_at.eq(ServerTime::new(cut_off.now)),
                users::deleted_at.eq(now),
            ),
            users::version
        );
        version.map(number).transpose()
    }

    pub(super) async fn cut_offs_since(
        &self,
        since: Moment,
        after: Option<(Moment, UserId)>,
        limit: i64,
    ) -> Result<Vec<(Moment, UserId, u32)>, StoreError> {
        // Every id follows the empty text.
        let (from, last) = after.map_or_else(
            || (stored(since), String::new()),
            |(moment, id)| (stored(moment), id.to_string()),
        );
        let rows: Vec<(Option<NaiveDateTime>, String, i32)> = on_conn!(self.pool, |conn| {
            users::table
                // Said twice: the index serves a lower bound, not an `OR`.
                .filter(users::cut_off_at.ge(from))
                .filter(users::cut_off_at.gt(from).or(users::id.gt(&last)))
                .order((users::cut_off_at, users::id))
                .limit(limit)
                .select((users::cut_off_at, users::id, users::version))
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        let cut_off = |(at, id, version): (Option<NaiveDateTime>, String, i32)| {
            Ok((
                at.unwrap_or_default().and_utc(),
                UserId::new(id),
                number(version)?,
            ))
        };
        rows.into_iter().map(cut_off).collect()
    }
}
