//! Rotation on SQLite, which serializes writers and returns columns of one table only: a
//! conditional write that decides, then a read of the user.

use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _,
    SelectableHelper as _, dsl::exists,
};
use diesel_async::{RunQueryDsl as _, pooled_connection::deadpool::Pool};

use crate::sql::{
    SqlStore,
    error::from_query,
    pool::on_sqlite,
    rows::{SessionRow, UserRow, counter, state, stored},
    schema::{sessions, users},
    sqlite::AsyncSqliteConnection,
};
use latchkey_domain::{
    ports::{Clock, Rotation, StoreError},
    session::SessionState,
};

impl SqlStore {
    pub(in crate::sql) async fn rotate_on_sqlite(
        &self,
        pool: &Pool<AsyncSqliteConnection>,
        rotation: Rotation,
        clock: &dyn Clock,
    ) -> Result<Option<SessionState>, StoreError> {
        let (id, generation) = (rotation.id.to_string(), counter(rotation.generation));
        // Both on one connection: waiting for a second one could time out after the token was
        // spent.
        let rotated: Option<(SessionRow, Option<UserRow>)> = on_sqlite!(pool, self.pool, |conn| {
            let now = stored(clock.now());
            let rotated: Option<SessionRow> = diesel::update(
                sessions::table
                    .filter(sessions::id.eq(&id))
                    .filter(sessions::user_id.eq(rotation.user.as_str()))
                    .filter(sessions::session_epoch.eq(counter(rotation.session_epoch)))
                    .filter(sessions::generation.eq(generation))
                    .filter(sessions::revoked_at.is_null())
                    .filter(sessions::expires_at.gt(now))
                    .filter(exists(
                        users::table
                            .filter(users::id.eq(sessions::user_id))
                            .filter(users::session_epoch.eq(sessions::session_epoch))
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
            .load(conn)
            .await?
            // All rows are loaded, although there is one at most: the first row arrives before the
            // commit.
            .pop();
            match rotated {
                None => Ok(None),
                Some(row) => {
                    let user = users::table
                        .find(&row.user_id)
                        .select(UserRow::as_select())
                        .first(conn)
                        .await;
                    user.optional().map(|user| Some((row, user)))
                }
            }
        })?
        .map_err(from_query)?;
        rotated
            .map(|(session, user)| state(session, user))
            .transpose()
    }
}
