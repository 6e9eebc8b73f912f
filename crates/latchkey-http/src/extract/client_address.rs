//! Address of a client behind trusted proxies.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderValue, X_FORWARDED_FOR};

use crate::state::HttpSettings;
use latchkey_domain::network::{ForwardedHeader, TrustedProxies};

/// Maximum number of hops that are read. Real chains of proxies are shorter.
const MAX_HOPS: usize = 64;

/// Returns the right-most hop that is not a trusted proxy.
///
/// The header is used only if the peer is a trusted proxy. Each proxy appends the address of its
/// own peer, so hops are read from the right. A client can only forge hops to the left of its own
/// address. At a malformed hop, the last known address is returned.
pub(super) fn client_address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    settings: &HttpSettings,
) -> Option<IpAddr> {
    // A dual-stack socket reports an IPv4 peer as an IPv6 address.
    let peer = peer?.to_canonical();
    let trusted = &settings.trusted_proxies;
    if !trusted.contains(peer) {
        return Some(peer);
    }
    Some(match settings.forwarded_header {
        ForwardedHeader::Forwarded => {
            let lines = headers.get_all(FORWARDED).rev().map(HeaderValue::as_bytes);
            walk(
                peer,
                lines.flat_map(ElementsFromTheRight),
                trusted,
                for_parameter,
            )
        }
        ForwardedHeader::XForwardedFor => {
            let lines = headers
                .get_all(X_FORWARDED_FOR)
                .rev()
                .map(HeaderValue::as_bytes);
            walk(
                peer,
                lines.flat_map(|line| line.rsplit(|byte| *byte == b',')),
                trusted,
                Some,
            )
        }
    })
}

fn walk<'a>(
    peer: IpAddr,
    elements: impl Iterator<Item = &'a [u8]>,
    trusted: &TrustedProxies,
    node: impl Fn(&'a [u8]) -> Option<&'a [u8]>,
) -> IpAddr {
    let mut known = peer;
    for element in elements.take(MAX_HOPS).map(<[u8]>::trim_ascii) {
        // RFC 9110, section 5.6.1.2: an empty element of a list is ignored.
        if element.is_empty() {
            continue;
        }
        let Some(hop) = node(element).and_then(address) else {
            return known;
        };
        known = hop;
        if !trusted.contains(hop) {
            break;
        }
    }
    known
}

/// Elements of a line of `Forwarded`, the last one first. A comma between quotes is not a
/// separator.
struct ElementsFromTheRight<'a>(&'a [u8]);

impl<'a> Iterator for ElementsFromTheRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.0;
        if line.is_empty() {
            return None;
        }
        let start = unquoted_from_the_right(line, b',');
        let (rest, element) = line.split_at_checked(start.map_or(0, |comma| comma + 1))?;
        self.0 = rest.strip_suffix(b",").unwrap_or(rest);
        Some(element)
    }
}

/// Returns the position of the last separator that is not between quotes. Quotes are counted from
/// the right, because the element of the nearest proxy is well-formed. A client may have sent an
/// unclosed quote further to the left.
fn unquoted_from_the_right(text: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    for (position, byte) in text.iter().enumerate().rev() {
        if *byte == b'"' {
            let before = text.get(..position).unwrap_or_default();
            let escapes = before
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count();
            quoted ^= escapes % 2 == 0;
        } else if *byte == separator && !quoted {
            return Some(position);
        }
    }
    None
}

/// Returns the value of `for=` in an element of `Forwarded`, without quotes. Returns `None` if the
/// element has no `for=`, or several.
fn for_parameter(element: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut found) = (element, None);
    while !rest.is_empty() {
        let start = unquoted_from_the_right(rest, b';').map_or(0, |position| position + 1);
        let (before, pair) = rest.split_at_checked(start)?;
        rest = before.strip_suffix(b";").unwrap_or(before);
        let pair = pair.trim_ascii();
        if pair
            .get(..4)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"for="))
            && found.replace(pair.get(4..)?).is_some()
        {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\""),
        None => Some(value),
    }
}

/// Parses an address with or without a port, brackets and a zone.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let address = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        ipv6(address)?.into()
    } else if let Some((address, port)) =
        text.split_once(':').filter(|(_, rest)| !rest.contains(':'))
    {
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(address.parse().ok()?)
    } else {
        text.parse().ok().or_else(|| ipv6(text).map(IpAddr::V6))?
    };
    Some(address.to_canonical())
}

/// Parses an IPv6 address without its zone, which is a network interface of the proxy.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.split_once('%')
        .map_or(text, |(address, _)| address)
        .parse()
        .ok()
}

/// Returns true for a port number, or for an obfuscated port (RFC 7239, section 6.3).
fn is_port(text: &str) -> bool {
    let obfuscated = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    text.parse::<u16>().is_ok() || text.strip_prefix('_').is_some_and(obfuscated)
}
