//! Admission: limits of the work in progress for each session and each source.
//!
//! A use case counts from its admission to its end, even if the client disconnects. A request that
//! waits for admission is dropped with its connection. The queues of the
//! database pool (`latchkey-store`) and of the password hasher (`latchkey-crypto`) have their own
//! limits.

mod bulkhead;

use self::bulkhead::{Bulkhead, Place, Size};
use crate::{ClientInfo, Error};
use latchkey_domain::{
    ids::SessionId,
    network::{Source, is_local, source_of},
};

/// Limit of a session. Concurrent refreshes of its tabs wait for each other anyway, because they
/// need the same row.
const SESSION: Size = Size {
    places: 4,
    queue: 124,
};

/// Limit of a public source, which may be the network of a company.
const SOURCE: Size = Size {
    places: 32,
    queue: 224,
};

/// Limit of a source on this machine or in a private network, which may be a proxy that is not
/// configured. It is lower than the queue of the database, so that other sources are still served.
const LOCAL_SOURCE: Size = Size {
    places: 192,
    queue: 3904,
};

/// Number of parts of the hashing queue. A source may use one part. A source on this machine or in
/// a private network may use all but one.
const PARTS: usize = 4;

/// Admission of use cases. Clones share the limits.
#[derive(Clone)]
pub struct Admission {
    sessions: Bulkhead<SessionId>,
    sources: Bulkhead<Source>,
    sign_ins: Bulkhead<Source>,
    hashes: usize,
}

/// Permission to process one request, until it is dropped.
pub(crate) struct Admitted {
    _session: Option<Place<SessionId>>,
    _source: Option<Place<Source>>,
}

impl Admission {
    /// Returns limits for a hasher that accepts `hashes` passwords at once, including queued ones.
    #[must_use]
    pub fn new(hashes: usize) -> Self {
        Self {
            sessions: Bulkhead::new(),
            sources: Bulkhead::new(),
            sign_ins: Bulkhead::new(),
            hashes,
        }
    }

    /// Admits a request of a client on a session.
    ///
    /// # Errors
    /// [`Error::Overloaded`], without waiting, if the queue is full.
    pub(crate) async fn enter(
        &self,
        client: &ClientInfo,
        session: Option<SessionId>,
    ) -> Result<Admitted, Error> {
        let session = match session {
            Some(session) => Some(
                self.sessions
                    .enter(session, SESSION)
                    .await
                    .ok_or(Error::Overloaded)?,
            ),
            None => None,
        };
        let source = enter(&self.sources, client, |local| {
            if local { LOCAL_SOURCE } else { SOURCE }
        })
        .await?;
        Ok(Admitted {
            _session: session,
            _source: source,
        })
    }

    /// Admits a sign-in. Each source may use only a part of the hashing queue, so that others are
    /// still served.
    ///
    /// # Errors
    /// [`Error::Busy`], without waiting, if the source already uses its part.
    pub(crate) async fn enter_sign_in(&self, client: &ClientInfo) -> Result<Admitted, Error> {
        let part = (self.hashes / PARTS).max(1);
        let places = |local| {
            if local {
                self.hashes.saturating_sub(part).max(1)
            } else {
                part
            }
        };
        let size = |local| Size {
            places: places(local),
            queue: 0,
        };
        let source = enter(&self.sign_ins, client, size)
            .await
            .map_err(|_| Error::Busy)?;
        Ok(Admitted {
            _session: None,
            _source: source,
        })
    }
}

/// Enters the bulkhead of the client's source. A request with an unknown address counts for no
/// source.
async fn enter(
    sources: &Bulkhead<Source>,
    client: &ClientInfo,
    size: impl Fn(bool) -> Size,
) -> Result<Option<Place<Source>>, Error> {
    let Some(address) = client.ip else {
        return Ok(None);
    };
    sources
        .enter(source_of(address), size(is_local(address)))
        .await
        .map(Some)
        .ok_or(Error::Overloaded)
}
