//! Key ring in SQL.

use async_trait::async_trait;
use chrono::{NaiveDateTime, TimeDelta};
use diesel::{
    ExpressionMethods as _, Insertable, QueryDsl as _, Queryable, Selectable,
    SelectableHelper as _, pg::Pg, sqlite::Sqlite,
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use latchkey_verifier::Kind;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    SqlStore,
    error::from_query,
    pool::on_conn,
    rows::stored,
    schema::{signing_key_ring, signing_keys},
};
use latchkey_domain::{
    keys::{KeyMetadata, MaxLifetimes},
    ports::{KeyChange, KeyRecord, KeyRecords, KeyStore, RevokedKey, StoreError},
};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = signing_keys, check_for_backend(Pg, Sqlite))]
struct KeyRow {
    kid: String,
    token_type: String,
    algorithm: String,
    signs_from: NaiveDateTime,
    private_key: Option<String>,
    revoked_at: Option<NaiveDateTime>,
}

impl KeyRow {
    fn new(facts: &KeyMetadata, text: &SecretString) -> Self {
        Self {
            kid: facts.kid.clone(),
            token_type: facts.kind.token_type().to_owned(),
            algorithm: facts.algorithm.name().to_owned(),
            signs_from: stored(facts.signs_from),
            private_key: Some(text.expose_secret().to_owned()),
            revoked_at: None,
        }
    }

    /// Returns the metadata, or `None` for a row of a later version.
    fn facts(&self) -> Option<KeyMetadata> {
        let kind = [Kind::Access, Kind::Refresh]
            .into_iter()
            .find(|kind| kind.token_type() == self.token_type)?;
        let (kid, algorithm) = (self.kid.clone(), self.algorithm.parse().ok()?);
        Some(KeyMetadata {
            kid,
            kind,
            algorithm,
            signs_from: self.signs_from.and_utc(),
        })
    }
}

impl SqlStore {
    async fn ring_row(&self) -> Result<(String, MaxLifetimes), StoreError> {
        let (version, access, refresh): (i64, i64, i64) = on_conn!(self.pool, |conn| {
            use signing_key_ring::{access_life, refresh_life, version};
            signing_key_ring::table
                .select((version, access_life, refresh_life))
                .first(conn)
                .await
        })?
        .map_err(from_query)?;
        let span = |seconds| TimeDelta::try_seconds(seconds).unwrap_or_default();
        Ok((
            version.to_string(),
            MaxLifetimes {
                access: span(access),
                refresh: span(refresh),
            },
        ))
    }
}

#[async_trait]
impl KeyStore for SqlStore {
    async fn version(&self) -> Result<String, StoreError> {
        Ok(self.ring_row().await?.0)
    }

    async fn read(&self) -> Result<KeyRecords, StoreError> {
        // Read before the rows: a change in between has another version and causes another read.
        let (version, lives) = self.ring_row().await?;
        let rows: Vec<KeyRow> = on_conn!(self.pool, |conn| {
            let rows = signing_keys::table.order((signing_keys::signs_from, signing_keys::kid));
            rows.select(KeyRow::as_select()).load(conn).await
        })?
        .map_err(from_query)?;
        let mut records = KeyRecords {
            version,
            lives,
            ..KeyRecords::default()
        };
        for row in rows {
            let place = format!("the key {} in the database", row.kid);
            match (row.facts(), row.revoked_at, row.private_key) {
                (Some(facts), Some(at), _) => records.revoked.push(RevokedKey {
                    facts,
                    at: at.and_utc(),
                }),
                // A revoked key of a later version needs no metadata.
                (None, Some(_), _) => {}
                (Some(facts), None, Some(text)) => records.keys.push(KeyRecord {
                    facts,
                    text: text.into(),
                    place,
                }),
                (facts, None, _) => {
                    records.unreadable.extend(facts);
                    records.broken.push(format!(
                        "{place}: cannot be read: was it written by a later version?"
                    ));
                }
            }
        }
        Ok(records)
    }

    async fn change(&self, seen: &str, changes: &[KeyChange]) -> Result<bool, StoreError> {
        let Ok(seen) = seen.parse::<i64>() else {
            return Ok(false);
        };
        on_conn!(self.pool, |conn| {
            conn.transaction(async |conn| {
                let ring = signing_key_ring::table.filter(signing_key_ring::version.eq(seen));
                let raised = signing_key_ring::version.eq(signing_key_ring::version + 1);
                if diesel::update(ring).set(raised).execute(conn).await? == 0 {
                    return diesel::QueryResult::Ok(false);
                }
                for change in changes {
                    match change {
                        KeyChange::Add(facts, text) => {
                            let row = KeyRow::new(facts, text);
                            diesel::insert_into(signing_keys::table)
                                .values(&row)
                                .execute(conn)
                                .await?
                        }
                        KeyChange::Lives(lives) => {
                            let set = (
                                signing_key_ring::access_life.eq(lives.access.num_seconds()),
                                signing_key_ring::refresh_life.eq(lives.refresh.num_seconds()),
                            );
                            diesel::update(signing_key_ring::table)
                                .set(set)
                                .execute(conn)
                                .await?
                        }
                        KeyChange::Revoke(facts, at) => {
                            let set = (
                                signing_keys::private_key.eq(None::<String>),
                                signing_keys::revoked_at.eq(Some(stored(*at))),
                            );
                            diesel::update(signing_keys::table.find(&facts.kid))
                                .set(set)
                                .execute(conn)
                                .await?
                        }
                        KeyChange::Remove(facts) => {
                            diesel::delete(signing_keys::table.find(&facts.kid))
                                .execute(conn)
                                .await?
                        }
                        KeyChange::Rewrap(facts, text) => {
                            let set = signing_keys::private_key.eq(Some(text.expose_secret()));
                            diesel::update(signing_keys::table.find(&facts.kid))
                                .set(set)
                                .execute(conn)
                                .await?
                        }
                    };
                }
                Ok(true)
            })
            .await
        })?
        .map_err(from_query)
    }

    fn setting(&self) -> &'static str {
        "LATCHKEY_KEYS"
    }

    fn wants_encryption(&self) -> bool {
        true
    }
}
