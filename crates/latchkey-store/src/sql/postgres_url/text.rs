//! Splits the URL of a Postgres database into parameters, like libpq.

use percent_encoding::percent_decode_str;

use crate::sql::DatabaseUrlError;

/// Names and values in the order of the URL. The last value of a name counts.
pub(super) type Parameters = Vec<(String, Vec<u8>)>;

/// Splits `USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?NAME=VALUE&…`. Each part is optional.
pub(super) fn split(text: &str) -> Result<Parameters, DatabaseUrlError> {
    let mut all = Vec::new();
    let authority = text.find('/').unwrap_or(text.len());
    let (login, rest) = match text.get(..authority).and_then(|text| text.find('@')) {
        Some(at) => (text.get(..at), text.get(at + 1..).unwrap_or_default()),
        None => (None, text),
    };
    let (place, query) = rest
        .split_once('?')
        .map_or((rest, None), |(place, query)| (place, Some(query)));
    // The part after `@` may be the rest of a password.
    if place.contains('@') {
        return Err(DatabaseUrlError::Unescaped);
    }
    let (hosts, database) = place
        .split_once('/')
        .map_or((place, None), |(hosts, name)| (hosts, Some(name)));
    if let Some(login) = login {
        let (user, password) = login
            .split_once(':')
            .map_or((login, None), |(user, word)| (user, Some(word)));
        push(&mut all, "user", user)?;
        push(&mut all, "password", password.unwrap_or_default())?;
    }
    let (names, ports) = split_hosts(hosts)?;
    push(&mut all, "host", &names)?;
    push(&mut all, "port", &ports)?;
    push(&mut all, "dbname", database.unwrap_or_default())?;
    for parameter in query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|text| !text.is_empty())
    {
        match parameter.split_once('=') {
            Some((name, value)) if !value.contains('=') => {
                let name =
                    String::from_utf8(decode(name)?).map_err(|_| DatabaseUrlError::Parameter)?;
                all.push((name, decode(value)?));
            }
            _ => return Err(DatabaseUrlError::Syntax),
        }
    }
    Ok(all)
}

/// Returns the names and the ports of `HOST:PORT,[ADDRESS]:PORT` in the form of the parameters
/// `host` and `port`.
fn split_hosts(text: &str) -> Result<(String, String), DatabaseUrlError> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in text.split(',') {
        let (name, port) = match host.strip_prefix('[').map(|host| host.split_once(']')) {
            Some(Some((name, ""))) => (name, ""),
            Some(Some((name, port))) => (
                name,
                port.strip_prefix(':')
                    .ok_or(DatabaseUrlError::Value("host", ADDRESS))?,
            ),
            Some(None) => return Err(DatabaseUrlError::Value("host", ADDRESS)),
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(name);
        ports.push(port);
    }
    let ports = if ports.iter().all(|port| port.is_empty()) {
        String::new()
    } else {
        ports.join(",")
    };
    Ok((names.join(","), ports))
}

const ADDRESS: &str = "names, or IPv6 addresses in brackets, as in [::1]:5432";

fn push(all: &mut Parameters, name: &str, value: &str) -> Result<(), DatabaseUrlError> {
    if !value.is_empty() {
        all.push((name.to_owned(), decode(value)?));
    }
    Ok(())
}

fn decode(text: &str) -> Result<Vec<u8>, DatabaseUrlError> {
    let is_escape = |rest: &str| {
        rest.as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return Err(DatabaseUrlError::Escape);
    }
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    if bytes.contains(&0) {
        Err(DatabaseUrlError::Escape)
    } else {
        Ok(bytes)
    }
}
