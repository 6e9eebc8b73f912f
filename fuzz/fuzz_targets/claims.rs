//! Any correctly signed payload, at any time, with any leeway.
#![no_main]

use latchkey_fuzz::{HEADER, assert_claims, object, signed, verifier};
use latchkey_verifier::{Kind, VerifyError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((moment, payload)) = data.split_at_checked(6) else {
        return;
    };
    // Within some 70 years of the times in the seeds, or any time.
    let offset = i64::from(i32::from_le_bytes([
        moment[0], moment[1], moment[2], moment[3],
    ]));
    let now = if moment[4] == 0xFF {
        offset.saturating_mul(i64::from(u32::MAX))
    } else {
        1_800_000_000 + offset
    };
    let leeway = u32::from(moment[5]);
    let verifier = verifier(leeway);
    let token = signed(HEADER.as_bytes(), payload);
    match verifier.check(&token, now) {
        Ok(checked) => {
            let claims = object(payload);
            assert_claims(&claims, now, leeway);
            let end = checked.claims().expires_at();
            assert_eq!(end.is_some(), claims.get("exp").is_some());
            // The token expires at its `exp` plus the leeway, and stays expired.
            for later in [0, 1, 1_000_000] {
                let error = end.map(|end| {
                    verifier
                        .check(&token, end + i64::from(leeway) + later)
                        .err()
                });
                assert!(error.is_none_or(|error| error == Some(VerifyError::Expired)));
            }
            if checked.require(Kind::Access, verifier.policy()).is_ok() {
                assert!(
                    end.is_some() && claims["jti"].is_string() && claims["token_type"] == "access"
                );
            }
            assert!(checked.require(Kind::Refresh, verifier.policy()).is_err());
        }
        Err(
            VerifyError::Audience
            | VerifyError::Claim(_)
            | VerifyError::Expired
            | VerifyError::Issuer
            | VerifyError::Malformed
            | VerifyError::NotYetValid
            | VerifyError::TooLong,
        ) => {}
        Err(other) => panic!("the claims cannot cause this error: {other}"),
    }
});
