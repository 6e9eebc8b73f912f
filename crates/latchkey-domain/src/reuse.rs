//! Use of spent refresh tokens: comparison of the client with the holder, and the consequence.

use std::net::IpAddr;

use super::{audit::Origin, decision::Purpose, session::Session};

/// Maximum number of repeats per generation for clients that differ from the holder in one respect.
pub const REPEATS: u32 = 3;

/// Leading bits of an IPv6 address that identify a site. Hosts choose the others and change them
/// daily (RFC 8981).
const SITE_BITS: u32 = 64;

/// Comparison of the client that presents a spent token with the holder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientBinding {
    /// Comparison by address and `User-Agent`.
    Client,
    /// No comparison: any client counts as the holder.
    None,
}

/// Differences between the client that presents a spent token and the holder of the successor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difference {
    /// True if both addresses are known and belong to different networks.
    pub address: bool,
    /// True if the two `User-Agent` headers differ. A missing header is a value like any other.
    pub agent: bool,
}

/// Consequence of presenting a spent token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Consequence {
    /// The same successor is issued.
    Successor,
    /// The same successor is issued, up to [`REPEATS`] times per generation. After that the session
    /// is revoked because of reuse.
    CountedSuccessor,
    /// The requested log-out is performed.
    Logout,
    /// The token is refused, without further consequences.
    Refusal,
    /// The session is revoked because of reuse.
    Reuse,
}

impl Difference {
    /// Compares the holder recorded in `session` with the sender of a request.
    #[must_use]
    pub fn between(session: &Session, sender: &Origin) -> Self {
        Self {
            address: networks_differ(session.last_ip.as_deref(), sender.ip.as_deref()),
            agent: session.user_agent != sender.user_agent,
        }
    }

    /// Returns true if there is any difference.
    #[must_use]
    pub const fn any(self) -> bool {
        self.address || self.agent
    }

    /// Returns the label for the audit trail and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.address, self.agent) {
            (false, false) => "none",
            (true, false) => "address",
            (false, true) => "agent",
            (true, true) => "address,agent",
        }
    }
}

impl Purpose {
    /// Returns the consequence of a spent token within or outside the grace. All views use this
    /// table.
    #[must_use]
    pub const fn consequence(
        self,
        in_grace: bool,
        difference: Difference,
        binding: ClientBinding,
    ) -> Consequence {
        let differences = match binding {
            ClientBinding::Client => difference.address as u8 + difference.agent as u8,
            ClientBinding::None => 0,
        };
        match (self, in_grace, differences) {
            (Self::Refresh, true, 0) => Consequence::Successor,
            (Self::Refresh, true, 1) => Consequence::CountedSuccessor,
            (Self::Logout, true, 0 | 1) => Consequence::Logout,
            (Self::Verify | Self::Authenticate, _, 0 | 1) => Consequence::Refusal,
            _ => Consequence::Reuse,
        }
    }
}

/// Returns true if two addresses are known to belong to different networks. An IPv4 address is a
/// network of one address, and IPv6 networks are /64. An unknown address does not count as
/// different.
fn networks_differ(holder: Option<&str>, sender: Option<&str>) -> bool {
    let network = |address: Option<&str>| address.and_then(|text| text.parse().ok()).map(network);
    match (network(holder), network(sender)) {
        (Some(holder), Some(sender)) => holder != sender,
        _ => false,
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let site = u128::MAX << (u128::BITS - SITE_BITS);
            IpAddr::V6((address.to_bits() & site).into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
#[path = "reuse_tests.rs"]
mod tests;
