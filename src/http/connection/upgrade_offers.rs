//! Offers of another protocol (RFC 9110, section 7.8), which are ignored: this module makes them unreadable before the web
//! server sees them.
//!
//! The web server answers an offer with `Connection: upgrade` and closes the connection afterwards, and takes everything
//! after an offer of WebSocket for the body. Neither can be switched off. Bytes are only replaced in the two headers of a
//! head, and their number stays the same. What is not HTTP is passed on: the web server refuses it and closes.

use std::mem;

/// Stands for the first letter of an offer.
const BLANK: u8 = b'-';
/// The longest name of a header that is looked at.
const LONGEST: usize = "transfer-encoding".len();

/// The place in the requests of a connection.
#[derive(Debug, Default)]
pub(super) struct UpgradeOffers {
    place: Place,
    /// The beginning of the header's name, in lowercase.
    name: [u8; LONGEST],
    /// The length of the name so far.
    length: usize,
    /// The framing of the body, as the head has it so far.
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
    /// This many bytes before the end of a body.
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
    /// Removes the offers from the next bytes of the connection.
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

    /// Passes over the rest of a line.
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

    /// Passes over a name that begins with another letter than those that matter: most names do.
    fn other_name(&mut self, bytes: &[u8]) -> usize {
        let Some(end) = memchr::memchr2(b':', b'\n', bytes) else {
            self.length = LONGEST + 1;
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
            // No other option that is known begins with this letter.
            Header::Connection if starts && byte.eq_ignore_ascii_case(&b'u') => *byte = BLANK,
            Header::Upgrade if starts && byte.is_ascii_graphic() && *byte != b',' => *byte = BLANK,
            Header::ContentLength if byte.is_ascii_digit() => {
                self.framing.length = self
                    .framing
                    .length
                    .saturating_mul(10)
                    .saturating_add((*byte - b'0').into());
            }
            // The web server reads no other coding that begins with this letter.
            Header::TransferEncoding if starts && byte.eq_ignore_ascii_case(&b'c') => {
                self.framing.chunked = true
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

    /// Passes a connection on in pieces of this size.
    fn passed(sent: &str, piece: usize) -> String {
        let (mut offers, mut bytes) = (UpgradeOffers::default(), sent.as_bytes().to_vec());
        bytes
            .chunks_mut(piece)
            .for_each(|piece| offers.remove(piece));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn offers_in_heads_are_removed_and_bodies_stay() {
        let line = "Connection: Upgrade, HTTP2-Settings\r\nUPGRADE: h2c, websocket\r\n";
        let gone = "Connection: -pgrade, HTTP2-Settings\r\nUPGRADE: -2c, -ebsocket\r\n";
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
            let (sent, expected) = (request(line).repeat(3), request(gone).repeat(3));
            for piece in [1, 2, 3, 7, 64, sent.len()] {
                assert_eq!(passed(&sent, piece), expected, "{piece}");
            }
        }
    }

    #[test]
    fn other_headers_stay() {
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
        fn any_bytes_in_any_pieces_give_the_same_bytes(sent in "(Upgrade|Connection|Content-Length|Transfer-Encoding|chunked|[ :,;0-9a-f\r\n]){0,60}", piece in 1_usize..40) {
            prop_assert_eq!(passed(&sent, piece), passed(&sent, sent.len().max(1)));
            prop_assert_eq!(passed(&sent, piece).len(), sent.len());
        }
    }
}
