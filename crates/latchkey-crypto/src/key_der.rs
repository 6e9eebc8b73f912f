//! Keys in DER. The elements of the outer sequence determine the format.

use pkcs8::{
    PrivateKeyInfoRef,
    der::{
        Decode as _, Encode as _, Reader as _, SliceReader, Tag, Tagged, asn1::AnyRef,
        asn1::ObjectIdentifier,
    },
};
use zeroize::Zeroizing;

use super::{
    key_forms::{Private, other},
    signing_key::MaterialError,
};

const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";

/// Names of algorithms and curves of foreign keys.
const NAMES: [(&str, &str); 22] = [
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.10045.3.1.1", "P-192"),
    ("1.2.840.10045.3.1.7", "P-256"),
    ("1.2.840.113549.1.1.7", "RSA-OAEP"),
    ("1.2.840.113549.1.3.1", "Diffie-Hellman"),
    ("1.3.101.110", "X25519"),
    ("1.3.101.111", "X448"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.132.0.33", "P-224"),
    ("1.3.132.0.34", "P-384"),
    ("1.3.132.0.35", "P-521"),
    ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
    ("1.2.156.10197.1.301", "SM2"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
    (RSA, "RSA"),
    (RSA_PSS, "RSA"),
];

/// Returns the private key in a DER file, or `None` if the file is not DER.
pub(super) fn read(bytes: &[u8]) -> Option<Result<Private, MaterialError>> {
    let store = || {
        other(
            "is a PKCS#12 store: convert it with openssl pkcs12 -in FILE -nocerts -noenc -out NEW",
        )
    };
    // BER, as written by Java and Mozilla.
    if bytes.starts_with(&[0x30, 0x80]) {
        return Some(Err(store()));
    }
    let elements = elements(bytes)?;
    let tags: Vec<Tag> = elements.iter().map(Tagged::tag).collect();
    let first = elements
        .first()
        .map(|element| element.value())
        .unwrap_or_default();
    let private = |label| Ok(Private::new(label, Zeroizing::new(bytes.to_vec())));
    Some(match tags.as_slice() {
        [Tag::Integer, Tag::Sequence, ..] if first == [3] => Err(store()),
        [Tag::Integer, Tag::Sequence, Tag::OctetString, ..] => private("PRIVATE KEY"),
        [Tag::Sequence, Tag::OctetString] => private("ENCRYPTED PRIVATE KEY"),
        [Tag::Integer, Tag::OctetString, ..] => private("EC PRIVATE KEY"),
        [
            Tag::Integer,
            Tag::Integer,
            Tag::Integer,
            Tag::Integer,
            Tag::Integer,
            Tag::Integer,
        ] => Err(MaterialError::OtherAlgorithm("DSA".to_owned())),
        [Tag::Integer, Tag::Integer, Tag::Integer, Tag::Integer, ..] => private("RSA PRIVATE KEY"),
        [Tag::Integer, Tag::Integer] | [Tag::Sequence, Tag::BitString] => {
            Err(without_key("a public key"))
        }
        [Tag::Sequence, Tag::Sequence, Tag::BitString] => Err(without_key(
            "a certificate or a certificate request, which are public",
        )),
        [Tag::ObjectIdentifier, ..] => Err(without_key("certificates (PKCS#7)")),
        _ => return None,
    })
}

fn without_key(what: &str) -> MaterialError {
    MaterialError::OtherForm(format!(
        "holds {what} and no private key: pass the file with the private key"
    ))
}

/// Returns the elements of the outer sequence.
fn elements(bytes: &[u8]) -> Option<Vec<AnyRef<'_>>> {
    let outer = AnyRef::from_der(bytes)
        .ok()
        .filter(|outer| outer.tag() == Tag::Sequence)?;
    inside(outer)
}

fn inside(sequence: AnyRef<'_>) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(sequence.value()).ok()?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(elements)
}

/// Returns a PKCS#8 key with the algorithm RSASSA-PSS as a PKCS#1 key, which has no such
/// restriction.
pub(super) fn pss(pkcs8: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = PrivateKeyInfoRef::try_from(pkcs8).ok()?;
    (key.algorithm.oid.to_string() == RSA_PSS)
        .then(|| Zeroizing::new(key.private_key.as_bytes().to_vec()))
}

/// Returns true for PKCS#8.
pub(super) fn is_pkcs8(contents: &[u8]) -> bool {
    PrivateKeyInfoRef::try_from(contents).is_ok()
}

/// Returns an error with the curve or algorithm of an unsupported key. Explicit curve parameters
/// have a separate error.
pub(super) fn named(label: &str, contents: &[u8]) -> Option<MaterialError> {
    let parameters = if label == "EC PRIVATE KEY" {
        let elements = elements(contents)?;
        let tagged = elements
            .iter()
            .find(|element| element.tag().is_context_specific())?;
        AnyRef::from_der(tagged.value()).ok()?
    } else {
        let key = PrivateKeyInfoRef::try_from(contents).ok()?;
        if key.algorithm.oid.to_string() != EC {
            return named_by(key.algorithm.oid);
        }
        key.algorithm.parameters?
    };
    if parameters.tag() == Tag::Sequence {
        return Some(other(
            "holds a key with explicit curve parameters: convert it with openssl ec -in FILE -param_enc named_curve -out NEW",
        ));
    }
    named_by(parameters.decode_as().ok()?)
}

fn named_by(oid: ObjectIdentifier) -> Option<MaterialError> {
    let oid = oid.to_string();
    let name = NAMES
        .iter()
        .find(|(known, _)| *known == oid)
        .map_or(oid.as_str(), |(_, name)| *name);
    (!["RSA", "P-256", "P-384", "Ed25519"].contains(&name))
        .then(|| MaterialError::OtherAlgorithm(name.to_owned()))
}

/// Encodes an RSA key in PKCS#1 from its eight numbers in big-endian bytes.
pub(super) fn rsa(numbers: &[&[u8]]) -> Option<Zeroizing<Vec<u8>>> {
    let mut body = Zeroizing::new(vec![2, 1, 0]);
    for number in numbers {
        let first = number.iter().position(|byte| *byte != 0)?;
        let mut value = Zeroizing::new(vec![0]);
        value.extend_from_slice(number.get(first..)?);
        // The leading zero is kept if the number would be negative without it.
        let start = usize::from(value.get(1).is_some_and(|byte| *byte < 0x80));
        let integer = AnyRef::new(Tag::Integer, value.get(start..)?)
            .ok()?
            .to_der()
            .ok()?;
        body.extend_from_slice(&Zeroizing::new(integer));
    }
    AnyRef::new(Tag::Sequence, &body)
        .ok()?
        .to_der()
        .ok()
        .map(Zeroizing::new)
}
