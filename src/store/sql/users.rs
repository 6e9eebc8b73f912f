//! Users in SQL.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::NaiveDateTime;
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, IntoSql as _, OptionalExtension as _,
    QueryDsl as _, SelectableHelper as _,
    dsl::{exists, not},
    select,
    sql_types::Bool,
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};

use super::{
    SqlStore,
    audit::NewAuditRow,
    error::{from_query, is_unique_violation},
    pool::on_conn,
    rows::{NewUserRow, UserChangesRow, UserRow, counter, number, stored},
    schema::{audit_events, sessions, users},
    stamp::Stamp,
};
use crate::{
    domain::{
        audit::AuditEvent,
        ids::UserId,
        password::PasswordHash,
        time::Moment,
        user::{NewUser, User, UserChanges},
        username::Username,
    },
    ports::{Credentials, CutOff, InsertUserError, StoreError, UserStore},
};

/// Changes one row of users, if `$rows` finds it, and tells the audit trail so in the same transaction. What
/// `$returning` names, of the row that was changed.
macro_rules! changed {
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

#[async_trait]
impl UserStore for SqlStore {
    async fn find_credentials(
        &self,
        username: &Username,
    ) -> Result<Option<Credentials>, StoreError> {
        let (key, name) = (username.key(), username.as_str());
        let found: Option<(UserRow, String)> = on_conn!(self.pool, |conn| {
            users::table
                .filter(users::username_key.eq(&key))
                .filter(users::username.eq(name))
                .select((UserRow::as_select(), users::password_hash))
                .first(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        let Some((row, hash)) = found else {
            return Ok(None);
        };
        Ok(row.into_user()?.map(|user| Credentials {
            user,
            password_hash: PasswordHash::new(hash),
        }))
    }

    async fn find_by_username(&self, username: &Username) -> Result<Option<User>, StoreError> {
        let key = username.key();
        let found: Option<UserRow> = on_conn!(self.pool, |conn| {
            users::table
                .filter(users::username_key.eq(&key))
                .select(UserRow::as_select())
                .first(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        user(found)
    }

    async fn find_by_id(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.find_user(id).await
    }

    async fn update(
        &self,
        id: &UserId,
        changes: &UserChanges,
        audit: AuditEvent,
    ) -> Result<Option<User>, InsertUserError> {
        let (row, audit) = (UserChangesRow::from(changes), NewAuditRow::from(&audit));
        let updated: diesel::QueryResult<Option<UserRow>> = on_conn!(self.pool, |conn| {
            conn.transaction(async |conn| {
                let rows = users::table
                    .filter(users::id.eq(id.as_str()))
                    .filter(users::deleted_at.is_null());
                let updated: Option<UserRow> = diesel::update(rows)
                    .set(&row)
                    .returning(UserRow::as_returning())
                    .get_result(conn)
                    .await
                    .optional()?;
                if updated.is_some() {
                    diesel::insert_into(audit_events::table)
                        .values(&audit)
                        .execute(conn)
                        .await?;
                }
                diesel::QueryResult::Ok(updated)
            })
            .await
        })?;
        match updated {
            Ok(row) => Ok(user(row)?),
            // Of what is changed here, only the address is unique.
            Err(error) if is_unique_violation(&error) => Err(InsertUserError::EmailTaken),
            Err(error) => Err(from_query(error).into()),
        }
    }

    async fn insert(&self, user: NewUser, audit: AuditEvent) -> Result<User, InsertUserError> {
        let email_key = user
            .email
            .as_ref()
            .map(crate::domain::email::EmailAddress::key);
        let (row, audit) = (NewUserRow::from(user), NewAuditRow::from(&audit));
        let inserted: diesel::QueryResult<UserRow> = on_conn!(self.pool, |conn| {
            conn.transaction(async |conn| {
                let inserted: UserRow = diesel::insert_into(users::table)
                    .values(&row)
                    .returning(UserRow::as_returning())
                    .get_result(conn)
                    .await?;
                diesel::insert_into(audit_events::table)
                    .values(&audit)
                    .execute(conn)
                    .await?;
                diesel::QueryResult::Ok(inserted)
            })
            .await
        })?;
        match inserted {
            Ok(row) => row
                .into_user()?
                .ok_or_else(|| StoreError::Failed("a new user is gone".to_owned()).into()),
            // The index refused; which of the two it was is for the message alone.
            Err(error) if is_unique_violation(&error) => match email_key {
                Some(key) if self.email_is_taken(&key).await? => Err(InsertUserError::EmailTaken),
                _ => Err(InsertUserError::UsernameTaken),
            },
            Err(error) => Err(from_query(error).into()),
        }
    }

    async fn list(&self, after: Option<&UserId>, limit: i64) -> Result<Vec<User>, StoreError> {
        let after = after.map(UserId::as_str).unwrap_or_default();
        let rows: Vec<UserRow> = on_conn!(self.pool, |conn| {
            users::table
                .filter(users::id.gt(after))
                .filter(users::deleted_at.is_null())
                .order(users::id)
                .limit(limit)
                .select(UserRow::as_select())
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        rows.into_iter()
            .filter_map(|row| row.into_user().transpose())
            .collect()
    }

    async fn any(&self) -> Result<bool, StoreError> {
        on_conn!(self.pool, |conn| {
            select(exists(users::table.filter(users::deleted_at.is_null())))
                .get_result(conn)
                .await
        })?
        .map_err(from_query)
    }

    async fn replace_hash(
        &self,
        id: &UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<(), StoreError> {
        on_conn!(self.pool, |conn| {
            diesel::update(
                users::table
                    .filter(users::id.eq(id.as_str()))
                    .filter(users::password_hash.eq(old.expose())),
            )
            .set(users::password_hash.eq(new.expose()))
            .execute(conn)
            .await
        })?
        .map_err(from_query)?;
        Ok(())
    }

    async fn set_password(
        &self,
        cut_off: &CutOff,
        hash: &PasswordHash,
    ) -> Result<Option<User>, StoreError> {
        let changed: Option<UserRow> = changed!(
            self,
            cut_off,
            users::table
                .filter(users::id.eq(cut_off.id.as_str()))
                .filter(users::deleted_at.is_null()),
            (
                users::password_hash.eq(hash.expose()),
                users::version.eq(users::version + 1),
                users::cut_off_at.eq(Stamp::new(cut_off.now)),
            ),
            UserRow::as_returning()
        );
        user(changed)
    }

    async fn set_active(&self, cut_off: &CutOff, active: bool) -> Result<Option<User>, StoreError> {
        // Only a change is a cut-off: saying it twice signs nobody out who was activated in between.
        let changed: Option<UserRow> = changed!(
            self,
            cut_off,
            users::table
                .filter(users::id.eq(cut_off.id.as_str()))
                .filter(users::deleted_at.is_null())
                .filter(users::is_active.ne(active)),
            (
                users::is_active.eq(active),
                users::version.eq(users::version + 1),
                users::cut_off_at.eq(Stamp::new(cut_off.now)),
            ),
            UserRow::as_returning()
        );
        match changed {
            Some(row) => row.into_user(),
            None => self.find_user(&cut_off.id).await,
        }
    }

    async fn cut_off(
        &self,
        cut_off: &CutOff,
        version: Option<u32>,
    ) -> Result<Option<User>, StoreError> {
        let (any, version) = (version.is_none(), counter(version.unwrap_or_default()));
        let changed: Option<UserRow> = changed!(
            self,
            cut_off,
            users::table
                .filter(users::id.eq(cut_off.id.as_str()))
                .filter(users::deleted_at.is_null())
                .filter(users::version.eq(version).or(any.into_sql::<Bool>())),
            (
                users::version.eq(users::version + 1),
                users::cut_off_at.eq(Stamp::new(cut_off.now))
            ),
            UserRow::as_returning()
        );
        user(changed)
    }

    async fn cut_off_page(
        &self,
        now: Moment,
        step: u32,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<(UserId, u32)>, StoreError> {
        let (stamp, mut after) = (
            Stamp::new(now),
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

    async fn delete(&self, cut_off: &CutOff) -> Result<Option<u32>, StoreError> {
        let (now, nothing) = (stored(cut_off.now), Option::<String>::None);
        let version: Option<i32> = changed!(
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
                users::cut_off_at.eq(Stamp::new(cut_off.now)),
                users::deleted_at.eq(now),
            ),
            users::version
        );
        version.map(number).transpose()
    }

    async fn cut_offs(
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

    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError> {
        let before = stored(before);
        let ids: Vec<String> = on_conn!(self.pool, |conn| {
            users::table
                .filter(users::deleted_at.lt(before))
                .filter(not(exists(
                    sessions::table.filter(sessions::user_id.eq(users::id)),
                )))
                .limit(limit)
                .select(users::id)
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        if ids.is_empty() {
            return Ok(0);
        }
        // A deleted user gets no new session, so what was true above still is.
        on_conn!(self.pool, |conn| {
            diesel::delete(
                users::table
                    .filter(users::id.eq_any(&ids))
                    .filter(users::deleted_at.lt(before)),
            )
            .execute(conn)
            .await
        })?
        .map_err(from_query)
    }
}

impl SqlStore {
    async fn find_user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let found: Option<UserRow> = on_conn!(self.pool, |conn| {
            users::table
                .find(id.as_str())
                .select(UserRow::as_select())
                .first(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        user(found)
    }

    async fn email_is_taken(&self, key: &str) -> Result<bool, StoreError> {
        on_conn!(self.pool, |conn| {
            select(exists(users::table.filter(users::email_key.eq(key))))
                .get_result(conn)
                .await
        })?
        .map_err(from_query)
    }
}

fn user(row: Option<UserRow>) -> Result<Option<User>, StoreError> {
    match row {
        None => Ok(None),
        Some(row) => row.into_user(),
    }
}
