//! Buffer for a request body, which may contain a password. The buffer is overwritten when it is
//! dropped.

use actix_web::web::Bytes;
use zeroize::{Zeroize as _, Zeroizing};

/// Complete body.
pub(super) enum ZeroizingBody {
    /// One piece in the web server's buffer of the connection. It is overwritten on drop if nothing
    /// else refers to it, otherwise by the next data of the connection.
    Whole(Bytes),
    /// Several pieces, copied into one buffer.
    Joined(Zeroizing<Vec<u8>>),
}

impl Default for ZeroizingBody {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl ZeroizingBody {
    /// Adds the next piece. A single piece, as most bodies have, is not copied.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.as_slice().is_empty() {
            *self = Self::Whole(piece);
            return;
        }
        let mut joined = match self {
            Self::Joined(joined) => std::mem::take(joined),
            Self::Whole(_) => Zeroizing::default(),
        };
        let length = self.as_slice().len() + joined.len() + piece.len();
        if joined.capacity() < length {
            // A vector that grows does not wipe its old memory.
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(self.as_slice());
            larger.extend_from_slice(&joined);
            joined = larger;
        }
        joined.extend_from_slice(&piece);
        wipe(piece);
        *self = Self::Joined(joined);
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Joined(bytes) => bytes,
        }
    }
}

impl Drop for ZeroizingBody {
    fn drop(&mut self) {
        if let Self::Whole(bytes) = self {
            wipe(std::mem::take(bytes));
        }
    }
}

/// Overwrites bytes that nothing else refers to.
fn wipe(bytes: Bytes) {
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.as_mut().zeroize();
    }
}
