//! Tests of the deployment id.

use std::{collections::BTreeSet, sync::Arc};

use latchkey_crypto::random;
use latchkey_domain::ids::DeploymentId;

on_both_databases! {
    async fn concurrent_starts_share_one_deployment_id(store: Store) {
        let sql = Arc::new(store.sql.clone());
        assert_eq!(sql.known_deployment().await.unwrap(), None);
        let starts = (0..16).map(|_| {
            let sql = Arc::clone(&sql);
            tokio::spawn(async move { sql.deployment(&DeploymentId::new(random::jti())).await.unwrap() })
        });
        let mut ids = BTreeSet::new();
        for start in starts.collect::<Vec<_>>() {
            ids.insert(start.await.unwrap().as_str().to_owned());
        }
        let known = sql.known_deployment().await.unwrap().unwrap();
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), [known.as_str()]);
        store.execute("INSERT INTO deployment (one, id) VALUES (2, 'x')").await.unwrap_err();
    }
}
