//! Admission: how much of the work in progress one session and one source may have.
//!
//! A use case that was admitted counts until it ends, whether or not its client is still there. One that waits to be
//! admitted ends with its client. The database's own queues are bounded apart (`store::sql`), and so is that of the
//! password hashes.

use super::{
    Client, Error,
    bulkhead::{Bulkhead, Place, Size},
};
use crate::domain::{
    ids::SessionId,
    network::{Source, is_local, source_of},
};

/// Tabs of one browser that refresh at once wait for each other anyway: they need the same row.
const SESSION: Size = Size { places: 4, queue: 124 };

/// From one address on the internet, behind which may be the offices of a company.
const SOURCE: Size = Size { places: 32, queue: 224 };

/// From one address of this machine or network: it may be a proxy that the settings do not name.
/// Fewer than may wait for the database, so that it cannot keep all others out either.
const LOCAL_SOURCE: Size = Size { places: 192, queue: 3904 };

/// The hashing queue is divided into so many parts. A source may take one of them, and one of this machine or network all but one.
const PARTS: usize = 4;

/// Admits use cases. Cloning shares it.
#[derive(Clone)]
pub struct Admission {
    sessions: Bulkhead<SessionId>,
    sources: Bulkhead<Source>,
    sign_ins: Bulkhead<Source>,
    hashes: usize,
}

/// The right to do the work of one request. It is given back when it is dropped.
pub(super) struct Admitted {
    _session: Option<Place<SessionId>>,
    _source: Option<Place<Source>>,
}

impl Admission {
    /// `hashes` are the passwords that may be hashed or wait for it at once.
    #[must_use]
    pub fn new(hashes: usize) -> Self {
        Self { sessions: Bulkhead::new(), sources: Bulkhead::new(), sign_ins: Bulkhead::new(), hashes }
    }

    /// Admits a request of a client on a session.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when too many wait already.
    pub(super) async fn enter(&self, client: &Client, session: Option<SessionId>) -> Result<Admitted, Error> {
        let session = match session {
            Some(session) => Some(self.sessions.enter(session, SESSION).await.ok_or(Error::Overloaded)?),
            None => None,
        };
        let source = enter(&self.sources, client, |local| if local { LOCAL_SOURCE } else { SOURCE }).await?;
        Ok(Admitted { _session: session, _source: source })
    }

    /// Admits a sign-in. One source has a part of the hashing queue, so that it cannot keep all others out.
    ///
    /// # Errors
    /// [`Error::Busy`] at once when it has that part already.
    pub(super) async fn enter_sign_in(&self, client: &Client) -> Result<Admitted, Error> {
        let part = (self.hashes / PARTS).max(1);
        let places = |local| if local { self.hashes.saturating_sub(part).max(1) } else { part };
        let size = |local| Size { places: places(local), queue: 0 };
        let source = enter(&self.sign_ins, client, size).await.map_err(|_| Error::Busy)?;
        Ok(Admitted { _session: None, _source: source })
    }
}

/// A request whose address is unknown counts with no source.
async fn enter(
    sources: &Bulkhead<Source>,
    client: &Client,
    size: impl Fn(bool) -> Size,
) -> Result<Option<Place<Source>>, Error> {
    let Some(address) = client.ip else { return Ok(None) };
    sources.enter(source_of(address), size(is_local(address))).await.map(Some).ok_or(Error::Overloaded)
}
