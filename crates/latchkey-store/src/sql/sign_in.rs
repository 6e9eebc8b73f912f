//! Sign-in: inserts a session with its audit event, updates the last login, and counts the user's
//! other live sessions.

use diesel::{
    ExpressionMethods as _, IntoSql as _, QueryDsl as _, QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Integer, Nullable, Text, Timestamp},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _, pooled_connection::deadpool::Pool};

use super::{
    SqlStore,
    audit::NewAuditRow,
    error::from_query,
    pool::on_sqlite,
    rows::SessionRow,
    schema::{audit_events, sessions, users},
    sqlite::AsyncSqliteConnection,
};
use latchkey_domain::ports::{NewSession, StoreError};

/// Sign-in on Postgres in one round trip. Inserts the session if the user is active and has the
/// session's epoch, optionally updates the last login, writes the audit event, and returns the
/// number of other live sessions.
///
/// A diesel query node, not `sql_query`: it has a static id, so each connection prepares it once.
/// The two forms have different ids, because `UPDATE_LAST_LOGIN` changes the text.
pub(super) struct InsertSession<const UPDATE_LAST_LOGIN: bool>(pub SessionRow, pub NewAuditRow);

impl<const UPDATE_LAST_LOGIN: bool> QueryId for InsertSession<UPDATE_LAST_LOGIN> {
    type QueryId = InsertSession<UPDATE_LAST_LOGIN>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const UPDATE_LAST_LOGIN: bool> Query for InsertSession<UPDATE_LAST_LOGIN> {
    type SqlType = BigInt;
}

impl<C, const UPDATE_LAST_LOGIN: bool> diesel::RunQueryDsl<C> for InsertSession<UPDATE_LAST_LOGIN> {}

impl<const UPDATE_LAST_LOGIN: bool> QueryFragment<Pg> for InsertSession<UPDATE_LAST_LOGIN> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self(row, audit) = self;
        if UPDATE_LAST_LOGIN {
            out.push_sql("WITH u AS (UPDATE users SET last_login = ");
            out.push_bind_param::<Timestamp, _>(&row.created_at)?;
        } else {
            out.push_sql("WITH u AS (SELECT id FROM users");
        }
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<Text, _>(&row.user_id)?;
        out.push_sql(" AND session_epoch = ");
        out.push_bind_param::<Integer, _>(&row.session_epoch)?;
        out.push_sql(" AND is_active AND deleted_at IS NULL");
        out.push_sql(if UPDATE_LAST_LOGIN {
            " RETURNING id)"
        } else {
            ")"
        });
        out.push_sql(
            ", s AS (INSERT INTO sessions (id, user_id, session_epoch, generation, created_at, rotated_at, expires_at, \
             last_ip, user_agent) SELECT ",
        );
        out.push_bind_param::<Text, _>(&row.id)?;
        out.push_sql(", u.id, ");
        out.push_bind_param::<Integer, _>(&row.session_epoch)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&row.generation)?;
        for moment in [&row.created_at, &row.rotated_at, &row.expires_at] {
            out.push_sql(", ");
            out.push_bind_param::<Timestamp, _>(moment)?;
        }
        for text in [&row.last_ip, &row.user_agent] {
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(text)?;
        }
        out.push_sql(
            " FROM u RETURNING user_id), a AS (INSERT INTO audit_events \
             (at, event, cause, actor, user_id, session_id, jti, ip, user_agent, details, times) SELECT ",
        );
        out.push_bind_param::<Timestamp, _>(&audit.at)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(audit.event)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&audit.cause)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&audit.actor)?;
        for text in [
            &audit.user_id,
            &audit.session_id,
            &audit.jti,
            &audit.ip,
            &audit.user_agent,
        ] {
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(text)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&audit.details)?;
        // Counts the sessions from before this statement, which does not see its own row.
        out.push_sql(
            ", 1 FROM s) SELECT (SELECT count(*) FROM sessions AS o WHERE o.user_id = s.user_id \
             AND o.revoked_at IS NULL AND o.session_epoch = ",
        );
        out.push_bind_param::<Integer, _>(&row.session_epoch)?;
        out.push_sql(" AND o.expires_at > ");
        out.push_bind_param::<Timestamp, _>(&row.created_at)?;
        out.push_sql(") FROM s");
        Ok(())
    }
}

impl SqlStore {
    /// Sign-in on SQLite, which returns columns of one table only: the first statement decides, the
    /// others follow.
    pub(super) async fn insert_by_steps(
        &self,
        pool: &Pool<AsyncSqliteConnection>,
        new: NewSession,
    ) -> Result<Option<i64>, StoreError> {
        let (row, audit) = (
            SessionRow::from(&new.session),
            NewAuditRow::from(&new.audit),
        );
        let (created_at, epoch) = (row.created_at, row.session_epoch);
        on_sqlite!(pool, self.pool, |conn| {
            conn.transaction(async |conn| {
                let user = users::table
                    .filter(users::id.eq(row.user_id.clone()))
                    .filter(users::session_epoch.eq(epoch))
                    .filter(users::is_active.eq(true))
                    .filter(users::deleted_at.is_null());
                let values = (
                    row.id.as_str().into_sql::<Text>(),
                    users::id,
                    epoch.into_sql::<Integer>(),
                    row.generation.into_sql::<Integer>(),
                    created_at.into_sql::<Timestamp>(),
                    row.rotated_at.into_sql::<Timestamp>(),
                    row.expires_at.into_sql::<Timestamp>(),
                    row.last_ip.as_deref().into_sql::<Nullable<Text>>(),
                    row.user_agent.as_deref().into_sql::<Nullable<Text>>(),
                );
                let columns = (
                    sessions::id,
                    sessions::user_id,
                    sessions::session_epoch,
                    sessions::generation,
                    sessions::created_at,
                    sessions::rotated_at,
                    sessions::expires_at,
                    sessions::last_ip,
                    sessions::user_agent,
                );
                let insertion = diesel::insert_into(sessions::table)
                    .values(user.select(values))
                    .into_columns(columns);
                if insertion.execute(conn).await? == 0 {
                    return QueryResult::Ok(None);
                }
                if new.update_last_login {
                    let user = users::table.find(&row.user_id);
                    diesel::update(user)
                        .set(users::last_login.eq(created_at))
                        .execute(conn)
                        .await?;
                }
                diesel::insert_into(audit_events::table)
                    .values(&audit)
                    .execute(conn)
                    .await?;
                let others: i64 = sessions::table
                    .filter(sessions::user_id.eq(&row.user_id))
                    .filter(sessions::revoked_at.is_null())
                    .filter(sessions::expires_at.gt(created_at))
                    .filter(sessions::session_epoch.eq(epoch))
                    .filter(sessions::id.ne(&row.id))
                    .count()
                    .get_result(conn)
                    .await?;
                Ok(Some(others))
            })
            .await
        })?
        .map_err(from_query)
    }
}
