//! Verification of an access token in a service, with a key set, an issuer and the time.
//!
//! Prints the claims of a valid token. For any other, prints the reason and exits with 1.
//!
//!     cargo run -p latchkey-verifier --example verify -- jwks.json https://auth.example.com TOKEN

use std::{collections::BTreeMap, env, error::Error, fs, process::ExitCode, time::SystemTime};

use latchkey_verifier::{KeySet, Policy, Verifier};

#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "an example prints its result"
)]
#[expect(clippy::disallowed_methods, reason = "a service reads the clock")]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let [jwks, issuer, token] = env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "JWKS ISSUER TOKEN")?;
    // Create the verifier once for each key set. Fetch the key set again after its `max-age`.
    let verifier = Verifier::new(
        KeySet::from_jwks(&fs::read_to_string(jwks)?)?,
        Policy::new(issuer),
    );

    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs()
        .try_into()?;
    match verifier.verify_access(&token, now) {
        Ok(claims) => println!(
            "{}",
            serde_json::to_string(&claims.members().collect::<BTreeMap<_, _>>())?
        ),
        Err(refusal) => {
            eprintln!("refused: {refusal}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
