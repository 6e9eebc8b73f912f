//! Any text as a token, and any segments with the correct signature. Only one encoding of a token
//! is accepted.
#![no_main]

use std::sync::LazyLock;

use latchkey_fuzz::{
    CLAIMS, HEADER, NOW, assert_claims, assert_header, encode, object, sealed, signed, verifier,
};
use latchkey_verifier::Verifier;
use libfuzzer_sys::fuzz_target;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier(0));
/// The only valid token that the corpus may contain. Any other accepted text is a forgery.
static GOOD: LazyLock<String> = LazyLock::new(|| signed(HEADER.as_bytes(), CLAIMS.as_bytes()));

fn accepted(token: &str) -> bool {
    VERIFIER.check(token, NOW).is_ok()
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    assert!(!accepted(&text) || *text == **GOOD, "a forgery: {text}");

    // The text as two segments, with the correct signature: accepted segments are canonical
    // base64url.
    let token = sealed(&text);
    if accepted(&token) {
        let [header, payload, _] = token
            .split('.')
            .collect::<Vec<_>>()
            .try_into()
            .expect("three segments");
        let bytes = [header, payload].map(decode);
        assert_eq!([encode(&bytes[0]), encode(&bytes[1])], [header, payload]);
    }

    // The bytes as a header and a payload, with the correct signature.
    let (header, payload) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (HEADER.as_bytes(), data),
    };
    let token = signed(header, payload);
    if accepted(&token) {
        assert_header(&object(header));
        assert_claims(&object(payload), NOW, 0);
        for twin in twins(&token) {
            assert!(!accepted(&twin), "two encodings of one token: {twin}");
        }
    }
});

fn decode(segment: &str) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD
        .decode(segment)
        .expect("an accepted segment is base64url")
}

/// Returns other encodings of a token: with added characters, and with other, newly signed,
/// encodings of the first two segments.
fn twins(token: &str) -> Vec<String> {
    let (input, signature) = token.rsplit_once('.').expect("three segments");
    let (header, payload) = input.split_once('.').expect("three segments");
    let mut twins = Vec::new();
    for more in ["=", "==", "\n", " ", ".", "A", "\0", "%3D"] {
        twins.push(format!("{token}{more}"));
        twins.push(format!("{more}{token}"));
        twins.push(format!("{input}{more}.{signature}"));
        twins.push(format!("{header}{more}.{payload}.{signature}"));
        if more != "A" {
            twins.push(sealed(&format!("{header}{more}.{payload}")));
            twins.push(sealed(&format!("{header}.{payload}{more}")));
        }
    }
    for (before, segment, after) in [("", header, payload), (header, payload, "")] {
        // The next letter of the alphabet differs only in the last bits, which are unused unless
        // the length is a multiple of four.
        if segment.len() % 4 != 0 {
            let (start, last) = segment.split_at(segment.len() - 1);
            let other = char::from(last.as_bytes()[0] + 1);
            let spelt = format!("{start}{other}");
            twins.push(sealed(&match (before, after) {
                ("", payload) => format!("{spelt}.{payload}"),
                (header, _) => format!("{header}.{spelt}"),
            }));
        }
    }
    twins
}
