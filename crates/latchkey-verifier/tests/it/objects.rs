//! Tests of the JSON in a token: header and payload are one object in UTF-8 with unique names.

use latchkey_verifier::{Algorithm, VerifyError};
use serde_json::{Value, json};

use crate::{
    forgeries::refused,
    signer::{Signer, claims},
};

/// Fails unless each text is refused as the header and as the payload of a signed token.
fn all_refused(malformed: impl Fn(&Value) -> Vec<Vec<u8>>) {
    for algorithm in [Algorithm::Es256, Algorithm::Hs256] {
        let signer = Signer::new(algorithm);
        let verifier = signer.warm_verifier();
        let (header, payload) = (signer.header(), claims());
        for text in malformed(&header) {
            let token = signer.signed(&text, payload.to_string().as_bytes());
            refused(&verifier, VerifyError::Malformed, &token);
        }
        for text in malformed(&payload) {
            let token = signer.signed(header.to_string().as_bytes(), &text);
            refused(&verifier, VerifyError::Malformed, &token);
        }
    }
}

/// Returns the text with this member before the others, and after them.
fn with_member(object: &str, member: &str) -> [String; 2] {
    [
        object.replacen('{', &format!("{{{member},"), 1),
        object.replacen('}', &format!(",{member}}}"), 1),
    ]
}

#[test]
fn other_text_than_one_object_in_utf_8_is_refused() {
    all_refused(|object| {
        let good = object.to_string();
        let mut all = vec![
            String::new(),
            "null".to_owned(),
            "true".to_owned(),
            "5".to_owned(),
            "[]".to_owned(),
            format!("[{good}]"),
            json!(good).to_string(),
            format!("{good}{good}"),
            format!("{good} x"),
            format!("{good}//"),
            format!("{good}\0"),
            format!("\u{feff}{good}"),
            good.replace('"', "'"),
            good.replacen('{', "{,", 1),
            good.replacen('}', ",}", 1),
        ];
        for member in [
            r#""x":"\ud800""#,
            r#""x":"\udc00\ud800""#,
            r#""\ud800":1"#,
            r#""x":NaN"#,
            r#""x":Infinity"#,
            r#""x":1e400"#,
            r#""x":01"#,
            &format!(r#""x":{}{}"#, "[".repeat(500), "]".repeat(500)),
            &format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(300), "}".repeat(300)),
        ] {
            all.extend(with_member(&good, member));
        }
        let mut all: Vec<Vec<u8>> = all.into_iter().map(String::into_bytes).collect();
        all.push(good.encode_utf16().flat_map(u16::to_le_bytes).collect());
        all.push(good.encode_utf16().flat_map(u16::to_be_bytes).collect());
        all.push(b"\x1f\x8b\x08\0".to_vec());
        all.push([good.as_bytes(), &[0xFF]].concat());
        for invalid in [0xC0, 0xE9] {
            let [latin_1, _] = with_member(&good, r#""x":"?""#);
            let byte = |byte| if byte == b'?' { invalid } else { byte };
            all.push(latin_1.bytes().map(byte).collect());
        }
        all
    });
}

#[test]
fn duplicate_members_are_refused() {
    all_refused(|object| {
        let good = object.to_string();
        let mut members = vec![
            r#""x":{"a":1,"a":2}"#.to_owned(),
            r#""x":[[{"a":1,"\u0061":1}]]"#.to_owned(),
        ];
        for (name, value) in object.as_object().unwrap() {
            let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
            for name in [name, &escaped] {
                for value in [value.clone(), json!(null), json!("none"), json!(1)] {
                    members.push(format!("\"{name}\":{value}"));
                }
            }
        }
        let all = members.iter().flat_map(|member| with_member(&good, member));
        all.map(String::into_bytes).collect()
    });
}
