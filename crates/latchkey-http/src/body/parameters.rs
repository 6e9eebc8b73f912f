//! Parameters of a header value (RFC 9110, section 5.6.6), such as `boundary`, `charset` and
//! `name`.

/// Returns the value of a parameter, with or without quotes. The last of several with the same name
/// counts, as in Django.
pub(super) fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    let mut found = None;
    while let Some(at) = rest.find(['=', ';']) {
        let (name, after) = rest.split_at(at);
        let Some(after) = after.strip_prefix('=') else {
            // The parameter has no value.
            rest = after.get(1..).unwrap_or_default();
            continue;
        };
        let after = after.trim_start();
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let (value, next) = after.split_at(after.find([';', ' ', '\t']).unwrap_or(after.len()));
            (value.to_owned(), next)
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            found = Some(value);
        }
        rest = next.split_once(';').map_or("", |(_, next)| next);
    }
    found
}

/// Returns the text up to the closing quote, and the rest. Browsers escape a quote as `\"` or
/// `%22`, and the latter is left as it is.
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
    use super::parameter;

    #[test]
    fn last_parameter_with_the_name_counts() {
        for (header, value) in [
            ("a/b", None),
            ("a/b; charset", None),
            ("a/b; charset=x", Some("x")),
            ("a/b;x;CHARSET = \"x y\" ;z=1", Some("x y")),
            ("a/b; charset=x; charset=\"y\"", Some("y")),
            ("a/b; v=\"charset=x\"", None),
            ("a/b; v=\"\\\"; charset=x\"; charset=y", Some("y")),
            ("a/b; charset=\"x", None),
            ("a/b; charset==_x=", Some("=_x=")),
        ] {
            assert_eq!(parameter(header, "charset").as_deref(), value, "{header}");
        }
    }
}
