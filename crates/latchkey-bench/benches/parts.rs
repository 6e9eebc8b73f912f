//! Parts of a request, measured one by one: `cargo bench -p latchkey-bench`.
//! docs/performance.md combines them.

#![expect(
    clippy::unwrap_used,
    reason = "criterion's macros; a benchmark fails by panicking"
)]

use std::hint::black_box;

use argon2::{Algorithm as Argon2Kind, Argon2, Block, Params, Version};
use chrono::{DateTime, TimeDelta};
use criterion::{Criterion, criterion_group, criterion_main};
use latchkey_crypto::{sign::TokenShape, signing_key::SigningKey};
use latchkey_domain::{
    claims::{AccessClaims, ExtraClaim, ExtraValue, RefreshClaims},
    ids::{SessionId, UserId},
    session::Session,
};
use latchkey_verifier::{Algorithm, ClaimNames, KeySet, Kind, Policy, Verifier};

const ISSUER: &str = "https://auth.example.com";
const NOW: i64 = 1_800_000_000;

fn key(algorithm: Algorithm, kind: Kind) -> SigningKey {
    SigningKey::generate(algorithm, kind, None).unwrap().0
}

fn shape() -> TokenShape {
    TokenShape {
        access_typ: "at+jwt".to_owned(),
        audience: None,
        issuer: ISSUER.to_owned(),
        names: ClaimNames::default(),
    }
}

fn session() -> Session {
    let at = DateTime::from_timestamp(NOW, 0).unwrap();
    Session {
        id: SessionId::parse("0d0ba1b7-5a1b-4b39-9f6e-33b6a5a0a1c2").unwrap(),
        user_id: UserId::new("7b3ec1f0-64c8-4a61-9a35-0f1a3a1b7d11"),
        session_epoch: 0,
        generation: 7,
        created_at: at,
        rotated_at: at,
        expires_at: at + TimeDelta::days(30),
        revoked: None,
        last_ip: None,
        user_agent: None,
    }
}

fn access_claims() -> AccessClaims {
    let session = session();
    AccessClaims {
        subject: session.user_id.to_string(),
        issued_at: NOW,
        expires_at: NOW + 300,
        jti: "0123456789abcdef0123456789abcdef".to_owned(),
        sid: session.id.to_string(),
        session_epoch: 0,
        extra: vec![
            (ExtraClaim::Username, ExtraValue::Text("alice".to_owned())),
            (
                ExtraClaim::Email,
                ExtraValue::Text("alice@example.com".to_owned()),
            ),
        ],
    }
}

fn access_tokens(c: &mut Criterion) {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let (key, shape, claims) = (key(algorithm, Kind::Access), shape(), access_claims());
        let name = algorithm.name();
        let message = [b'x'; 420];
        c.bench_function(&format!("{name}: signature alone"), |b| {
            b.iter(|| key.sign(black_box(&message)));
        });
        c.bench_function(&format!("{name}: sign an access token"), |b| {
            b.iter(|| shape.access(&key, black_box(&claims)));
        });
        let mut keys = KeySet::new();
        keys.insert(key.kid(), key.verifying_key().unwrap())
            .unwrap();
        let verifier = Verifier::new(keys, Policy::new(ISSUER));
        let token = shape.access(&key, &claims).unwrap();
        c.bench_function(&format!("{name}: verify an access token"), |b| {
            b.iter(|| verifier.verify_access(black_box(&token), NOW));
        });
    }
}

fn refresh_tokens(c: &mut Criterion) {
    let (key, shape, session) = (key(Algorithm::Hs256, Kind::Refresh), shape(), session());
    c.bench_function("HS256: create a refresh token from its row", |b| {
        b.iter(|| {
            shape.refresh(
                &key,
                &RefreshClaims::of(black_box(&session), TimeDelta::days(1)),
            )
        });
    });
    let mut keys = KeySet::new();
    keys.insert(key.kid(), key.verifying_key().unwrap())
        .unwrap();
    let verifier = Verifier::new(keys, Policy::new(ISSUER));
    let token = shape
        .refresh(&key, &RefreshClaims::of(&session, TimeDelta::days(1)))
        .unwrap();
    c.bench_function("HS256: check a refresh token", |b| {
        b.iter(|| verifier.check(black_box(&token), NOW));
    });
}

fn passwords(c: &mut Criterion) {
    let params = Params::new(19_456, 2, 1, Some(32)).unwrap();
    let mut memory = vec![Block::default(); params.block_count()];
    let hash = Argon2::new(Argon2Kind::Argon2id, Version::V0x13, params);
    let mut group = c.benchmark_group("argon2id");
    group.sample_size(20);
    group.bench_function("hash a password: 19 MiB, 2 passes", |b| {
        b.iter(|| {
            let mut output = [0; 32];
            hash.hash_password_into_with_memory(
                b"a password",
                b"0123456789abcdef",
                &mut output,
                &mut memory,
            )
        });
    });
}

criterion_group!(parts, access_tokens, refresh_tokens, passwords);
criterion_main!(parts);
