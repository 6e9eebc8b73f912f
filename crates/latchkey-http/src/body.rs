//! Request bodies: JSON, forms and multipart forms, limited in size and time. Copies of a body are
//! wiped.

mod charset;
mod form;
mod multipart;
mod parameters;
mod text;
mod wiped;

use std::{borrow::Cow, fmt, mem, sync::Arc};

use actix_web::{
    HttpRequest,
    dev::Payload,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName},
};
use futures_util::StreamExt as _;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{error::Category, value::RawValue};

use self::{
    charset::Charset, form::form, multipart::multipart, parameters::parameter, text::unescaped,
    wiped::ZeroizingBody,
};
use super::{connection::Connection, error::HttpError, fields::RawField, state::HttpSettings};

/// Unchecked fields of a body.
pub(super) struct Data(Vec<(Cow<'static, str>, RawField)>);

impl Data {
    /// Reads the body. An empty body has no fields, regardless of its content type.
    pub(super) async fn read(
        request: &HttpRequest,
        payload: Payload,
        limits: &HttpSettings,
    ) -> Result<Self, HttpError> {
        let body = tokio::time::timeout(
            limits.body_timeout,
            collect(request, payload, limits.body_limit),
        )
        .await
        .map_err(|_| HttpError::BodyTooSlow)??;
        let body = body.as_slice();
        if body.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let headers = request.headers();
        // Fast path: the most frequent header needs no parsing.
        if is_plain_json(headers) {
            return json(body, Charset::UTF_8);
        }
        // Compressed bodies are refused: a small body could expand to a large one.
        let encoding = joined(headers, &CONTENT_ENCODING);
        if !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")) {
            return Err(HttpError::UnsupportedMediaType(encoding));
        }
        let content_type = joined(headers, &CONTENT_TYPE);
        let essence = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match (essence.as_str(), Charset::of(&content_type)) {
            ("application/json", Some(charset)) => json(body, charset),
            ("application/x-www-form-urlencoded", Some(charset)) if charset.fits_forms() => {
                Ok(form(body, charset))
            }
            ("multipart/form-data", Some(charset)) if charset.fits_forms() => {
                let boundary =
                    parameter(&content_type, "boundary").filter(|boundary| is_boundary(boundary));
                let boundary =
                    boundary.ok_or(HttpError::Multipart("Invalid boundary in multipart: None"))?;
                multipart(&boundary, charset, body)
            }
            _ => Err(HttpError::UnsupportedMediaType(content_type)),
        }
    }

    /// Takes the value of a field. The last of several fields with the same name counts.
    pub(super) fn take(&mut self, name: &str) -> RawField {
        self.0
            .iter_mut()
            .rfind(|(known, _)| known == name)
            .map_or(RawField::Missing, |(_, value)| {
                mem::replace(value, RawField::Missing)
            })
    }
}

async fn collect(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
) -> Result<ZeroizingBody, HttpError> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit))
    {
        return Err(HttpError::BodyTooLarge);
    }
    let connection = request.conn_data::<Arc<Connection>>();
    if let Some(connection) = connection {
        connection.note_body_wanted();
    }
    let mut body = ZeroizingBody::default();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| HttpError::BadRequest)?;
        if body.as_slice().len() + chunk.len() > limit {
            return Err(HttpError::BodyTooLarge);
        }
        body.push(chunk);
    }
    if let Some(connection) = connection {
        connection.note_body_read();
    }
    Ok(body)
}

/// Returns true for one `Content-Type: application/json` without parameters, and no
/// `Content-Encoding`.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE);
    types
        .next()
        .is_some_and(|value| value == "application/json")
        && types.next().is_none()
        && !headers.contains_key(CONTENT_ENCODING)
}

/// Returns the values of a header as one list (RFC 9110, section 5.3). Several media types are
/// therefore refused, because a proxy may have used another one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers
        .get_all(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    values.join(", ")
}

/// Returns true for a valid boundary (RFC 2046, section 5.1.1), with Django's higher limit.
fn is_boundary(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !text.ends_with(' ')
}

fn json(body: &[u8], charset: Charset) -> Result<Data, HttpError> {
    let wrong = || HttpError::Json(format!("the body is not {}", charset.name()));
    if !charset.is_utf_8() {
        return members(&charset.decode(body).ok_or_else(wrong)?);
    }
    members(std::str::from_utf8(body).map_err(|_| wrong())?)
}

fn members(text: &str) -> Result<Data, HttpError> {
    if text.starts_with('\u{feff}') {
        return Err(HttpError::Json(
            "the body begins with a byte-order mark".to_owned(),
        ));
    }
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if matches!(kind(start), Kind::Object) {
        let members: Members =
            serde_json::from_str(text).map_err(|error| HttpError::Json(describe(&error)))?;
        return Ok(Data(members.0));
    }
    let whole: &RawValue =
        serde_json::from_str(text).map_err(|error| HttpError::Json(describe(&error)))?;
    let whole = whole.get();
    Err(match kind(whole) {
        Kind::Array => HttpError::InvalidData("list"),
        Kind::Bool => HttpError::InvalidData("bool"),
        Kind::Number if is_integer(whole) => HttpError::InvalidData("int"),
        Kind::Number => HttpError::InvalidData("float"),
        Kind::Null | Kind::Object => HttpError::NoData,
        Kind::Text => HttpError::InvalidData("str"),
    })
}

/// Members of an object, read in one pass. There are one or two, so no hash table is needed.
struct Members(Vec<(Cow<'static, str>, RawField)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(2);
        while let Some((Name(name), raw)) = access.next_entry::<Name, &RawValue>()? {
            members.push((name, input(raw.get())));
        }
        Ok(Members(members))
    }
}

/// Name of a field. Known names need no allocation.
struct Name(Cow<'static, str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let known = ["token", "refresh", "username", "password"]
            .into_iter()
            .find(|known| *known == name);
        Ok(Name(known.map_or_else(
            || Cow::Owned(name.to_owned()),
            Cow::Borrowed,
        )))
    }
}

/// Describes a JSON error and its position. The parser's own text is not sent to clients.
fn describe(error: &serde_json::Error) -> String {
    let fault = match error.classify() {
        Category::Eof => "the text ends too early",
        Category::Data | Category::Io | Category::Syntax => "this is not JSON",
    };
    format!("{fault}: line {} column {}", error.line(), error.column())
}

enum Kind {
    Array,
    Bool,
    Null,
    Number,
    Object,
    Text,
}

fn kind(raw: &str) -> Kind {
    match raw.bytes().next() {
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

fn is_integer(raw: &str) -> bool {
    !raw.contains(['.', 'e', 'E'])
}

fn input(raw: &str) -> RawField {
    match kind(raw) {
        Kind::Array | Kind::Bool | Kind::Object => RawField::NotText,
        Kind::Null => RawField::Null,
        Kind::Number => RawField::Text(number(raw).into()),
        // Without an escape, the text between the quotes is the value.
        Kind::Text if !raw.contains('\\') => RawField::Text(
            raw.get(1..raw.len() - 1)
                .unwrap_or_default()
                .to_owned()
                .into(),
        ),
        // The parser has checked the syntax. Only a lone surrogate can be invalid.
        Kind::Text => unescaped(raw).map_or_else(RawField::LoneSurrogate, RawField::Text),
    }
}

/// Returns the text of a number as Python prints it. A number too large for a float is `inf`.
fn number(raw: &str) -> String {
    if is_integer(raw) {
        return if raw == "-0" {
            "0".to_owned()
        } else {
            raw.to_owned()
        };
    }
    raw.parse::<f64>()
        .map_or_else(|_| raw.to_owned(), |number| format!("{number:?}"))
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
