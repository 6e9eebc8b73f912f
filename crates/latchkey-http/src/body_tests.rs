//! Tests of the JSON reader, also with arbitrary bytes.

use proptest::prelude::*;

use super::{Charset, HttpError, text::unescaped};
use crate::{
    extract::{FormFields as _, form},
    fields::RawField,
};

form! {
    /// Two fields of different kinds.
    Two {
        a: Text(),
        b: Verbatim(),
    }
}

fn json(body: &[u8]) -> Result<super::Data, HttpError> {
    super::json(body, Charset::UTF_8)
}

fn field(body: &str) -> Option<RawField> {
    let value = json(body.as_bytes()).ok()?.take("a");
    (value != RawField::Missing).then_some(value)
}

#[test]
fn value_is_read_as_by_rest_framework() {
    let text = |text: &str| Some(RawField::Text(text.to_owned().into()));
    for (body, expected) in [
        (r#"{"a":"x"}"#, text("x")),
        (r#"{"a":12345}"#, text("12345")),
        (r#"{"a":-0}"#, text("0")),
        (r#"{"a":1.50}"#, text("1.5")),
        (r#"{"a":1e2}"#, text("100.0")),
        (r#"{"a":-1e999}"#, text("-inf")),
        (
            r#"{"a":123456789012345678901234567890}"#,
            text("123456789012345678901234567890"),
        ),
        (r#"{"a":null}"#, Some(RawField::Null)),
        (r#"{"a":true}"#, Some(RawField::NotText)),
        (r#"{"a":["x"]}"#, Some(RawField::NotText)),
        (r#"{"a":"x","a":"y"}"#, text("y")),
        (r#"{"a":"\ud83d\ude00"}"#, text("😀")),
        (r#"{"a":"\ud800"}"#, Some(RawField::LoneSurrogate(0xD800))),
        (
            r#"{"a":"é\\\udfffx"}"#,
            Some(RawField::LoneSurrogate(0xDFFF)),
        ),
    ] {
        assert_eq!(field(body), expected, "{body}");
    }
}

#[test]
fn deeply_nested_body_is_an_error() {
    let deep = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
    assert!(matches!(
        json(deep.as_bytes()),
        Err(HttpError::InvalidData("list"))
    ));
    assert!(matches!(
        json("[".repeat(16_000).as_bytes()),
        Err(HttpError::Json(_))
    ));
}

#[test]
fn wrong_fields_are_reported_together_in_order() {
    let data = json(br#"{"b":"  "}"#).unwrap();
    let fields = match Two::read(data) {
        Err(HttpError::Fields(fields)) => fields,
        Err(error) => panic!("{error}"),
        Ok(Two { a, b }) => panic!("accepted {} and {} bytes", a.len(), b.0.len()),
    };
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["a", "b"]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_fields_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = json(&body);
        let _ = super::form(&body, Charset::UTF_8);
    }

    #[test]
    fn near_json_is_fields_or_an_error(body in r#"[\[\]{}":,\\a-fu0-9 ]{0,64}"#) {
        let _ = json(body.as_bytes());
        let _ = unescaped(&body);
    }
}
