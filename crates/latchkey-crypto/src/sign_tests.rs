use latchkey_verifier::Kind;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;

/// Returns the first two segments as `serde_json` writes them, with repeated names written once.
fn model(key: &SigningKey, typ: &str, members: &[(&str, Value)]) -> String {
    let object = |members: &[(&str, Value)]| {
        let mut written = serde_json::Map::new();
        for (name, value) in members {
            written.entry(*name).or_insert_with(|| value.clone());
        }
        URL_SAFE_NO_PAD.encode(Value::Object(written).to_string())
    };
    let header = [
        ("alg", json!(key.algorithm().name())),
        ("typ", json!(typ)),
        ("kid", json!(key.kid())),
    ];
    format!("{}.{}", object(&header), object(members))
}

fn key(algorithm: Algorithm, kind: Kind) -> SigningKey {
    SigningKey::generate(algorithm, kind, None).unwrap().0
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "\\PC{0,20}",
        any::<String>(),
        "[\"\\\\\u{0}-\u{20}\u{7f}é]{0,4}"
    ]
}

/// Names of claims, mostly those that a token already has.
fn name() -> impl Strategy<Value = String> {
    const NAMES: [&str; 12] = [
        "aud",
        "exp",
        "gen",
        "iat",
        "iss",
        "jti",
        "sid",
        "sub",
        "token_type",
        "user_id",
        "ver",
        "email",
    ];
    prop_oneof![4 => select(&NAMES[..]).prop_map(str::to_owned), 1 => text()]
}

fn extra() -> impl Strategy<Value = (ExtraClaim, ExtraValue)> {
    let value = prop_oneof![
        any::<bool>().prop_map(ExtraValue::Flag),
        text().prop_map(ExtraValue::Text)
    ];
    (select(&ExtraClaim::ALL[..]), value)
}

fn shape() -> impl Strategy<Value = TokenShape> {
    (
        text(),
        prop::option::of(text()),
        text(),
        (name(), name(), name()),
    )
        .prop_map(
            |(access_typ, audience, issuer, (jti, token_type, user_id))| TokenShape {
                access_typ,
                audience,
                issuer,
                names: ClaimNames {
                    jti,
                    token_type,
                    user_id,
                },
            },
        )
}

fn begin<'a>(
    shape: &'a TokenShape,
    kind: Kind,
    times: (i64, i64),
    jti: &str,
    sub: &str,
) -> Vec<(&'a str, Value)> {
    vec![
        (&shape.names.token_type, json!(kind.token_type())),
        ("exp", json!(times.0)),
        ("iat", json!(times.1)),
        (&shape.names.jti, json!(jti)),
        (&shape.names.user_id, json!(sub)),
        ("iss", json!(shape.issuer)),
        ("sub", json!(sub)),
    ]
}

/// Returns the signing input. Checks the signature, and that the token fills its allocation.
fn signed(key: &SigningKey, token: String) -> String {
    let capacity = token.capacity();
    let token = token.into_boxed_str();
    assert_eq!(capacity, token.len());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(
        URL_SAFE_NO_PAD.decode(signature).unwrap(),
        key.sign(signed.as_bytes()).unwrap()
    );
    signed.to_owned()
}

proptest! {
    #[test]
    fn tokens_equal_those_written_by_serde_json(
        shape in shape(),
        times in any::<(i64, i64)>(),
        (jti, subject, sid) in (text(), text(), text()),
        (session_epoch, generation) in any::<(u32, u32)>(),
        extra in prop::collection::vec(extra(), 0..8),
    ) {
        let keys = [key(Algorithm::EdDsa, Kind::Access), key(Algorithm::Hs256, Kind::Refresh)];
        let mut access = begin(&shape, Kind::Access, times, &jti, &subject);
        access.extend(shape.audience.as_ref().map(|audience| ("aud", json!(audience))));
        access.extend([("sid", json!(sid)), ("ver", json!(session_epoch))]);
        access.extend(extra.iter().map(|(claim, value)| match value {
            ExtraValue::Flag(flag) => (claim.name(), json!(flag)),
            ExtraValue::Text(text) => (claim.name(), json!(text)),
        }));
        let mut refresh = begin(&shape, Kind::Refresh, times, &jti, &subject);
        refresh.extend([("aud", json!(shape.issuer)), ("sid", json!(sid))]);
        refresh.extend([("gen", json!(generation)), ("ver", json!(session_epoch))]);

        let (expires_at, issued_at) = times;
        let claims = RefreshClaims {
            subject: subject.clone(), issued_at, expires_at, jti: jti.clone(), sid: sid.clone(), generation, session_epoch,
        };
        let token = shape.refresh(&keys[1], &claims).unwrap();
        prop_assert_eq!(signed(&keys[1], token), model(&keys[1], "rt+jwt", &refresh));
        let claims = AccessClaims { subject, issued_at, expires_at, jti, sid, session_epoch, extra };
        let token = shape.access(&keys[0], &claims).unwrap();
        prop_assert_eq!(signed(&keys[0], token), model(&keys[0], &shape.access_typ, &access));
    }
}

#[test]
fn header_has_the_requested_typ() {
    let key = key(Algorithm::Es256, Kind::Access);
    for typ in ["at+jwt", "at+jwt", "JWT", "\"\n", "at+jwt"] {
        let header = URL_SAFE_NO_PAD.decode(&*key.header(typ)).unwrap();
        let expected = format!(
            r#"{{"alg":"ES256","typ":{},"kid":"{}"}}"#,
            json!(typ),
            key.kid()
        );
        assert_eq!(String::from_utf8(header).unwrap(), expected);
    }
    assert!(matches!(key.header("at+jwt"), Cow::Borrowed(_)));
}

#[test]
fn signature_length_is_correct() {
    for algorithm in Algorithm::ALL {
        let key = key(algorithm, Kind::Access);
        assert_eq!(
            key.sign(b"a message").unwrap().len(),
            key.signature_length(),
            "{algorithm}"
        );
    }
}
