//! A spent refresh token that comes back: how its sender compares with the holder of the successor, and the consequence.

use std::net::IpAddr;

use super::{audit::Origin, session::Session};

/// The number of times that clients which differ in one respect get the successor of one generation.
pub const REPEATS: u32 = 3;

/// The leading bits of an IPv6 address that name a site: hosts choose the rest, and change it daily (RFC 8981).
const SITE_BITS: u32 = 64;

/// The comparison of the sender of a spent token with the holder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// By address and `User-Agent`.
    Client,
    /// Not at all: any sender is as good as the holder.
    None,
}

/// The differences between the sender of a spent token and the client of the last rotation, which holds the successor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The addresses are known and of two networks.
    pub address: bool,
    /// One `User-Agent` is not the other. No header at all is a value like any other.
    pub agent: bool,
}

/// The request that a spent token comes with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The successor.
    Refresh,
    /// The end of the session.
    Logout,
    /// Something that a spent token never gets: a "valid", or a protected view.
    Verify,
}

/// The consequence of a spent token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Consequence {
    /// The same successor.
    Successor,
    /// The same successor, if one of the [`REPEATS`] of its generation is left; else the end of the session by reuse.
    CountedSuccessor,
    /// The log-out that was asked for.
    Logout,
    /// A refusal that changes nothing.
    Refusal,
    /// The end of the session by reuse.
    Reuse,
}

impl Difference {
    /// The difference between the holder that `session` knows and the sender of a request.
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

    /// The difference as the audit trail and the log show it.
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
    /// Returns the consequence of a spent token, which is within the grace or not. This is the only table of it.
    #[must_use]
    pub const fn consequence(self, in_grace: bool, difference: Difference, binding: Binding) -> Consequence {
        let differences = match binding {
            Binding::Client => difference.address as u8 + difference.agent as u8,
            Binding::None => 0,
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

/// Returns whether two addresses are known to be of two networks. An IPv4 address is one network, and so is a /64 of IPv6.
/// An address that is not known accuses no client.
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
#[path = "spent_tests.rs"]
mod tests;
