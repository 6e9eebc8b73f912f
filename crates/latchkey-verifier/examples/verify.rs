//! A microservice in Rust: knows a key set, an issuer and the time, and nothing else.
//!
//! Prints the claims of a good access token; says why it refuses any other and exits with 1.
//!
//!     cargo run -p latchkey-verifier --example verify -- jwks.json https://auth.example.com TOKEN

use std::{collections::BTreeMap, env, error::Error, fs, process::ExitCode, time::SystemTime};

use latchkey_verifier::{KeySet, Policy, Verifier};

#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "an example talks"
)]
#[expect(
    clippy::disallowed_methods,
    reason = "a microservice has a clock of its own"
)]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let [jwks, issuer, token] = env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "JWKS ISSUER TOKEN")?;
    // Made once for each key set; fetch it again when its `max-age` is over.
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
