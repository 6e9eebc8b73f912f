//! Network addresses: trusted proxies, and the sources to which limits apply.

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net};

/// Leading bits of an IPv6 address that a provider assigns. The customer chooses the others.
const IPV6_PREFIX: u8 = 64;
/// Leading bits that all IPv4-mapped IPv6 addresses share.
const MAPPED_PREFIX: u8 = 96;

/// Unit of limits: an IPv4 address or an IPv6 /64 network.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Source(IpNet);

/// Returns the source of an address. An IPv4-mapped IPv6 address counts as the IPv4 address.
#[must_use]
pub fn source_of(address: IpAddr) -> Source {
    let address = address.to_canonical();
    let network = match address {
        IpAddr::V4(_) => IpNet::from(address),
        IpAddr::V6(_) => {
            IpNet::new(address, IPV6_PREFIX).map_or(IpNet::from(address), |network| network.trunc())
        }
    };
    Source(network)
}

/// Returns true for an address of this machine or of a private network (RFC 1918, RFC 4193, RFC
/// 6598, link-local).
#[must_use]
pub const fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || (first == 100 && second & 0b1100_0000 == 64)
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(network) => network.addr().fmt(f),
            IpNet::V6(network) => network.fmt(f),
        }
    }
}

/// Header in which trusted proxies pass the client's address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardedHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
}

/// Networks of trusted proxies. Empty by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses a comma-separated list of networks. A single address is a network of one address.
    ///
    /// # Errors
    /// Returns a description of the expected form.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',')
            .map(|part| network(part.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns true if the address belongs to a trusted proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network =
        parsed.map_err(|_| "expected networks such as 10.0.0.0/8,2001:db8::/32".to_owned())?;
    let network = canonical(network);
    if network.prefix_len() == 0 {
        return Err(format!(
            "expected only networks of proxies: {text} contains every client"
        ));
    }
    if network.addr() != network.network() {
        return Err(format!(
            "expected no bits beyond the prefix: {} instead of {text}",
            network.trunc()
        ));
    }
    Ok(network)
}

/// Returns an IPv4-mapped network as the IPv4 network.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let prefix = mapped.prefix_len().checked_sub(MAPPED_PREFIX);
    let ipv4 = mapped.addr().to_ipv4_mapped().zip(prefix);
    let ipv4 = ipv4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    ipv4.map_or(IpNet::V6(mapped), IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::{TrustedProxies, source_of};

    #[test]
    fn source_is_an_ipv4_address_or_an_ipv6_network() {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(
            source("2001:db8:1:2::1"),
            source("2001:db8:1:2:ffff:ffff:ffff:ffff")
        );
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_eq!(source("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(source("2001:db8:1:2::9").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn trusted_proxies_are_networks_or_addresses() {
        let proxies =
            TrustedProxies::parse(" 10.0.0.0/8, 192.0.2.1,2001:db8::/32 ,::ffff:198.51.100.0/120")
                .unwrap();
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("198.51.100.7", true),
        ] {
            assert_eq!(
                proxies.contains(address.parse().unwrap()),
                trusted,
                "{address}"
            );
        }
        assert_eq!(
            TrustedProxies::parse(" ").unwrap(),
            TrustedProxies::default()
        );
        for invalid in [
            "10.0.0.1/8",
            "0.0.0.0/0",
            "::/0",
            "::ffff:0.0.0.0/96",
            "10.0.0.0/33",
            "proxy",
            "10.0.0.0/8,",
            ",",
        ] {
            TrustedProxies::parse(invalid).unwrap_err();
        }
    }
}
