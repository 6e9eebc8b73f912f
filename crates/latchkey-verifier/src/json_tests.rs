use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// JSON with the names of objects as they come: of few letters, some of them escaped, so that some stand twice.
#[derive(Clone, Debug)]
enum Json {
    List(Vec<Json>),
    Object(Vec<(Letters, Json)>),
    Plain(Value),
}

/// Each letter, and whether it is escaped.
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
                    format!("\"{}\": {}", spelt(name), value.text())
                };
                format!(
                    " {{{}}}",
                    members.iter().map(member).collect::<Vec<_>>().join(",")
                )
            }
            Self::Plain(value) => value.to_string(),
        }
    }

    fn has_twins(&self) -> bool {
        match self {
            Self::List(items) => items.iter().any(Self::has_twins),
            Self::Object(members) => {
                let names: BTreeSet<String> =
                    members.iter().map(|(name, _)| letters(name)).collect();
                names.len() < members.len() || members.iter().any(|(_, value)| value.has_twins())
            }
            Self::Plain(_) => false,
        }
    }
}

fn letters(name: &[(char, bool)]) -> String {
    name.iter().map(|(letter, _)| letter).collect()
}

fn spelt(name: &[(char, bool)]) -> String {
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

/// As what is read and not kept: the header's other members.
fn passes(bytes: &[u8]) -> bool {
    parse(bytes, TextSeed).is_some()
}

proptest! {
    #[test]
    fn an_object_has_the_members_that_serde_json_finds_or_is_refused_for_a_name_that_stands_twice(json in json()) {
        let text = json.text();
        let theirs: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(passes(text.as_bytes()), !json.has_twins());
        match object(text.as_bytes()) {
            Some(members) => {
                prop_assert!(!json.has_twins());
                let ours: Map<_, _> = members.into_iter().collect();
                prop_assert_eq!(Value::Object(ours), theirs);
            }
            None => prop_assert!(json.has_twins() || !theirs.is_object()),
        }
    }

    #[test]
    fn anything_else_is_read_or_refused_as_serde_json_does(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        prop_assert_eq!(passes(&bytes), serde_json::from_slice::<Value>(&bytes).is_ok());
    }
}

#[test]
fn one_object_of_unique_members_is_read() {
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
        assert!(!passes(text.as_bytes()), "{text}");
    }
}

#[test]
fn a_duplicate_is_found_among_few_and_among_many() {
    for count in [1, 2, FEW - 1, FEW, FEW + 1, 500] {
        let members = |last: usize| {
            let names = (0..count).chain([last]).map(|name| format!("\"{name}\":0"));
            format!("{{{}}}", names.collect::<Vec<_>>().join(","))
        };
        for twin in [0, count / 2, count - 1] {
            assert!(
                object(members(twin).as_bytes()).is_none(),
                "{twin} of {count}"
            );
            assert!(!passes(members(twin).as_bytes()), "{twin} of {count}");
        }
        assert_eq!(object(members(count).as_bytes()).unwrap().len(), count + 1);
        assert!(passes(members(count).as_bytes()), "{count}");
    }
}

#[test]
fn what_is_not_one_utf8_object_is_refused() {
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
        assert!(!passes(bytes), "{bytes:?}");
    }
    for other in [&b"[]"[..], b"\"a\"", b"null", b"1", b"true"] {
        assert!(object(other).is_none(), "{other:?}");
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    assert!(object(deep.as_bytes()).is_none());
    assert!(!passes(deep.as_bytes()));
}
