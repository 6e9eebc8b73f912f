//! Private keys in OpenSSH's format (PROTOCOL.key), the default of ssh-keygen.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use zeroize::Zeroizing;

use super::{
    key_forms::{Private, other},
    key_jwk::padded,
    signing_key::MaterialError,
};

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// Parses an unencrypted key of ECDSA or Ed25519.
pub(super) fn read(bytes: &[u8]) -> Result<Private, MaterialError> {
    let damaged = || other("holds a key of OpenSSH that is truncated or damaged");
    let mut outer = Fields(bytes.strip_prefix(MAGIC).ok_or_else(damaged)?);
    let cipher = outer.text().ok_or_else(damaged)?;
    if cipher != b"none" {
        return Err(other(
            "is encrypted in OpenSSH's format: copy it, and decrypt the copy with ssh-keygen -p -N \"\" -m PEM -f COPY",
        ));
    }
    let inner = outer
        .text()
        .and_then(|_| outer.text())
        .and_then(|_| outer.number());
    let inner = inner
        .filter(|count| *count == 1)
        .and_then(|_| outer.text())
        .and_then(|_| outer.text());
    let mut inner = Fields(inner.ok_or_else(damaged)?);
    let checks = (inner.number(), inner.number());
    if checks.0.is_none() || checks.0 != checks.1 {
        return Err(damaged());
    }
    let key = match inner.text().ok_or_else(damaged)? {
        b"ssh-ed25519" => ed25519(&mut inner),
        b"ecdsa-sha2-nistp256" => ec(&mut inner, &ECDSA_P256_SHA256_FIXED_SIGNING, 32),
        b"ecdsa-sha2-nistp384" => ec(&mut inner, &ECDSA_P384_SHA384_FIXED_SIGNING, 48),
        b"ssh-rsa" => {
            return Err(other(
                "is an RSA key in OpenSSH's format: copy it, and convert the copy with ssh-keygen -p -N \"\" -m PEM -f COPY",
            ));
        }
        name => {
            return Err(MaterialError::OtherAlgorithm(
                String::from_utf8_lossy(name).into_owned(),
            ));
        }
    };
    let contents = key.map(|contents| Private::new("PRIVATE KEY", contents));
    contents.ok_or_else(damaged)
}

/// Parses the public key, and the seed followed by the public key.
fn ed25519(fields: &mut Fields<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let (public, private) = (fields.text()?, fields.text()?);
    let pair = Ed25519KeyPair::from_seed_and_public_key(private.get(..32)?, public).ok()?;
    Some(Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
}

/// Parses the name of the curve, the point and the private number.
fn ec(
    fields: &mut Fields<'_>,
    curve: &'static EcdsaSigningAlgorithm,
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let (_, point, number) = (fields.text()?, fields.text()?, fields.text()?);
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(curve, &padded(number, length)?, point)
            .ok()?;
    Some(Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
}

/// Reader of numbers of four bytes, and of byte strings with a length prefix (RFC 4251, section 5).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}
