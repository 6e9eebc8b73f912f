//! User store in SQL.

mod epochs;

use async_trait::async_trait;
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
    dsl::{exists, not},
    select,
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};

use super::{
    SqlStore,
    audit::NewAuditRow,
    error::{from_query, is_unique_violation},
    pool::on_conn,
    rows::{NewUserRow, UserChangesRow, UserRow, stored},
    schema::{audit_events, sessions, users},
};
use latchkey_domain::{
    audit::AuditEvent,
    ids::UserId,
    password::PasswordHash,
    ports::{Credentials, InsertUserError, RevokeAll, StoreError, UserStore},
    time::Moment,
    user::{NewUser, User, UserChanges},
    username::Username,
};

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
            // The address is the only unique column among the changed ones.
            Err(error) if is_unique_violation(&error) => Err(InsertUserError::EmailTaken),
            Err(error) => Err(from_query(error).into()),
        }
    }

    async fn insert(&self, user: NewUser, audit: AuditEvent) -> Result<User, InsertUserError> {
        let email_key = user
            .email
            .as_ref()
            .map(latchkey_domain::email::EmailAddress::key);
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
                .ok_or_else(|| StoreError::Failed("a new user was deleted".to_owned()).into()),
            // A unique index was violated. The query only selects the message.
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
        revoke_all: &RevokeAll,
        hash: &PasswordHash,
    ) -> Result<Option<User>, StoreError> {
        self.change_password(revoke_all, hash).await
    }

    async fn set_active(
        &self,
        revoke_all: &RevokeAll,
        active: bool,
    ) -> Result<Option<User>, StoreError> {
        self.change_active(revoke_all, active).await
    }

    async fn revoke_all_sessions(
        &self,
        revoke_all: &RevokeAll,
        epoch: Option<u32>,
    ) -> Result<Option<User>, StoreError> {
        self.revoke_sessions_of(revoke_all, epoch).await
    }

    async fn bump_epochs(
        &self,
        now: Moment,
        step: u32,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<(UserId, u32)>, StoreError> {
        self.raise_epochs(now, step, after, limit).await
    }

    async fn delete(&self, revoke_all: &RevokeAll) -> Result<Option<u32>, StoreError> {
        self.delete_user(revoke_all).await
    }

    async fn epochs_raised_since(
        &self,
        since: Moment,
        after: Option<(Moment, UserId)>,
        limit: i64,
    ) -> Result<Vec<(Moment, UserId, u32)>, StoreError> {
        self.find_raised_epochs(since, after, limit).await
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
        // A deleted user gets no new session, so the condition still holds.
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
