use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// JSON value whose names consist of few letters, some of them escaped, so that duplicates occur.
#[derive(Clone, Debug)]
enum Json {
    List(Vec<Json>),
    Object(Vec<(Letters, Json)>),
    Plain(Value),
}

/// Letters of a name, and true for those that are escaped.
type Letters = Vec<(char, bool)>;

impl Json {
    fn text(&self) -> String {
        match self {
            Self::List(items) => format!(
                "[{}]",
                items.iter().map(Self::text).collect::<Vec<_>>().join(" , ")
            ),
            Self::Object(members) => {
                let member = |(name, value): &(Letters, Self)| {
                    format!("\"{}\": {}", escaped(name), value.text())
                };
                format!(
                    " {{{}}}",
                    members.iter().map(member).collect::<Vec<_>>().join(",")
                )
            }
            Self::Plain(value) => value.to_string(),
        }
    }

    fn has_duplicates(&self) -> bool {
        match self {
            Self::List(items) => items.iter().any(Self::has_duplicates),
            Self::Object(members) => {
                let names: BTreeSet<String> =
                    members.iter().map(|(name, _)| letters(name)).collect();
                names.len() < members.len()
                    || members.iter().any(|(_, value)| value.has_duplicates())
            }
            Self::Plain(_) => false,
        }
    }
}

fn letters(name: &[(char, bool)]) -> String {
    name.iter().map(|(letter, _)| letter).collect()
}

fn escaped(name: &[(char, bool)]) -> String {
    let letter = |(letter, escaped): &(char, bool)| match escaped {
        true => format!("\\u{:04x}", u32::from(*letter)),
        false => letter.to_string(),
    };
    name.iter().map(letter).collect()
}

fn json() -> impl Strategy<Value = Json> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    plain
        .prop_map(Json::Plain)
        .prop_recursive(3, 60, 24, |inner| {
            let name = prop::collection::vec(
                (prop_oneof![Just('a'), Just('b'), Just('é')], any::<bool>()),
                0..6,
            );
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::List),
                prop::collection::vec((name, inner), 0..24).prop_map(Json::Object),
            ]
        })
}

/// Returns true if a value is accepted that is parsed but not kept, such as other members of a
/// header.
fn is_accepted(bytes: &[u8]) -> bool {
    parse(bytes, TextSeed).is_some()
}

proptest! {
    #[test]
    fn object_equals_that_of_serde_json_unless_names_repeat(json in json()) {
        let text = json.text();
        let expected: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(is_accepted(text.as_bytes()), !json.has_duplicates());
        match object(text.as_bytes()) {
            Some(members) => {
                prop_assert!(!json.has_duplicates());
                let ours: Map<_, _> = members.into_iter().collect();
                prop_assert_eq!(Value::Object(ours), expected);
            }
            None => prop_assert!(json.has_duplicates() || !expected.is_object()),
        }
    }

    #[test]
    fn other_values_are_accepted_as_by_serde_json(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        prop_assert_eq!(is_accepted(&bytes), serde_json::from_slice::<Value>(&bytes).is_ok());
    }
}

#[test]
fn object_with_unique_names_is_accepted() {
    assert_eq!(
        object(br#"{"a":1,"b":{"c":[null,true,1.5]}}"#)
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn duplicates_are_refused_at_any_depth() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"{"a":[{"b":1,"b":2}]}"#,
        r#"{"a":1,"\u0061":2}"#,
    ] {
        assert!(object(text.as_bytes()).is_none(), "{text}");
        assert!(!is_accepted(text.as_bytes()), "{text}");
    }
}

#[test]
fn duplicate_is_found_in_small_and_large_objects() {
    for count in [1, 2, MAX_PAIRWISE - 1, MAX_PAIRWISE, MAX_PAIRWISE + 1, 500] {
        let members = |last: usize| {
            let names = (0..count).chain([last]).map(|name| format!("\"{name}\":0"));
            format!("{{{}}}", names.collect::<Vec<_>>().join(","))
        };
        for duplicate_name in [0, count / 2, count - 1] {
            assert!(
                object(members(duplicate_name).as_bytes()).is_none(),
                "{duplicate_name} of {count}"
            );
            assert!(
                !is_accepted(members(duplicate_name).as_bytes()),
                "{duplicate_name} of {count}"
            );
        }
        assert_eq!(object(members(count).as_bytes()).unwrap().len(), count + 1);
        assert!(is_accepted(members(count).as_bytes()), "{count}");
    }
}

#[test]
fn other_text_than_one_utf8_object_is_refused() {
    for bytes in [
        &b""[..],
        b"{} {}",
        b"{}x",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        b"{\0}\0",
        b"{\"\\ud800\":1}",
        br#"{"a":"\ud800"}"#,
        br#"{"a":1e400}"#,
        br#"{"a":NaN}"#,
        br#"{"a":1,}"#,
        br"{1:1}",
    ] {
        assert!(object(bytes).is_none(), "{bytes:?}");
        assert!(!is_accepted(bytes), "{bytes:?}");
    }
    for other in [&b"[]"[..], b"\"a\"", b"null", b"1", b"true"] {
        assert!(object(other).is_none(), "{other:?}");
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    assert!(object(deep.as_bytes()).is_none());
    assert!(!is_accepted(deep.as_bytes()));
}
