//! JSON objects without duplicate members.
//!
//! `serde_json` keeps the last of two members with the same name, and other parsers keep the first.
//! A token with both would therefore be interpreted differently (RFC 7515, section 4; RFC 8725,
//! section 2.6), so duplicates are refused at any depth.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Members of an object in their order, with unique names.
pub(crate) type Object = Vec<(String, Value)>;

/// Returns the members of the JSON object in `bytes`, or `None` if it is not exactly one object
/// with unique names.
pub(crate) fn object(bytes: &[u8]) -> Option<Object> {
    parse(bytes, ObjectVisitor)
}

/// Parses the JSON text in `bytes` with `visitor`. Returns `None` if it is not valid JSON or if the
/// visitor refuses it.
pub(crate) fn parse<'a, V: Visitor<'a>>(bytes: &'a [u8], visitor: V) -> Option<V::Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    // serde_json skips white space before a value, but not a byte order mark, which is an error
    // here as required.
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = parser.deserialize_any(visitor).ok()?;
    parser.end().ok()?;
    Some(value)
}

/// Maximum number of names that are compared pairwise. More are sorted: they are not authenticated
/// yet, and eight kilobytes of names would take too long.
const MAX_PAIRWISE: usize = 16;

/// Returns true if `names` are unique.
pub(crate) fn are_unique<T: Ord>(names: impl ExactSizeIterator<Item = T> + Clone) -> bool {
    if names.len() > MAX_PAIRWISE {
        let mut sorted: Vec<_> = names.collect();
        sorted.sort_unstable();
        return sorted
            .iter()
            .zip(sorted.iter().skip(1))
            .all(|(name, next)| name != next);
    }
    let mut remaining = names;
    while let Some(name) = remaining.next() {
        if remaining.clone().any(|other| other == name) {
            return false;
        }
    }
    true
}

pub(crate) fn duplicate<E: Error>() -> E {
    E::custom("duplicate member")
}

/// Name of a member. It borrows from the JSON text unless it has escapes.
pub(crate) struct Name<'de>(pub Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

/// Visitor of an object at the top level, which keeps the order of the members.
struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without duplicate members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
        let mut row = Vec::new();
        while let Some(name) = members.next_key()? {
            row.push((name, members.next_value_seed(ValueSeed)?));
        }
        if are_unique(row.iter().map(|(name, _): &(String, _)| &**name)) {
            Ok(row)
        } else {
            Err(duplicate())
        }
    }
}

struct ValueSeed;

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

pub(crate) struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(ValueSeed)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map
                .insert(name, members.next_value_seed(ValueSeed)?)
                .is_some()
            {
                return Err(duplicate());
            }
        }
        Ok(Value::Object(map))
    }
}

/// Reader of a value that keeps only strings. It is as strict as a full parser:
/// `serde::de::IgnoredAny` would accept lone surrogates, unlimited nesting and duplicate members.
pub(crate) struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        if value.is_finite() {
            Ok(None)
        } else {
            Err(E::custom("not a finite number"))
        }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            members.next_value_seed(Self)?;
            names.push(name.0);
        }
        if are_unique(names.iter().map(|name| &**name)) {
            Ok(None)
        } else {
            Err(duplicate())
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
