//! Three offline verifiers: PyJWT, jose, and Latchkey's own crate. Each caches the key set for its
//! full `max-age`. None refetches it for an unknown key, because then any forged token would cause
//! a request.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use latchkey_domain::ports::{Clock as _, clock::SystemClock};
use latchkey_verifier::{KeySet, Policy, Verifier};
use reqwest::Client;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};

use latchkey_testkit::verifier::Verifier as Foreign;

/// Outcome of one verifier.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    pub name: &'static str,
    pub checked: u64,
    pub fetched: u64,
    pub refused: u64,
    /// First refusals in words.
    pub reports: Vec<String>,
}

/// Channels to all verifiers.
#[derive(Clone)]
pub struct Offline(Vec<Sender<String>>);

impl Offline {
    /// Starts the verifiers. They end after the last clone of the channels is dropped.
    pub fn start(issuer: &str, urls: &[String]) -> (Self, Vec<JoinHandle<Verified>>) {
        let (mut channels, mut ends) = (Vec::new(), Vec::new());
        for (name, program) in [
            ("PyJWT", Foreign::python("caching.py")),
            ("jose", Foreign::node("caching.mjs")),
        ] {
            let (channel, tokens) = token_channel();
            let mut command = program.command();
            command
                .arg(issuer)
                .args(urls)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            ends.push(tokio::task::spawn_blocking(move || {
                let mut child = command.spawn().unwrap();
                let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
                let verified = foreign(name, tokens, input, BufReader::new(output).lines());
                assert!(child.wait().unwrap().success(), "{name}");
                verified
            }));
            channels.push(channel);
        }
        let (channel, tokens) = token_channel();
        ends.push(tokio::spawn(ours(issuer.to_owned(), urls.to_vec(), tokens)));
        channels.push(channel);
        (Self(channels), ends)
    }

    /// Sends a token to all verifiers, and waits for slow ones, so that a token is checked soon
    /// after its receipt.
    pub async fn check(&self, token: &str) {
        for channel in &self.0 {
            channel
                .send(token.to_owned())
                .await
                .expect("a verifier runs");
        }
    }
}

fn token_channel() -> (Sender<String>, Receiver<String>) {
    mpsc::channel(4)
}

impl Verified {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    fn count(&mut self, refusal: Option<&str>, token: &str) {
        self.checked += 1;
        let Some(refusal) = refusal else { return };
        self.refused += 1;
        if self.reports.len() < 5 {
            let header = token.split('.').next().unwrap_or_default();
            self.reports.push(format!(
                "{} refused a token with the header {header}: {refusal}",
                self.name
            ));
        }
    }
}

fn foreign(
    name: &'static str,
    mut tokens: Receiver<String>,
    mut input: ChildStdin,
    mut output: Lines<BufReader<ChildStdout>>,
) -> Verified {
    let mut verified = Verified::of(name);
    while let Some(token) = tokens.blocking_recv() {
        writeln!(input, "{token}").unwrap();
        let line = output.next().expect("a response").unwrap();
        verified.count((line != "ok").then_some(line.as_str()), &token);
    }
    drop(input);
    verified.fetched = output
        .next()
        .expect("a number of fetches at the end")
        .unwrap()
        .parse()
        .unwrap();
    verified
}

async fn ours(issuer: String, urls: Vec<String>, mut tokens: Receiver<String>) -> Verified {
    let (mut verified, client) = (Verified::of("latchkey-verifier"), Client::new());
    let mut kept: Option<(Verifier, Instant)> = None;
    while let Some(token) = tokens.recv().await {
        let verifier = match kept.take() {
            Some((verifier, until)) if Instant::now() < until => kept.insert((verifier, until)),
            _ => {
                let url = &urls[usize::try_from(verified.fetched).unwrap() % urls.len()];
                let response = client.get(url).send().await.unwrap();
                let header = response.headers()["cache-control"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                let age = header.split_once("max-age=").unwrap().1.parse().unwrap();
                let keys = KeySet::from_jwks(&response.text().await.unwrap()).unwrap();
                verified.fetched += 1;
                let verifier = Verifier::new(keys, Policy::new(issuer.clone()));
                kept.insert((verifier, Instant::now() + Duration::from_secs(age)))
            }
        };
        let now = SystemClock.now().timestamp();
        let refusal = verifier
            .0
            .verify_access(&token, now)
            .err()
            .map(|refusal| format!("{refusal:?}"));
        verified.count(refusal.as_deref(), &token);
    }
    verified
}
