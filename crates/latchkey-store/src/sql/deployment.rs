//! Id of the deployment.

use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;

use super::{SqlStore, error::from_query, pool::on_conn, schema::deployment};
use latchkey_domain::{ids::DeploymentId, ports::StoreError};

impl SqlStore {
    /// Returns the id of the deployment. If there is none, stores `new` first. Of concurrent
    /// starts, one stores its id.
    ///
    /// # Errors
    /// A failed query.
    pub async fn deployment(&self, new: &DeploymentId) -> Result<DeploymentId, StoreError> {
        if let Some(id) = self.known_deployment().await? {
            return Ok(id);
        }
        on_conn!(self.pool, |conn| {
            diesel::insert_into(deployment::table)
                .values((deployment::one.eq(1), deployment::id.eq(new.as_str())))
                .on_conflict_do_nothing()
                .execute(conn)
                .await
        })?
        .map_err(from_query)?;
        self.known_deployment()
            .await?
            .ok_or_else(|| StoreError::Failed("the deployment has no id".to_owned()))
    }

    /// Returns the id of the deployment, if there is one.
    ///
    /// # Errors
    /// A failed query, also if the table is missing.
    pub async fn known_deployment(&self) -> Result<Option<DeploymentId>, StoreError> {
        let id: Option<String> = on_conn!(self.pool, |conn| deployment::table
            .select(deployment::id)
            .first(conn)
            .await
            .optional())?
        .map_err(from_query)?;
        Ok(id.map(DeploymentId::new))
    }
}
