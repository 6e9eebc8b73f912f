//! JOSE header: `alg`, `kid` and `typ`, without critical extensions.

use std::{borrow::Cow, fmt};

use serde::de::{MapAccess, Visitor};

use crate::{Algorithm, VerifyError, json};

/// Members of a header. Only `alg`, `kid` and `typ` are read. `jwk`, `jku`, `x5u`, `x5c` and `x5t`
/// are ignored, because a token must not supply its own key (RFC 8725, section 3.10).
pub(crate) struct Header<'a> {
    pub algorithm: Algorithm,
    pub kid: Cow<'a, str>,
    pub typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let Members {
            alg,
            kid,
            typ,
            others,
        } = json::parse(bytes, MembersVisitor).ok_or(VerifyError::Malformed)?;
        // No extensions are supported, so any `crit` is an error (RFC 7515, section 4.1.11). So is
        // `b64`, which changes the signing input (RFC 7797).
        if others.iter().any(|name| name == "crit" || name == "b64") {
            return Err(VerifyError::Header);
        }
        let algorithm = text(alg)?
            .ok_or(VerifyError::Header)?
            .parse()
            .map_err(|_| VerifyError::Header)?;
        let kid = text(kid)?.ok_or(VerifyError::UnknownKey)?;
        let typ = text(typ)?;
        Ok(Self {
            algorithm,
            kid,
            typ,
        })
    }
}

/// Optional member. The inner value is `None` if the member is not a string.
type Member<'a> = Option<Option<Cow<'a, str>>>;

fn text(member: Member<'_>) -> Result<Option<Cow<'_, str>>, VerifyError> {
    match member {
        None => Ok(None),
        Some(Some(text)) => Ok(Some(text)),
        Some(None) => Err(VerifyError::Header),
    }
}

#[derive(Default)]
struct Members<'a> {
    alg: Member<'a>,
    kid: Member<'a>,
    typ: Member<'a>,
    /// Names of all other members.
    others: Vec<Cow<'a, str>>,
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without duplicate members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(json::Name(name)) = map.next_key()? {
            let value = map.next_value_seed(json::TextSeed)?;
            let member = match &*name {
                "alg" => &mut members.alg,
                "kid" => &mut members.kid,
                "typ" => &mut members.typ,
                _ => {
                    members.others.push(name);
                    continue;
                }
            };
            if member.replace(value).is_some() {
                return Err(json::duplicate());
            }
        }
        let others = members.others.iter().map(|name| &**name);
        if json::are_unique(others) {
            Ok(members)
        } else {
            Err(json::duplicate())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use serde_json::Value;

    use super::*;

    const MEMBERS: [&str; 17] = [
        r#""alg":"ES256""#,
        r#""alg":"none""#,
        r#""alg":5"#,
        r#""al\u0067":"ES256""#,
        r#""kid":"a""#,
        r#""kid":"\u0061""#,
        r#""kid":null"#,
        r#""typ":"at+jwt""#,
        r#""typ":["at+jwt"]"#,
        r#""crit":[]"#,
        r#""b64":true"#,
        r#""jwk":{"a":{"b":[1,2.5]}}"#,
        r#""jwk":{"a":{"b":1,"b":1}}"#,
        r#""x5c":[{"a":1,"\u0061":1}]"#,
        r#""x5t":"\ud800""#,
        r#""":false"#,
        r#""kid":{}"#,
    ];

    type Parsed = Result<(Algorithm, String, Option<String>), VerifyError>;

    /// Parses a header with a simple implementation that keeps all members.
    fn model(bytes: &[u8]) -> Parsed {
        let members = json::object(bytes).ok_or(VerifyError::Malformed)?;
        let find = |name: &str| {
            members
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, value)| value)
        };
        let text = |name| match find(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(VerifyError::Header),
        };
        if find("crit").or(find("b64")).is_some() {
            return Err(VerifyError::Header);
        }
        let algorithm = text("alg")?
            .and_then(|name| name.parse().ok())
            .ok_or(VerifyError::Header)?;
        Ok((
            algorithm,
            text("kid")?.ok_or(VerifyError::UnknownKey)?,
            text("typ")?,
        ))
    }

    fn parsed(bytes: &[u8]) -> Parsed {
        let Header {
            algorithm,
            kid,
            typ,
        } = Header::parse(bytes)?;
        Ok((algorithm, kid.into_owned(), typ.map(Cow::into_owned)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn header_equals_that_of_the_model(members in prop::collection::vec(select(&MEMBERS[..]), 0..6)) {
            let text = format!("{{{}}}", members.join(","));
            prop_assert_eq!(parsed(text.as_bytes()), model(text.as_bytes()), "{}", text);
        }
    }

    #[test]
    fn first_of_several_faults_is_reported() {
        for (text, expected) in [
            (r#"{"crit":[],"crit":[]}"#, VerifyError::Malformed),
            (r#"{"alg":5,"alg":"ES256"}"#, VerifyError::Malformed),
            (r#"{"alg":5,"x":"\ud800"}"#, VerifyError::Malformed),
            (
                r#"{"alg":"ES256","kid":"a","b64":true}"#,
                VerifyError::Header,
            ),
            (r#"{"typ":5}"#, VerifyError::Header),
            (r#"{"alg":"ES256","typ":5}"#, VerifyError::UnknownKey),
            (r#"{"alg":"ES256","kid":"a","typ":5}"#, VerifyError::Header),
            ("[]", VerifyError::Malformed),
        ] {
            assert_eq!(parsed(text.as_bytes()), Err(expected), "{text}");
        }
        let header =
            parsed(br#"{"jku":"https://example.com","typ":"t","kid":"\u0061","alg":"ES256"}"#);
        assert_eq!(
            header,
            Ok((Algorithm::Es256, "a".to_owned(), Some("t".to_owned())))
        );
    }
}
