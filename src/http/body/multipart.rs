//! `multipart/form-data` (RFC 7578), parsed from the whole body: a stream parser does not wipe its copies.

use std::borrow::Cow;

use super::{Data, wiped::lossy};
use crate::http::{error::HttpError, fields::Input};

/// Returns the fields of a form, up to its end.
pub(super) fn multipart(boundary: &str, body: &[u8]) -> Result<Data, HttpError> {
    fields(boundary.as_bytes(), body).map(Data).ok_or(HttpError::Multipart("the parts cannot be told apart"))
}

fn fields(boundary: &[u8], body: &[u8]) -> Option<Vec<(Cow<'static, str>, Input)>> {
    let delimiter = [b"\r\n--", boundary].concat();
    let (_, mut rest) = cut(body, delimiter.get(2..)?)?;
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let (head, after) = cut(rest.get(padding..)?.strip_prefix(b"\r\n")?, b"\r\n\r\n")?;
        let (value, next) = cut(after, &delimiter)?;
        rest = next;
        let disposition = disposition(head)?;
        let Some(name) = attribute(disposition, "name") else { continue };
        let is_file = attribute(disposition, "filename").is_some();
        fields.push((Cow::Owned(name), if is_file { Input::NotText } else { Input::Text(lossy(value)) }));
    }
    Some(fields)
}

/// Splits a text at the first occurrence of `pattern`.
fn cut<'a>(text: &'a [u8], pattern: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(pattern.len()).position(|window| window == pattern)?;
    Some((text.get(..at)?, text.get(at + pattern.len()..)?))
}

/// Returns the first `Content-Disposition` header, blank if there is none. `None` if these are not headers.
fn disposition(head: &[u8]) -> Option<&str> {
    let mut found = "";
    for line in std::str::from_utf8(head).ok()?.split("\r\n") {
        let (name, value) = line.split_once(':')?;
        if found.is_empty() && name.eq_ignore_ascii_case("content-disposition") {
            found = value;
        }
    }
    Some(found)
}

/// Returns the value of a parameter, in quotes or not.
fn attribute(disposition: &str, wanted: &str) -> Option<String> {
    let mut rest = disposition.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let (value, next) = after.split_at(after.find([';', ' ']).unwrap_or(after.len()));
            (value.to_owned(), next)
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next.split_once(';')?.1;
    }
}

/// Returns the text up to the closing quote, and the rest. Browsers escape a quote as `\"` or `%22`; the latter is
/// kept.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('"')?;
        let Some(before) = before.strip_suffix('\\') else {
            text.push_str(before);
            return Some((text, after));
        };
        text.extend([before, "\""]);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, stream};
    use proptest::prelude::*;

    use super::*;

    /// Returns the fields by a stream parser, which never waits here.
    fn streamed(body: &[u8]) -> Option<Vec<(String, Option<String>)>> {
        let body = bytes::Bytes::copy_from_slice(body);
        let mut parts = multer::Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), "b");
        let read = async {
            let mut fields = Vec::new();
            while let Some(part) = parts.next_field().await.ok()? {
                let Some(name) = part.name().map(ToOwned::to_owned) else { continue };
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
            Input::Text(text) => Some(text.to_string()),
            _ => None,
        };
        fields(b"b", body).map(|all| all.into_iter().map(|(name, input)| (name.into_owned(), text(input))).collect())
    }

    #[test]
    fn parts_are_read_as_by_a_stream_parser() {
        let part = |head: &str, value: &str| format!("--b\r\n{head}\r\n\r\n{value}\r\n");
        let name = "Content-Disposition: form-data; name=\"a\"";
        for (body, count) in [
            (part(name, "x") + "--b--\r\n", 1),
            (part(name, "") + &part("content-disposition: form-data; name=c", "y\r\n--c") + "--b--", 2),
            (part("X: 1\r\nContent-Disposition: form-data; filename=\"a;b\"; name=\"q\\\"q\"", "file") + "--b--", 1),
            (part("Content-Type: text/plain", "nameless") + "--b--", 0),
            ("preamble".to_owned() + &part(name, "x") + "--b--epilogue", 1),
            ("--b--\r\n".to_owned(), 0),
        ] {
            let read = ours(body.as_bytes());
            assert_eq!(read, streamed(body.as_bytes()), "{body}");
            assert_eq!(read.map(|fields| fields.len()), Some(count), "{body}");
        }
        for broken in ["", "no parts", "--b", "--b\r\n", "--b\r\nX: 1\r\n\r\n", "--b\r\nX: 1\r\n\r\nvalue", "--bx"] {
            assert_eq!(ours(broken.as_bytes()), None, "{broken}");
            assert_eq!(streamed(broken.as_bytes()), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_as_by_a_stream_parser(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ours(&body);
        }

        #[test]
        fn any_values_are_read_as_by_a_stream_parser(values in prop::collection::vec("[ -~\r\n\u{e9}\u{1f642}]{0,20}", 0..4)) {
            let part = |value: &String| format!("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n{value}\r\n");
            let body = values.iter().map(part).collect::<Vec<_>>().concat() + "--b--\r\n";
            prop_assert_eq!(ours(body.as_bytes()), streamed(body.as_bytes()));
        }
    }
}
