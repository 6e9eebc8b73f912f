//! The ring: one for all who start at once, and who signs when.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Barrier, thread};

use latchkey_verifier::{ClaimNames, Family, Policy, Verifier};
use tempfile::TempDir;

use super::*;
use crate::{
    crypto::sign::TokenShape,
    domain::claims::{AccessClaims, RefreshClaims},
};

const LEAD: TimeDelta = TimeDelta::minutes(15);

fn start() -> Moment {
    Moment::from_timestamp(1_800_000_000, 0).unwrap()
}

fn after(minutes: i64) -> Moment {
    start() + TimeDelta::minutes(minutes)
}

fn open(folder: &TempDir, algorithm: Algorithm, now: Moment) -> Keyring {
    Keyring::open(folder.path(), algorithm, LEAD, now).unwrap().0
}

fn signer(ring: &Keyring, kind: Kind, at: Moment) -> String {
    ring.signer(kind, at).unwrap().kid().to_owned()
}

fn shape() -> TokenShape {
    TokenShape {
        access_typ: "at+jwt".to_owned(),
        audience: None,
        issuer: "https://auth.test".to_owned(),
        names: ClaimNames::default(),
    }
}

#[test]
fn a_ring_of_every_algorithm_signs_what_it_verifies_and_publishes_no_secret() {
    for algorithm in Algorithm::ALL {
        let folder = tempfile::tempdir().unwrap();
        open(&folder, algorithm, start());
        // Read back from the files.
        let ring = open(&folder, algorithm, after(1));
        let claims = AccessClaims {
            subject: "ada".to_owned(),
            issued_at: start().timestamp(),
            expires_at: start().timestamp() + 300,
            jti: "0".repeat(32),
            sid: "s".to_owned(),
            version: 0,
            extra: Vec::new(),
        };
        let token = shape().access(ring.signer(Kind::Access, start()).unwrap(), &claims).unwrap();
        let verifier = Verifier::new(ring.key_set().unwrap(), Policy::new("https://auth.test"));
        assert!(verifier.verify_access(&token, start().timestamp()).is_ok(), "{algorithm}");

        let published: serde_json::Value = serde_json::from_str(&ring.published().body).unwrap();
        let keys = published["keys"].as_array().unwrap();
        assert_eq!(keys.len(), usize::from(algorithm.family() != Family::Hmac), "{algorithm}");
        for key in keys {
            let mut names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            let expected: &[&str] = match algorithm.family() {
                Family::Ec => &["alg", "crv", "kid", "kty", "use", "x", "y"],
                Family::Okp => &["alg", "crv", "kid", "kty", "use", "x"],
                Family::Hmac | Family::Rsa => &["alg", "e", "kid", "kty", "n", "use"],
            };
            assert_eq!(
                (names.as_slice(), &key["use"], &key["alg"]),
                (expected, &json!("sig"), &json!(algorithm.name()))
            );
        }
    }
}

#[test]
fn eight_first_starts_at_once_make_one_ring() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let barrier = Barrier::new(8);
    let rings: Vec<(Vec<String>, usize)> = thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let (ring, made) = Keyring::open(&keys, Algorithm::Es256, LEAD, start()).unwrap();
                    (ring.states(start()).map(|(stored, _)| stored.key.kid().to_owned()).collect(), made.len())
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(rings.iter().map(|(_, made)| made).sum::<usize>(), 2, "an access key and a refresh secret, made once");
    assert!(rings.iter().all(|(kids, _)| kids.len() == 2 && *kids == rings[0].0), "{rings:?}");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_first_key_signs_at_once_and_a_later_one_after_the_lead() {
    let folder = tempfile::tempdir().unwrap();
    let first = signer(&open(&folder, Algorithm::Es256, start()), Kind::Access, start());
    let second = key_file::create(folder.path(), Kind::Access, Algorithm::Es256, after(60)).unwrap();
    let ring = open(&folder, Algorithm::Es256, after(60));
    let seconds = TimeDelta::seconds(1);
    for at in [after(-100_000), start(), after(60), after(75) - seconds] {
        assert_eq!(signer(&ring, Kind::Access, at), first, "{at}");
    }
    for at in [after(75), after(100_000)] {
        assert_eq!(signer(&ring, Kind::Access, at), second.key.kid(), "{at}");
    }
    let states = |at| -> Vec<KeyState> {
        ring.states(at).filter(|(stored, _)| stored.key.kind() == Kind::Access).map(|(_, state)| state).collect()
    };
    assert_eq!(states(after(60)), [KeyState::Signing, KeyState::Published]);
    assert_eq!(states(after(75)), [KeyState::Verifying, KeyState::Signing]);
    // Both are published all the time, the newest first.
    let published: serde_json::Value = serde_json::from_str(&ring.published().body).unwrap();
    assert_eq!((&published["keys"][0]["kid"], &published["keys"][1]["kid"]), (&json!(second.key.kid()), &json!(first)));
}

#[test]
fn of_two_keys_in_waiting_the_newer_takes_over_in_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, Algorithm::EdDsa, start());
    let [second, third] = [after(60), after(65)]
        .map(|at| key_file::create(folder.path(), Kind::Access, Algorithm::EdDsa, at).unwrap().key.kid().to_owned());
    let ring = open(&folder, Algorithm::EdDsa, after(66));
    assert_eq!([75, 79, 80].map(|at| signer(&ring, Kind::Access, after(at))), [second.clone(), second, third]);
}

#[test]
fn another_algorithm_comes_as_a_later_key() {
    let folder = tempfile::tempdir().unwrap();
    let first = signer(&open(&folder, Algorithm::Es256, start()), Kind::Access, start());
    let (ring, made) = Keyring::open(folder.path(), Algorithm::EdDsa, LEAD, after(60)).unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(signer(&ring, Kind::Access, after(60)), first);
    assert_eq!(signer(&ring, Kind::Access, after(75)), made[0]);
    // And is not made again at each start.
    assert!(Keyring::open(folder.path(), Algorithm::EdDsa, LEAD, after(61)).unwrap().1.is_empty());
}

#[test]
fn a_refresh_token_stays_byte_for_byte_the_same_under_a_new_secret() {
    let folder = tempfile::tempdir().unwrap();
    let ring = open(&folder, Algorithm::Es256, start());
    let rotated_at = after(70);
    let claims = RefreshClaims {
        subject: "ada".to_owned(),
        issued_at: rotated_at.timestamp(),
        expires_at: rotated_at.timestamp() + 86_400,
        jti: "0".repeat(32),
        sid: "s".to_owned(),
        generation: 3,
        version: 0,
    };
    let token = |ring: &Keyring| shape().refresh(ring.signer(Kind::Refresh, rotated_at).unwrap(), &claims).unwrap();
    let before = token(&ring);
    let secret = key_file::create(folder.path(), Kind::Refresh, Algorithm::Hs256, after(60)).unwrap();
    let later = open(&folder, Algorithm::Es256, after(600));
    assert_eq!(token(&later), before);
    assert_eq!(signer(&later, Kind::Refresh, after(75)), secret.key.kid(), "what is rotated later has the new secret");
    let verifier = Verifier::new(later.key_set().unwrap(), Policy::new("https://auth.test"));
    assert_eq!(verifier.check(&before, after(600).timestamp()).unwrap().kind(), Kind::Refresh);
}

#[test]
fn a_lead_beyond_the_calendar_is_never_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let first = signer(&open(&folder, Algorithm::EdDsa, start()), Kind::Access, start());
    key_file::create(folder.path(), Kind::Access, Algorithm::EdDsa, after(60)).unwrap();
    let (ring, _) = Keyring::open(folder.path(), Algorithm::EdDsa, TimeDelta::MAX, after(60)).unwrap();
    assert_eq!(signer(&ring, Kind::Access, after(1_000_000)), first);
}

#[test]
fn one_bad_file_stops_the_whole_ring() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, Algorithm::EdDsa, start());
    fs::write(folder.path().join("old.pem"), "").unwrap();
    assert!(Keyring::open(folder.path(), Algorithm::EdDsa, LEAD, after(1)).is_err());
}

#[test]
fn the_entity_tag_changes_with_the_keys_and_with_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let etag = |at| open(&folder, Algorithm::EdDsa, at).published().etag;
    let first = etag(start());
    assert_eq!(etag(after(60)), first);
    key_file::create(folder.path(), Kind::Refresh, Algorithm::Hs256, after(60)).unwrap();
    assert_eq!(etag(after(61)), first, "a secret is nobody's business");
    key_file::create(folder.path(), Kind::Access, Algorithm::EdDsa, after(60)).unwrap();
    assert_ne!(etag(after(61)), first);
    assert!(first.starts_with('"') && first.ends_with('"') && first.len() > 40);
}
