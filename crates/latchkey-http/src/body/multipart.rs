//! Parser of `multipart/form-data` (RFC 7578). It needs the whole body, because stream parsers do
//! not wipe their copies.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use super::{Data, charset::Charset, parameters::parameter};
use crate::{error::HttpError, fields::RawField};

type Field = (Cow<'static, str>, RawField);

/// Returns the fields of a form. Files follow all other fields, so that they win over fields with
/// the same name, as in Django REST framework.
pub(super) fn multipart(boundary: &str, charset: Charset, body: &[u8]) -> Result<Data, HttpError> {
    fields(boundary.as_bytes(), charset, body).map(Data)
}

fn fields(boundary: &[u8], charset: Charset, body: &[u8]) -> Result<Vec<Field>, HttpError> {
    let (mut fields, mut files) = (Vec::new(), Vec::new());
    for (head, value) in
        parts(boundary, body).ok_or(HttpError::Multipart("the parts have no clear boundary"))?
    {
        let disposition = header(head, "content-disposition");
        let Some(name) = parameter(disposition, "name") else {
            continue;
        };
        // Browsers send an empty name for a file that the user has not chosen.
        let named = |parameter: Option<String>| parameter.is_some_and(|name| !name.is_empty());
        if named(parameter(disposition, "filename")) || named(parameter(disposition, "filename*")) {
            files.push((Cow::Owned(name), RawField::NotText));
        } else {
            fields.push((Cow::Owned(name), text(head, value, charset)?));
        }
    }
    fields.append(&mut files);
    Ok(fields)
}

/// Returns the heads and values of the parts, or `None` if the body does not match the boundary.
fn parts<'a>(boundary: &[u8], body: &'a [u8]) -> Option<Vec<(&'a str, &'a [u8])>> {
    let delimiter = [b"\r\n--", boundary].concat();
    let (_, mut rest) = cut(body, delimiter.get(2..)?)?;
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let padding = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let (head, after) = cut(rest.get(padding..)?.strip_prefix(b"\r\n")?, b"\r\n\r\n")?;
        let (value, next) = cut(after, &delimiter)?;
        rest = next;
        let head = std::str::from_utf8(head).ok()?;
        if !head.split("\r\n").all(|line| line.contains(':')) {
            return None;
        }
        parts.push((head, value));
    }
    Some(parts)
}

/// Returns the text of a part, decoded as its own headers require.
fn text(head: &str, value: &[u8], charset: Charset) -> Result<RawField, HttpError> {
    let content_type = header(head, "content-type");
    let unsupported = |value: &str| HttpError::UnsupportedMediaType(value.trim().to_owned());
    let charset = Charset::named(content_type, charset).ok_or_else(|| unsupported(content_type))?;
    let encoding = header(head, "content-transfer-encoding");
    let value = match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "7bit" | "8bit" | "binary" => charset.decode(value),
        "base64" => {
            let encoded: Zeroizing<Vec<u8>> = Zeroizing::new(
                value
                    .iter()
                    .copied()
                    .filter(|byte| !byte.is_ascii_whitespace())
                    .collect(),
            );
            let value = BASE64_STANDARD.decode(&*encoded).map(Zeroizing::new).ok();
            value.and_then(|value| charset.decode(&value))
        }
        _ => return Err(unsupported(encoding)),
    };
    Ok(value.map_or(RawField::NotText, RawField::Text))
}

/// Splits bytes at the first occurrence of `pattern`.
fn cut<'a>(text: &'a [u8], pattern: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(pattern.len())
        .position(|window| window == pattern)?;
    Some((text.get(..at)?, text.get(at + pattern.len()..)?))
}

/// Returns the value of the first header with this name, or an empty text if there is none.
fn header<'a>(head: &'a str, wanted: &str) -> &'a str {
    let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    fields
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, stream};
    use proptest::prelude::*;

    use super::*;

    /// Returns the fields that the `multer` stream parser reads.
    fn streamed(body: &[u8]) -> Option<Vec<(String, Option<String>)>> {
        let body = bytes::Bytes::copy_from_slice(body);
        let mut parts = multer::Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), "b");
        let read = async {
            let mut fields = Vec::new();
            while let Some(part) = parts.next_field().await.ok()? {
                let Some(name) = part.name().map(ToOwned::to_owned) else {
                    continue;
                };
                let is_file = part.file_name().is_some();
                let text = part.text().await.ok()?;
                fields.push((name, (!is_file).then_some(text)));
            }
            Some(fields)
        };
        read.now_or_never().unwrap()
    }

    fn ours(body: &[u8]) -> Option<Vec<(String, Option<String>)>> {
        let text = |input| match input {
            RawField::Text(text) => Some(text.to_string()),
            _ => None,
        };
        let read = fields(b"b", Charset::UTF_8, body).ok();
        read.map(|all| {
            all.into_iter()
                .map(|(name, input)| (name.into_owned(), text(input)))
                .collect()
        })
    }

    #[test]
    fn parts_are_the_same_as_those_of_multer() {
        let part = |head: &str, value: &str| format!("--b\r\n{head}\r\n\r\n{value}\r\n");
        let name = "Content-Disposition: form-data; name=\"a\"";
        for (body, count) in [
            (part(name, "x") + "--b--\r\n", 1),
            (
                part(name, "")
                    + &part("content-disposition: form-data; name=c", "y\r\n--c")
                    + "--b--",
                2,
            ),
            (
                part(
                    "X: 1\r\nContent-Disposition: form-data; filename=\"a;b\"; name=\"q\\\"q\"",
                    "file",
                ) + "--b--",
                1,
            ),
            (part("Content-Type: text/plain", "nameless") + "--b--", 0),
            (
                "preamble".to_owned() + &part(name, "x") + "--b--epilogue",
                1,
            ),
            ("--b--\r\n".to_owned(), 0),
        ] {
            let read = ours(body.as_bytes());
            assert_eq!(read, streamed(body.as_bytes()), "{body}");
            assert_eq!(read.map(|fields| fields.len()), Some(count), "{body}");
        }
        for broken in [
            "",
            "no parts",
            "--b",
            "--b\r\n",
            "--b\r\nX: 1\r\n\r\n",
            "--b\r\nX: 1\r\n\r\nvalue",
            "--bx",
        ] {
            assert_eq!(ours(broken.as_bytes()), None, "{broken}");
            assert_eq!(streamed(broken.as_bytes()), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ours(&body);
        }

        #[test]
        fn values_are_the_same_as_those_of_multer(values in prop::collection::vec("[ -~\r\n\u{e9}\u{1f642}]{0,20}", 0..4)) {
            let part = |value: &String| format!("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n{value}\r\n");
            let body = values.iter().map(part).collect::<Vec<_>>().concat() + "--b--\r\n";
            prop_assert_eq!(ours(body.as_bytes()), streamed(body.as_bytes()));
        }
    }
}
