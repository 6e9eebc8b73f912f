//! Spent refresh tokens that come back: the comparison of the sender with the holder of the successor, and the
//! consequence.

use std::net::IpAddr;

use super::{audit::Origin, session::Session};

/// The number of times that clients that differ in one respect get the successor of one generation.
pub const REPEATS: u32 = 3;

/// The leading bits of an IPv6 address that identify a site. Hosts choose the rest, and change it daily (RFC 8981).
const SITE_BITS: u32 = 64;

/// The comparison of the sender of a spent token with the holder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientBinding {
    /// By address and `User-Agent`.
    Client,
    /// No comparison: any sender counts as the holder.
    None,
}

/// The differences between the sender of a spent token and the client of the last rotation, which holds the successor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difference {
    /// Both addresses are known, and belong to different networks.
    pub address: bool,
    /// The two `User-Agent` headers differ. A missing header is a value like any other.
    pub agent: bool,
}

/// The request that a spent token comes with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The successor.
    Refresh,
    /// The end of the session.
    Logout,
    /// Requests that are never granted for a spent token: "valid", or a protected view.
    Verify,
}

/// The consequence of a spent token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Consequence {
    /// The same successor.
    Successor,
    /// The same successor, if one of the [`REPEATS`] of its generation is left. Otherwise the end of the session by
    /// reuse.
    CountedSuccessor,
    /// The log-out that was asked for.
    Logout,
    /// A refusal that changes nothing.
    Refusal,
    /// The end of the session by reuse.
    Reuse,
}

impl Difference {
    /// Compares the holder that `session` records with the sender of a request.
    #[must_use]
    pub fn between(session: &Session, sender: &Origin) -> Self {
        Self {
            address: apart(session.last_ip.as_deref(), sender.ip.as_deref()),
            agent: session.user_agent != sender.user_agent,
        }
    }

    /// Returns whether the two differ in anything.
    #[must_use]
    pub const fn any(self) -> bool {
        self.address || self.agent
    }

    /// Returns the difference as shown in the audit trail and in the log.
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
    /// Returns the consequence of a spent token, inside or outside the grace. The service has no other table of it.
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
            (Self::Verify, _, 0 | 1) => Consequence::Refusal,
            _ => Consequence::Reuse,
        }
    }
}

/// Returns true if two addresses are known to belong to different networks. An IPv4 address is a network of one; IPv6
/// networks are /64. An unknown address does not count as different.
fn apart(holder: Option<&str>, sender: Option<&str>) -> bool {
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
