//! Users in SQL.

use async_trait::async_trait;
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
    dsl::{exists, not},
    select,
};
use diesel_async::RunQueryDsl as _;

use super::{
    SqlStore,
    error::{from_query, is_unique_violation},
    pool::on_conn,
    rows::{NewUserRow, UserRow, number, stored},
    schema::{sessions, users},
};
use crate::{
    domain::{
        ids::UserId,
        password::PasswordHash,
        time::Moment,
        user::{NewUser, User},
        username::Username,
    },
    ports::{Credentials, InsertUserError, StoreError, UserStore},
};

#[async_trait]
impl UserStore for SqlStore {
    async fn find_credentials(&self, username: &Username) -> Result<Option<Credentials>, StoreError> {
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
        let Some((row, hash)) = found else { return Ok(None) };
        Ok(row.into_user()?.map(|user| Credentials { user, password_hash: PasswordHash::new(hash) }))
    }

    async fn find_by_username(&self, username: &Username) -> Result<Option<User>, StoreError> {
        let key = username.key();
        let found: Option<UserRow> = on_conn!(self.pool, |conn| {
            users::table.filter(users::username_key.eq(&key)).select(UserRow::as_select()).first(conn).await.optional()
        })?
        .map_err(from_query)?;
        user(found)
    }

    async fn insert(&self, user: NewUser) -> Result<User, InsertUserError> {
        let email_key = user.email.as_ref().map(crate::domain::email::EmailAddress::key);
        let row = NewUserRow::from(user);
        let inserted: diesel::QueryResult<UserRow> = on_conn!(self.pool, |conn| {
            diesel::insert_into(users::table).values(&row).returning(UserRow::as_returning()).get_result(conn).await
        })?;
        match inserted {
            Ok(row) => row.into_user()?.ok_or_else(|| StoreError::Failed("a new user is gone".to_owned()).into()),
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
        rows.into_iter().filter_map(|row| row.into_user().transpose()).collect()
    }

    async fn any(&self) -> Result<bool, StoreError> {
        on_conn!(self.pool, |conn| {
            select(exists(users::table.filter(users::deleted_at.is_null()))).get_result(conn).await
        })?
        .map_err(from_query)
    }

    async fn replace_hash(&self, id: &UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError> {
        on_conn!(self.pool, |conn| {
            diesel::update(users::table.filter(users::id.eq(id.as_str())).filter(users::password_hash.eq(old.expose())))
                .set(users::password_hash.eq(new.expose()))
                .execute(conn)
                .await
        })?
        .map_err(from_query)?;
        Ok(())
    }

    async fn set_password(&self, id: &UserId, hash: &PasswordHash, now: Moment) -> Result<Option<User>, StoreError> {
        let now = stored(now);
        let changed: Option<UserRow> = on_conn!(self.pool, |conn| {
            diesel::update(users::table.filter(users::id.eq(id.as_str())).filter(users::deleted_at.is_null()))
                .set((
                    users::password_hash.eq(hash.expose()),
                    users::version.eq(users::version + 1),
                    users::cut_off_at.eq(now),
                ))
                .returning(UserRow::as_returning())
                .get_result(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        user(changed)
    }

    async fn set_active(&self, id: &UserId, active: bool, now: Moment) -> Result<Option<User>, StoreError> {
        let now = stored(now);
        // Only a change is a cut-off: saying it twice signs nobody out who was activated in between.
        let changed: Option<UserRow> = on_conn!(self.pool, |conn| {
            diesel::update(
                users::table
                    .filter(users::id.eq(id.as_str()))
                    .filter(users::deleted_at.is_null())
                    .filter(users::is_active.ne(active)),
            )
            .set((users::is_active.eq(active), users::version.eq(users::version + 1), users::cut_off_at.eq(now)))
            .returning(UserRow::as_returning())
            .get_result(conn)
            .await
            .optional()
        })?
        .map_err(from_query)?;
        match changed {
            Some(row) => row.into_user(),
            None => self.find_user(id).await,
        }
    }

    async fn cut_off(&self, id: &UserId, now: Moment) -> Result<Option<User>, StoreError> {
        let now = stored(now);
        let changed: Option<UserRow> = on_conn!(self.pool, |conn| {
            diesel::update(users::table.filter(users::id.eq(id.as_str())).filter(users::deleted_at.is_null()))
                .set((users::version.eq(users::version + 1), users::cut_off_at.eq(now)))
                .returning(UserRow::as_returning())
                .get_result(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        user(changed)
    }

    async fn delete(&self, id: &UserId, now: Moment) -> Result<Option<u32>, StoreError> {
        let now = stored(now);
        let nothing = Option::<String>::None;
        let version: Option<i32> = on_conn!(self.pool, |conn| {
            diesel::update(users::table.filter(users::id.eq(id.as_str())).filter(users::deleted_at.is_null()))
                .set((
                    users::username.eq(""),
                    users::username_key.eq(&nothing),
                    users::email.eq(""),
                    users::email_key.eq(&nothing),
                    users::password_hash.eq(""),
                    users::first_name.eq(""),
                    users::last_name.eq(""),
                    users::is_active.eq(false),
                    users::version.eq(users::version + 1),
                    users::cut_off_at.eq(now),
                    users::deleted_at.eq(now),
                ))
                .returning(users::version)
                .get_result(conn)
                .await
                .optional()
        })?
        .map_err(from_query)?;
        version.map(number).transpose()
    }

    async fn cut_offs(
        &self,
        since: Moment,
        after: Option<&UserId>,
        limit: i64,
    ) -> Result<Vec<(UserId, u32)>, StoreError> {
        let (since, after) = (stored(since), after.map(UserId::as_str).unwrap_or_default());
        let rows: Vec<(String, i32)> = on_conn!(self.pool, |conn| {
            users::table
                .filter(users::cut_off_at.ge(since))
                .filter(users::id.gt(after))
                .order(users::id)
                .limit(limit)
                .select((users::id, users::version))
                .load(conn)
                .await
        })?
        .map_err(from_query)?;
        rows.into_iter().map(|(id, version)| Ok((UserId::new(id), number(version)?))).collect()
    }

    async fn purge(&self, before: Moment, limit: i64) -> Result<usize, StoreError> {
        let before = stored(before);
        let ids: Vec<String> = on_conn!(self.pool, |conn| {
            users::table
                .filter(users::deleted_at.lt(before))
                .filter(not(exists(sessions::table.filter(sessions::user_id.eq(users::id)))))
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
            diesel::delete(users::table.filter(users::id.eq_any(&ids)).filter(users::deleted_at.lt(before)))
                .execute(conn)
                .await
        })?
        .map_err(from_query)
    }
}

impl SqlStore {
    async fn find_user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let found: Option<UserRow> = on_conn!(self.pool, |conn| {
            users::table.find(id.as_str()).select(UserRow::as_select()).first(conn).await.optional()
        })?
        .map_err(from_query)?;
        user(found)
    }

    async fn email_is_taken(&self, key: &str) -> Result<bool, StoreError> {
        on_conn!(self.pool, |conn| {
            select(exists(users::table.filter(users::email_key.eq(key)))).get_result(conn).await
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
