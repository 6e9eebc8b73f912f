//! The members of a claims set, in two pieces of memory: the JSON text, and a row of places in it. A server remembers
//! tokens by the ten thousand and forgets as many; a dozen small pieces for each would cost more than reading them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::json::{self, ValueVisitor, are_unique};

/// The members of an object, in order, each name once.
#[derive(Clone, Debug)]
pub(crate) struct ClaimsSet {
    /// The JSON text, and after it whatever was escaped in it, as it is meant.
    text: String,
    row: Vec<(Span, Slot)>,
}

/// Where a name or a value begins and ends.
#[derive(Clone, Copy, Debug)]
struct Span(u16, u16);

#[derive(Clone, Debug)]
enum Slot {
    Number(Number),
    Other(Box<Value>),
    Text(Span),
}

/// A member's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member<'a> {
    Number(&'a Number),
    /// `null`, `true`, `false`, a list, an object.
    Other(&'a Value),
    Text(&'a str),
}

impl ClaimsSet {
    /// The members of the JSON object in `bytes`, or `None` when it is anything else than one object of unique members, or
    /// longer than any token.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut text = String::from_utf8(bytes).ok()?;
        let mut parser = serde_json::Deserializer::from_str(&text);
        let mut unescaped = String::new();
        let row = parser
            .deserialize_any(RowVisitor(Reader {
                text: &text,
                unescaped: &mut unescaped,
            }))
            .ok()?;
        parser.end().ok()?;
        text.push_str(&unescaped);
        are_unique(row.iter().map(|(name, _)| Name(name.bytes(&text))))
            .then_some(Self { text, row })
    }

    pub(crate) fn len(&self) -> usize {
        self.row.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Member<'_>> {
        let name = Name(name.as_bytes());
        self.row.iter().find_map(|(other, held)| {
            (Name(other.bytes(&self.text)) == name).then(|| self.member(held))
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Member<'_>)> {
        self.row
            .iter()
            .map(|(name, held)| (name.of(&self.text), self.member(held)))
    }

    fn member<'a>(&'a self, held: &'a Slot) -> Member<'a> {
        match held {
            Slot::Number(number) => Member::Number(number),
            Slot::Other(value) => Member::Other(value),
            Slot::Text(place) => Member::Text(place.of(&self.text)),
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

impl Span {
    fn of(self, text: &str) -> &str {
        text.get(usize::from(self.0)..usize::from(self.1))
            .unwrap_or_default()
    }

    /// For comparing: whether a letter begins and ends there need not be asked.
    fn bytes(self, text: &str) -> &[u8] {
        text.as_bytes()
            .get(usize::from(self.0)..usize::from(self.1))
            .unwrap_or_default()
    }
}

/// A name for comparing: most are as long as others, and few begin and end alike.
#[derive(Clone, Copy, Eq, Ord, PartialOrd)]
struct Name<'a>(&'a [u8]);

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.first() == other.0.first() && self.0.last() == other.0.last() && self.0 == other.0
    }
}

/// The text that is read, and what has been found escaped in it.
struct Reader<'de, 'a> {
    text: &'de str,
    unescaped: &'a mut String,
}

impl Reader<'_, '_> {
    /// Where `part` stands in the text, of which it is a piece, or else behind it.
    fn place<E: Error>(&mut self, part: &str) -> Result<Span, E> {
        let there = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let whole = there
            .checked_add(part.len())
            .and_then(|end| self.text.as_bytes().get(there..end));
        let start = if whole.is_some_and(|whole| std::ptr::eq(whole, part.as_bytes())) {
            there
        } else {
            self.unescaped.push_str(part);
            self.text.len() + self.unescaped.len() - part.len()
        };
        match (u16::try_from(start), u16::try_from(start + part.len())) {
            (Ok(start), Ok(end)) => Ok(Span(start, end)),
            _ => Err(E::custom("longer than any token")),
        }
    }
}

struct RowVisitor<'de, 'a>(Reader<'de, 'a>);

impl<'de> Visitor<'de> for RowVisitor<'de, '_> {
    type Value = Vec<(Span, Slot)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self::Value, A::Error> {
        // One more than there are commas, unless some stand deeper.
        let most = 1 + self.0.text.bytes().filter(|byte| *byte == b',').count();
        let mut row = Vec::with_capacity(most);
        while let Some(json::Name(name)) = members.next_key()? {
            let name = self.0.place(&name)?;
            row.push((name, members.next_value_seed(HeldSeed(&mut self.0))?));
        }
        row.shrink_to_fit();
        Ok(row)
    }
}

/// A value, which is kept where it stands if it is text without an escape.
struct HeldSeed<'de, 'a, 'b>(&'b mut Reader<'de, 'a>);

impl<'de> DeserializeSeed<'de> for HeldSeed<'de, '_, '_> {
    type Value = Slot;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Slot, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn other<E>(value: Result<Value, E>) -> Result<Slot, E> {
    Ok(match value? {
        Value::Number(number) => Slot::Number(number),
        value => Slot::Other(Box::new(value)),
    })
}

impl<'de> Visitor<'de> for HeldSeed<'de, '_, '_> {
    type Value = Slot;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueVisitor.expecting(f)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Slot, E> {
        Ok(Slot::Other(Box::new(Value::Bool(value))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Slot, E> {
        Ok(Slot::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Slot, E> {
        Ok(Slot::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Slot, E> {
        other(ValueVisitor.visit_f64(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Slot, E> {
        self.0.place(value).map(Slot::Text)
    }

    fn visit_unit<E>(self) -> Result<Slot, E> {
        Ok(Slot::Other(Box::new(Value::Null)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Slot, A::Error> {
        other(ValueVisitor.visit_seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Slot, A::Error> {
        other(ValueVisitor.visit_map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Vec<(String, Value)>> {
        let members = ClaimsSet::parse(text.as_bytes().to_vec())?;
        assert_eq!(members.len(), members.iter().count());
        let all: Vec<_> = members
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_value()))
            .collect();
        for (name, value) in &all {
            assert_eq!(
                members.get(name).map(Member::to_value).as_ref(),
                Some(value)
            );
        }
        assert!(members.get("nobody's").is_none());
        Some(all)
    }

    #[test]
    fn members_are_what_they_mean_however_they_are_spelt() {
        let text = r#" {"a":"b", "\u0062":"a\n", "" : "", "é":"€", "n":-1.5, "l":[{"x":"y"}], "o":{"z":null}, "t":true} "#;
        let Value::Object(theirs) = serde_json::from_str(text).unwrap() else {
            panic!("an object is none")
        };
        let ours = parsed(text).unwrap();
        assert_eq!(ours.len(), theirs.len());
        assert!(
            ours.iter()
                .all(|(name, value)| theirs.get(name) == Some(value))
        );
    }

    #[test]
    fn what_is_longer_than_any_token_is_none() {
        let text = |length| format!(r#"{{"long":"{}","\u0061fter":"here"}}"#, "x".repeat(length));
        assert_eq!(
            parsed(&text(65_000)).unwrap().last().unwrap(),
            &("after".to_owned(), "here".into())
        );
        assert!(parsed(&text(70_000)).is_none());
    }

    #[test]
    fn names_are_unique_whatever_they_are_spelt_like() {
        assert!(parsed(r#"{"a":1,"\u0061":2}"#).is_none());
        assert!(parsed(r#"{"a":{"b":1,"b":2}}"#).is_none());
    }
}
