//! Any bytes as the header of a token that is otherwise valid.
#![no_main]

use std::sync::LazyLock;

use latchkey_fuzz::{CLAIMS, NOW, assert_header, object, signed, verifier};
use latchkey_verifier::{Verifier, VerifyError};
use libfuzzer_sys::fuzz_target;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier(0));

fuzz_target!(|data: &[u8]| {
    match VERIFIER.check(&signed(data, CLAIMS.as_bytes()), NOW) {
        Ok(checked) => {
            let header = object(data);
            assert_header(&header);
            assert_eq!(checked.kid(), header["kid"]);
        }
        Err(
            VerifyError::Algorithm
            | VerifyError::Header
            | VerifyError::Malformed
            | VerifyError::TooLong
            | VerifyError::Typ
            | VerifyError::UnknownKey,
        ) => {}
        Err(other) => panic!("the header cannot cause this error: {other}"),
    }
});
