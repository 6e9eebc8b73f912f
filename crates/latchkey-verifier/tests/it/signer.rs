//! Signers for each algorithm, which sign arbitrary bytes.

use std::sync::LazyLock;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_verifier::{Algorithm, Family, KeySet, Kind, Policy, Verifier, VerifyingKey};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://auth.example.com";
pub const KID: &str = "a-key";
/// Time at which the tokens are verified.
pub const NOW: i64 = 1_800_000_000;
const SECRET: [u8; 64] = [7; 64];

/// Shared by all signers, because generating an RSA key is slow.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

enum Key {
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
    Rsa(&'static RsaKeyPair, &'static dyn RsaEncoding),
}

pub struct Signer {
    pub algorithm: Algorithm,
    key: Key,
}

impl Signer {
    pub fn new(algorithm: Algorithm) -> Self {
        let secret = |hash| Key::Hmac(Box::new(hmac::Key::new(hash, &SECRET)));
        let key = match algorithm {
            Algorithm::Es256 => Key::Ec(
                EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
                "P-256",
            ),
            Algorithm::Es384 => Key::Ec(
                EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
                "P-384",
            ),
            Algorithm::EdDsa => Key::Ed(Ed25519KeyPair::generate().unwrap()),
            Algorithm::Hs256 => secret(hmac::HMAC_SHA256),
            Algorithm::Hs384 => secret(hmac::HMAC_SHA384),
            Algorithm::Hs512 => secret(hmac::HMAC_SHA512),
            Algorithm::Ps256 => Key::Rsa(&RSA, &signature::RSA_PSS_SHA256),
            Algorithm::Ps384 => Key::Rsa(&RSA, &signature::RSA_PSS_SHA384),
            Algorithm::Ps512 => Key::Rsa(&RSA, &signature::RSA_PSS_SHA512),
            Algorithm::Rs256 => Key::Rsa(&RSA, &signature::RSA_PKCS1_SHA256),
            Algorithm::Rs384 => Key::Rsa(&RSA, &signature::RSA_PKCS1_SHA384),
            Algorithm::Rs512 => Key::Rsa(&RSA, &signature::RSA_PKCS1_SHA512),
        };
        Self { algorithm, key }
    }

    /// Returns the public key as in a key set.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Ec(pair, crv) => {
                let (x, y) =
                    pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) })
            }
            Key::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
            Key::Hmac(_) => json!({ "kty": "oct", "k": encode(&SECRET) }),
            Key::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
            }
        };
        for (name, value) in [("kid", KID), ("alg", self.algorithm.name()), ("use", "sig")] {
            jwk[name] = value.into();
        }
        jwk
    }

    /// Returns a set with only this key.
    pub fn keys(&self) -> KeySet {
        if self.algorithm.family() != Family::Hmac {
            return KeySet::from_jwks(&set(&[self.jwk()])).unwrap();
        }
        let mut keys = KeySet::new();
        keys.insert(
            KID,
            VerifyingKey::from_secret(self.algorithm, Kind::Access, &SECRET).unwrap(),
        )
        .unwrap();
        keys
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.keys(), Policy::new(ISSUER))
    }

    /// Returns a verifier that has cached the usual header.
    pub fn warm_verifier(&self) -> Verifier {
        let verifier = self.verifier();
        verifier
            .verify_access(&self.token(&json!({})), NOW)
            .unwrap();
        verifier
    }

    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// Returns a token of arbitrary bytes with a valid signature.
    pub fn signed(&self, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", encode(header), encode(payload));
        format!("{input}.{}", encode(&self.signature(input.as_bytes())))
    }

    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm.name(), "typ": "at+jwt", "kid": KID })
    }

    /// Returns a valid token with some claims changed, or removed if null.
    pub fn token(&self, changes: &Value) -> String {
        self.signed(
            self.header().to_string().as_bytes(),
            changed(claims(), changes).to_string().as_bytes(),
        )
    }

    /// Returns a valid token with some members of the header changed, or removed if null.
    pub fn headed(&self, changes: &Value) -> String {
        self.signed(
            changed(self.header(), changes).to_string().as_bytes(),
            claims().to_string().as_bytes(),
        )
    }
}

pub fn claims() -> Value {
    json!({
        "token_type": "access", "exp": NOW + 300, "iat": NOW, "jti": "0123456789abcdef0123456789abcdef",
        "user_id": "ada", "iss": ISSUER, "sub": "ada",
    })
}

pub fn changed(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

pub fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
