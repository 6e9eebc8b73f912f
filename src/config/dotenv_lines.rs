//! Parser of a `.env` file, which several programs share.
//!
//! Programs disagree about `$`, `\` and quotes inside a value. A setting is therefore accepted only
//! from a line that all of them read alike. Lines of other programs are skipped.

/// Part of the file that concerns Latchkey.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// Setting of Latchkey.
    Setting {
        /// Number of its first line, from 1.
        number: usize,
        /// Name.
        name: String,
        /// Value in a form that dotenvy reads, or the problem with it.
        value: Result<Value, Problem>,
    },
    /// Assignment to a name that is not a setting.
    Foreign(String),
    /// Line in the form of a setting, inside the quoted value of another program.
    Hidden(usize, String),
}

/// Value of a setting.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Value {
    /// Value without quotes.
    Plain(String),
    /// Value with its quotes and escapes.
    Quoted(String),
}

/// Reason to refuse a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Problem {
    /// Text after the closing quote.
    AfterQuote,
    /// `$` that some programs replace.
    Dollar,
    /// Escape that dotenvy does not support.
    Escape,
    /// Name without `=`.
    NoEquals,
    /// Bytes that are not UTF-8.
    NotText,
    /// NUL character, which no variable can hold.
    Nul,
    /// Quote or backslash that some programs remove.
    Special,
    /// Quote that is not closed.
    Unclosed,
}

impl Problem {
    /// Returns the fault and the remedy. The texts follow the number of the line and the name.
    pub(super) const fn texts(self) -> (&'static str, &'static str) {
        let literal = "the value in single quotes, such as NAME='value'";
        match self {
            Self::AfterQuote => ("has text after the closing quote", literal),
            Self::Dollar => (
                "has a $ outside single quotes, which some programs replace",
                "the value in single quotes, or \\$ in double quotes",
            ),
            Self::Escape => (
                "cannot be read, because of a backslash in double quotes",
                literal,
            ),
            Self::NoEquals => ("has no = after the name", "NAME=value"),
            Self::NotText => ("holds bytes that are not UTF-8", "text in UTF-8"),
            Self::Nul => ("holds a NUL character", "text without it"),
            Self::Special => (
                "has a quote or a backslash inside the value, which some programs remove",
                "the value in single quotes; if it has one, in double quotes with \\ before each $, \\ and \"",
            ),
            Self::Unclosed => ("has a quote that is not closed", literal),
        }
    }
}

/// Returns the entries of a file, in its order. Only the lines of settings must be UTF-8.
pub(super) fn entries(bytes: &[u8], is_setting: impl Fn(&str) -> bool) -> Vec<Entry> {
    let lines = lines(bytes);
    let (mut entries, mut at) = (Vec::new(), 0);
    while let Some(line) = lines.get(at) {
        let number = at + 1;
        let Some((name, raw)) = assignment(line) else {
            entries.extend(bare(line, &is_setting).map(|name| Entry::Setting {
                number,
                name,
                value: Err(Problem::NoEquals),
            }));
            at += 1;
            continue;
        };
        let end = end_of_value(&lines, at, raw);
        let last = end.unwrap_or(at);
        if is_setting(&name) {
            let rest = lines.get(at + 1..=last).unwrap_or_default();
            let value = value(raw, rest, end.is_some());
            entries.push(Entry::Setting {
                number,
                name,
                value,
            });
        } else {
            entries.extend(is_foreign_name(&name, raw).then_some(Entry::Foreign(name)));
            let inside = (at + 1..=last)
                .filter_map(|index| Some((index + 1, assignment(lines.get(index)?)?.0)));
            entries.extend(
                inside
                    .filter(|(_, name)| is_setting(name))
                    .map(|(number, name)| Entry::Hidden(number, name)),
            );
        }
        at = last + 1;
    }
    entries
}

/// Splits the file into lines at LF, CR LF and CR.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        lines.extend(
            line.strip_suffix(b"\r")
                .unwrap_or(line)
                .split(|byte| *byte == b'\r'),
        );
    }
    lines
}

/// Splits `NAME=value` or `export NAME=value`. Returns `None` for a comment or another line.
fn assignment(line: &[u8]) -> Option<(String, &[u8])> {
    let line = without_export(line.trim_ascii());
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (name, value) = line.split_at(at);
    if line.starts_with(b"#") {
        return None;
    }
    Some((
        String::from_utf8_lossy(name.trim_ascii()).into_owned(),
        value.get(1..)?.trim_ascii(),
    ))
}

fn without_export(line: &[u8]) -> &[u8] {
    match line.strip_prefix(b"export") {
        Some(rest) if rest.first().is_some_and(u8::is_ascii_whitespace) => rest.trim_ascii_start(),
        _ => line,
    }
}

/// Returns the setting at the start of a line without `=`. `export NAME` alone is not an error.
fn bare(line: &[u8], is_setting: impl Fn(&str) -> bool) -> Option<String> {
    let line = line.trim_ascii();
    let text = without_export(line);
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = text
        .iter()
        .position(|byte| !is_part(byte))
        .unwrap_or(text.len());
    let name = std::str::from_utf8(text.get(..end)?).ok()?;
    (is_setting(name) && !(end == text.len() && text.len() < line.len())).then(|| name.to_owned())
}

/// True if `name` is certainly the name of a variable. Other lines may be parts of a secret, so
/// they are not reported.
fn is_foreign_name(name: &str, raw: &[u8]) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    let starts = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts
        && name.len() <= 64
        && name.bytes().all(is_part)
        && !raw.is_empty()
        && !raw.starts_with(b"=")
}

/// Returns the index of the line on which a value ends. Returns `None` for a quote that is not
/// closed on its line, nor at the end of a later one.
fn end_of_value(lines: &[&[u8]], at: usize, raw: &[u8]) -> Option<usize> {
    let Some((quote @ (b'"' | b'\''), rest)) = raw.split_first() else {
        return Some(at);
    };
    if closing(rest, *quote).is_some() {
        return Some(at);
    }
    let (index, line, place) = lines
        .iter()
        .enumerate()
        .skip(at + 1)
        .find_map(|(index, line)| closing(line, *quote).map(|place| (index, line, place)))?;
    is_blank(line.get(place + 1..)?).then_some(index)
}

/// Returns the position of the first quote that no backslash escapes. Single quotes have no
/// escapes.
fn closing(text: &[u8], quote: u8) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = quote == b'"' && *byte == b'\\';
        *byte == quote
    })
}

/// True if `text` is empty, white space or a comment.
fn is_blank(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), None | Some(b'#'))
}

fn value(raw: &[u8], rest: &[&[u8]], is_closed: bool) -> Result<Value, Problem> {
    let mut bytes = raw.to_vec();
    for line in rest {
        bytes.push(b'\n');
        bytes.extend_from_slice(line);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::NotText)?;
    if text.contains('\0') {
        return Err(Problem::Nul);
    }
    match text.bytes().next() {
        Some(quote @ (b'"' | b'\'')) => quoted(text, quote, is_closed),
        _ => plain(text),
    }
}

fn quoted(text: &str, quote: u8, is_closed: bool) -> Result<Value, Problem> {
    let inside = text.get(1..).unwrap_or_default();
    let end = closing(inside.as_bytes(), quote)
        .filter(|_| is_closed)
        .ok_or(Problem::Unclosed)?;
    if !is_blank(inside.as_bytes().get(end + 1..).unwrap_or_default()) {
        return Err(Problem::AfterQuote);
    }
    if quote == b'"' && contains_dollar(inside.get(..end).unwrap_or_default()) {
        return Err(Problem::Dollar);
    }
    Ok(Value::Quoted(
        text.get(..end + 2).unwrap_or_default().to_owned(),
    ))
}

/// True if `text` contains a `$` without a backslash in front.
fn contains_dollar(text: &str) -> bool {
    let mut escaped = false;
    text.bytes().any(|byte| {
        let found = byte == b'$' && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })
}

fn plain(text: &str) -> Result<Value, Problem> {
    let comment = text.match_indices('#').map(|(at, _)| at).find(|at| {
        text.get(..*at)
            .is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    });
    let text = text
        .get(..comment.unwrap_or(text.len()))
        .unwrap_or_default()
        .trim();
    match text {
        text if text.contains('$') => Err(Problem::Dollar),
        text if text.contains(['\\', '"', '\'', '`']) => Err(Problem::Special),
        text => Ok(Value::Plain(text.to_owned())),
    }
}

#[cfg(test)]
#[path = "dotenv_lines_tests.rs"]
mod tests;
