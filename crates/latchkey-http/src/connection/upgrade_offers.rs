//! Removes offers of another protocol (RFC 9110, section 7.8) from requests, so that they are
//! ignored.
//!
//! The web server answers an offer with `Connection: upgrade`, closes the connection afterwards,
//! and reads all bytes after an offer of WebSocket as the body. Neither can be disabled. Bytes are
//! only replaced in the headers `Connection` and `Upgrade`, and the length stays the same.
//! Bytes that are not HTTP are passed on: the web server refuses them and closes the connection.

use std::mem;

/// Replaces the first letter of an offer.
const BLANK: u8 = b'-';
/// Maximum length of a header name that is compared.
const MAX_NAME: usize = "transfer-encoding".len();

/// Parser of the requests of a connection. Its input may be split anywhere.
#[derive(Debug, Default)]
pub(super) struct UpgradeOffers {
    place: Place,
    /// Start of the header's name, in lowercase.
    name: [u8; MAX_NAME],
    /// Length of the name so far.
    length: usize,
    /// Framing of the body, according to the headers so far.
    framing: Framing,
}

#[derive(Debug, Default)]
struct Framing {
    length: u64,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Between two requests.
    #[default]
    Start,
    RequestLine,
    Name,
    /// In the value of a header; `true` at the start of a member of its list.
    Value(Header, bool),
    /// Remaining bytes of a body.
    Body(u64),
    ChunkSize(u64),
    ChunkExtension(u64),
    Chunk(u64),
    ChunkEnd,
    /// After the last chunk; `true` at the start of a line.
    Trailer(bool),
}

#[derive(Clone, Copy, Debug)]
enum Header {
    Connection,
    ContentLength,
    TransferEncoding,
    Upgrade,
    Other,
}

impl UpgradeOffers {
    /// Replaces the offers in the next bytes of the connection.
    pub(super) fn remove(&mut self, mut bytes: &mut [u8]) {
        while let Some(first) = bytes.first_mut() {
            let passed = match self.place {
                Place::Start if matches!(first, b'\r' | b'\n') => 1,
                Place::Start => {
                    self.place = Place::RequestLine;
                    0
                }
                Place::RequestLine | Place::Value(Header::Other, _) => {
                    self.line(bytes, Place::Name)
                }
                Place::Name => self.name(bytes),
                Place::Value(header, starts) => self.value(header, starts, first),
                Place::Body(left) => self.skip(left, bytes.len(), Place::Body, Place::Start),
                Place::ChunkSize(size) => self.chunk_size(size, *first),
                Place::ChunkExtension(size) => self.line(bytes, after_size(size)),
                Place::Chunk(left) => self.skip(left, bytes.len(), Place::Chunk, Place::ChunkEnd),
                Place::ChunkEnd => self.line(bytes, Place::ChunkSize(0)),
                Place::Trailer(true) if *first == b'\n' => {
                    self.place = Place::Start;
                    1
                }
                Place::Trailer(true) if *first == b'\r' => 1,
                Place::Trailer(_) => {
                    self.place = Place::Trailer(false);
                    self.line(bytes, Place::Trailer(true))
                }
            };
            bytes = mem::take(&mut bytes).get_mut(passed..).unwrap_or_default();
        }
    }

    /// Skips the rest of a line. Returns the number of bytes.
    fn line(&mut self, bytes: &[u8], next: Place) -> usize {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return bytes.len();
        };
        self.place = next;
        end + 1
    }

    fn skip(&mut self, left: u64, here: usize, same: fn(u64) -> Place, next: Place) -> usize {
        let passed = usize::try_from(left).map_or(here, |left| left.min(here));
        let left = left - passed as u64;
        self.place = if left == 0 { next } else { same(left) };
        passed
    }

    fn name(&mut self, bytes: &[u8]) -> usize {
        let byte = bytes.first().copied().unwrap_or_default();
        if self.length == 0
            && !matches!(
                byte,
                b'C' | b'T' | b'U' | b'c' | b't' | b'u' | b'\r' | b'\n'
            )
        {
            return self.other_name(bytes);
        }
        match byte {
            b':' => {
                let header = match self.name.get(..mem::take(&mut self.length)) {
                    Some(b"connection") => Header::Connection,
                    Some(b"content-length") => Header::ContentLength,
                    Some(b"transfer-encoding") => Header::TransferEncoding,
                    Some(b"upgrade") => Header::Upgrade,
                    _ => Header::Other,
                };
                self.place = Place::Value(header, true);
            }
            b'\n' if self.length == 0 => {
                let framing = mem::take(&mut self.framing);
                self.place = match framing.length {
                    _ if framing.chunked => Place::ChunkSize(0),
                    0 => Place::Start,
                    length => Place::Body(length),
                };
            }
            b'\n' => self.length = 0,
            b'\r' => {}
            byte => {
                if let Some(place) = self.name.get_mut(self.length) {
                    *place = byte.to_ascii_lowercase();
                }
                self.length = self.length.saturating_add(1);
            }
        }
        1
    }

    /// Skips a name that begins with none of the letters C, T and U, as most names do.
    fn other_name(&mut self, bytes: &[u8]) -> usize {
        let Some(end) = memchr::memchr2(b':', b'\n', bytes) else {
            self.length = MAX_NAME + 1;
            return bytes.len();
        };
        if bytes.get(end) == Some(&b':') {
            self.place = Place::Value(Header::Other, true);
        }
        end + 1
    }

    fn value(&mut self, header: Header, starts: bool, byte: &mut u8) -> usize {
        self.place = match *byte {
            b'\n' => Place::Name,
            b' ' | b'\t' | b'\r' => self.place,
            b',' => Place::Value(header, true),
            _ => Place::Value(header, false),
        };
        match header {
            // No other known connection option begins with U.
            Header::Connection if starts && byte.eq_ignore_ascii_case(&b'u') => *byte = BLANK,
            Header::Upgrade if starts && byte.is_ascii_graphic() && *byte != b',' => *byte = BLANK,
            Header::ContentLength if byte.is_ascii_digit() => {
                self.framing.length = self
                    .framing
                    .length
                    .saturating_mul(10)
                    .saturating_add((*byte - b'0').into());
            }
            // The web server supports no other transfer coding that begins with C.
            Header::TransferEncoding if starts && byte.eq_ignore_ascii_case(&b'c') => {
                self.framing.chunked = true;
            }
            _ => {}
        }
        1
    }

    fn chunk_size(&mut self, size: u64, byte: u8) -> usize {
        self.place = match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) => {
                Place::ChunkSize(size.saturating_mul(16).saturating_add(digit.into()))
            }
            (None, b'\n') => after_size(size),
            (None, b'\r') => self.place,
            (None, _) => Place::ChunkExtension(size),
        };
        1
    }
}

const fn after_size(size: u64) -> Place {
    if size == 0 {
        Place::Trailer(true)
    } else {
        Place::Chunk(size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the bytes after they were processed in pieces of this size.
    fn passed(sent: &str, piece: usize) -> String {
        let (mut offers, mut bytes) = (UpgradeOffers::default(), sent.as_bytes().to_vec());
        bytes
            .chunks_mut(piece)
            .for_each(|piece| offers.remove(piece));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn offers_are_removed_from_heads_and_not_from_bodies() {
        let line = "Connection: Upgrade, HTTP2-Settings\r\nUPGRADE: h2c, websocket\r\n";
        let removed = "Connection: -pgrade, HTTP2-Settings\r\nUPGRADE: -2c, -ebsocket\r\n";
        for (rest, length) in [
            ("\r\n", ""),
            ("\r\n{line}\r\n", "Content-Length: {length}\r\n"),
            (
                "\r\n5\r\n{line5}\r\n3;x={line}0\r\n\r\n",
                "Transfer-Encoding: Chunked\r\n",
            ),
            (
                "\r\n4\r\nUpgr\r\n0\r\nUpgrade: x\r\n\r\n",
                "transfer-encoding:chunked\r\n",
            ),
        ] {
            let body = rest
                .replace("{line5}", "Upgr:")
                .replace("3;x={line}", "3;Upgrade: x\r\nabc\r\n");
            let body = body.replace("{line}", line);
            let length = length.replace("{length}", &(body.len() - 2).to_string());
            let request = |line: &str| {
                format!("POST / HTTP/1.1\r\nHost: upgrade\r\n{line}{length}X: upgrade\r\n{body}")
            };
            let (sent, expected) = (request(line).repeat(3), request(removed).repeat(3));
            for piece in [1, 2, 3, 7, 64, sent.len()] {
                assert_eq!(passed(&sent, piece), expected, "{piece}");
            }
        }
    }

    #[test]
    fn other_headers_are_unchanged() {
        for line in [
            "Connection: keep-alive, close",
            "Upgrade-Insecure-Requests: 1",
            "X-Upgrade: h2c",
            "Upgrade",
        ] {
            let sent = format!("\r\nGET /upgrade HTTP/1.1\r\n{line}\r\n\n");
            assert_eq!(passed(&sent, 5), sent);
        }
    }

    proptest! {
        #[test]
        fn result_does_not_depend_on_how_bytes_are_split(sent in "(Upgrade|Connection|Content-Length|Transfer-Encoding|chunked|[ :,;0-9a-f\r\n]){0,60}", piece in 1_usize..40) {
            prop_assert_eq!(passed(&sent, piece), passed(&sent, sent.len().max(1)));
            prop_assert_eq!(passed(&sent, piece).len(), sent.len());
        }
    }
}
