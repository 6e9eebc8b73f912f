//! The members of a claims set, in two pieces of memory: the JSON text, and a row of places in it. A server remembers
//! tokens by the ten thousand and forgets as many; a dozen small pieces for each would cost more than reading them.

use std::fmt;

use serde::de::{Deserializer as _, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::json::{self, ValueVisitor, are_unique, duplicate};

/// As many as most tokens have at the most. A row of so many is not cut to measure.
const USUAL: usize = 12;

/// The members of an object, in order, each name once.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    text: String,
    row: Vec<(Text, Held)>,
}

/// A part of the JSON text, by where it begins and ends; or, where something in it is escaped, what it means.
#[derive(Clone, Debug)]
enum Text {
    Apart(Box<str>),
    Part(u16, u16),
}

#[derive(Clone, Debug)]
enum Held {
    Number(Number),
    Other(Box<Value>),
    Text(Text),
}

/// A member's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member<'a> {
    Number(&'a Number),
    /// `null`, `true`, `false`, a list, an object.
    Other(&'a Value),
    Text(&'a str),
}

impl Members {
    /// The members of the JSON object in `bytes`, or `None` when it is anything else than one object of unique members.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let mut parser = serde_json::Deserializer::from_str(&text);
        let row = parser.deserialize_any(RowVisitor(&text)).ok()?;
        parser.end().ok()?;
        Some(Self { text, row })
    }

    pub(crate) fn len(&self) -> usize {
        self.row.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Member<'_>> {
        self.row.iter().find_map(|(other, held)| (other.bytes(&self.text) == name.as_bytes()).then(|| self.member(held)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Member<'_>)> {
        self.row.iter().map(|(name, held)| (name.of(&self.text), self.member(held)))
    }

    fn member<'a>(&'a self, held: &'a Held) -> Member<'a> {
        match held {
            Held::Number(number) => Member::Number(number),
            Held::Other(value) => Member::Other(value),
            Held::Text(text) => Member::Text(text.of(&self.text)),
        }
    }
}

impl Member<'_> {
    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Number(number) => Value::Number(number.clone()),
            Self::Other(value) => value.clone(),
            Self::Text(text) => Value::String(text.to_owned()),
        }
    }
}

impl Text {
    /// Where `part` stands in `text`, if it is a piece of it.
    fn new(text: &str, part: &str) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        let place = || {
            let end = start.checked_add(part.len())?;
            text.get(start..end).filter(|there| *there == part)?;
            Some(Self::Part(start.try_into().ok()?, end.try_into().ok()?))
        };
        place().unwrap_or_else(|| Self::Apart(part.into()))
    }

    /// For comparing: whether a letter begins and ends there need not be asked.
    fn bytes<'a>(&'a self, text: &'a str) -> &'a [u8] {
        match self {
            Self::Apart(text) => text.as_bytes(),
            Self::Part(start, end) => {
                text.as_bytes().get(usize::from(*start)..usize::from(*end)).unwrap_or_default()
            }
        }
    }

    fn of<'a>(&'a self, text: &'a str) -> &'a str {
        match self {
            Self::Apart(text) => text,
            Self::Part(start, end) => text.get(usize::from(*start)..usize::from(*end)).unwrap_or_default(),
        }
    }
}

struct RowVisitor<'a>(&'a str);

impl<'de> Visitor<'de> for RowVisitor<'de> {
    type Value = Vec<(Text, Held)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without duplicate members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut row = Vec::with_capacity(USUAL);
        while let Some(json::Name(name)) = members.next_key()? {
            row.push((Text::new(self.0, &name), members.next_value_seed(HeldSeed(self.0))?));
        }
        if row.len() > USUAL {
            row.shrink_to_fit();
        }
        let names = row.iter().map(|(name, _)| name.bytes(self.0));
        if are_unique(names) { Ok(row) } else { Err(duplicate()) }
    }
}

/// A value, which is kept where it stands if it is text without an escape.
struct HeldSeed<'a>(&'a str);

impl<'de> serde::de::DeserializeSeed<'de> for HeldSeed<'de> {
    type Value = Held;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Held, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn other<E>(value: Result<Value, E>) -> Result<Held, E> {
    Ok(match value? {
        Value::Number(number) => Held::Number(number),
        value => Held::Other(Box::new(value)),
    })
}

impl<'de> Visitor<'de> for HeldSeed<'de> {
    type Value = Held;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueVisitor.expecting(f)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Held, E> {
        Ok(Held::Other(Box::new(Value::Bool(value))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Held, E> {
        Ok(Held::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Held, E> {
        Ok(Held::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Held, E> {
        other(ValueVisitor.visit_f64(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Held, E> {
        Ok(Held::Text(Text::new(self.0, value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Held, E> {
        Ok(Held::Text(Text::Apart(value.into())))
    }

    fn visit_unit<E>(self) -> Result<Held, E> {
        Ok(Held::Other(Box::new(Value::Null)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Held, A::Error> {
        other(ValueVisitor.visit_seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Held, A::Error> {
        other(ValueVisitor.visit_map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Vec<(String, Value)>> {
        let members = Members::parse(text.as_bytes().to_vec())?;
        assert_eq!(members.len(), members.iter().count());
        let all: Vec<_> = members.iter().map(|(name, value)| (name.to_owned(), value.to_value())).collect();
        for (name, value) in &all {
            assert_eq!(members.get(name).map(Member::to_value).as_ref(), Some(value));
        }
        assert!(members.get("nobody's").is_none());
        Some(all)
    }

    #[test]
    fn members_are_what_they_mean_however_they_are_spelt() {
        let text =
            r#" {"a":"b", "\u0062":"a\n", "" : "", "é":"€", "n":-1.5, "l":[{"x":"y"}], "o":{"z":null}, "t":true} "#;
        let Value::Object(theirs) = serde_json::from_str(text).unwrap() else { panic!("an object is none") };
        let ours = parsed(text).unwrap();
        assert_eq!(ours.len(), theirs.len());
        assert!(ours.iter().all(|(name, value)| theirs.get(name) == Some(value)));
    }

    #[test]
    fn a_text_that_is_longer_than_a_place_can_tell_is_kept_apart() {
        let long = "x".repeat(70_000);
        let text = format!(r#"{{"long":"{long}","after":"here"}}"#);
        assert_eq!(parsed(&text).unwrap(), [("long".to_owned(), long.into()), ("after".to_owned(), "here".into())]);
    }
}
