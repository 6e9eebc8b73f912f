//! Any text as a token, and any segments with the right signature. Of all spellings of a token one is accepted.
#![no_main]

use std::sync::LazyLock;

use latchkey_fuzz::{
    CLAIMS, HEADER, NOW, assert_claims, assert_header, encode, object, sealed, signed, verifier,
};
use latchkey_verifier::Verifier;
use libfuzzer_sys::fuzz_target;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier(0));
/// The only good token that the corpus may hold, so the only text that may be accepted: any other is a forgery.
static GOOD: LazyLock<String> = LazyLock::new(|| signed(HEADER.as_bytes(), CLAIMS.as_bytes()));

fn accepted(token: &str) -> bool {
    VERIFIER.check(token, NOW).is_ok()
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    assert!(!accepted(&text) || *text == **GOOD, "a forgery: {text}");

    // The text for two segments, with the right signature: what is accepted decodes and encodes to itself.
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

    // The bytes for a header and a payload, with the right signature.
    let (header, payload) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (HEADER.as_bytes(), data),
    };
    let token = signed(header, payload);
    if accepted(&token) {
        assert_header(&object(header));
        assert_claims(&object(payload), NOW, 0);
        for twin in twins(&token) {
            assert!(!accepted(&twin), "two spellings of one token: {twin}");
        }
    }
});

fn decode(segment: &str) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD
        .decode(segment)
        .expect("a segment that was accepted is base64url")
}

/// Other spellings of a token: with more around it, and with its first two segments spelt otherwise and signed again.
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
        // The next letters of the alphabet differ in the last bits alone, which are unused unless the length is full.
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
