//! Members of a claims set in two allocations: the JSON text, and a list of positions in it. A
//! server caches tens of thousands of tokens, and a dozen small allocations for each would cost
//! more than parsing them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::json::{self, ValueVisitor, are_unique};

/// Members of an object in their order, with unique names.
#[derive(Clone, Debug)]
pub(crate) struct ClaimsSet {
    /// JSON text, followed by the unescaped form of each string with escapes.
    text: String,
    members: Vec<(Span, Slot)>,
}

/// Start and end of a name or a value.
#[derive(Clone, Copy, Debug)]
struct Span(u16, u16);

#[derive(Clone, Debug)]
enum Slot {
    Number(Number),
    Other(Box<Value>),
    Text(Span),
}

/// Value of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member<'a> {
    Number(&'a Number),
    /// `null`, `true`, `false`, a list or an object.
    Other(&'a Value),
    Text(&'a str),
}

impl ClaimsSet {
    /// Returns the members of the JSON object in `bytes`. Returns `None` if it is not exactly one
    /// object with unique names, or if it is longer than any token.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut text = String::from_utf8(bytes).ok()?;
        let mut parser = serde_json::Deserializer::from_str(&text);
        let mut unescaped = String::new();
        let members = parser
            .deserialize_any(MembersVisitor(Reader {
                text: &text,
                unescaped: &mut unescaped,
            }))
            .ok()?;
        parser.end().ok()?;
        text.push_str(&unescaped);
        are_unique(members.iter().map(|(name, _)| Name(name.bytes(&text))))
            .then_some(Self { text, members })
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Member<'_>> {
        let name = Name(name.as_bytes());
        self.members.iter().find_map(|(other, slot)| {
            (Name(other.bytes(&self.text)) == name).then(|| self.member(slot))
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Member<'_>)> {
        self.members
            .iter()
            .map(|(name, slot)| (name.of(&self.text), self.member(slot)))
    }

    fn member<'a>(&'a self, slot: &'a Slot) -> Member<'a> {
        match slot {
            Slot::Number(number) => Member::Number(number),
            Slot::Other(value) => Member::Other(value),
            Slot::Text(span) => Member::Text(span.of(&self.text)),
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

    /// Returns the bytes, for comparisons, without a check for character boundaries.
    fn bytes(self, text: &str) -> &[u8] {
        text.as_bytes()
            .get(usize::from(self.0)..usize::from(self.1))
            .unwrap_or_default()
    }
}

/// Name with a fast comparison. Names often have equal lengths, but rarely equal first and last
/// bytes.
#[derive(Clone, Copy, Eq, Ord, PartialOrd)]
struct Name<'a>(&'a [u8]);

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.first() == other.0.first() && self.0.last() == other.0.last() && self.0 == other.0
    }
}

/// Parsed text, and the unescaped strings found so far.
struct Reader<'de, 'a> {
    text: &'de str,
    unescaped: &'a mut String,
}

impl Reader<'_, '_> {
    /// Returns the position of `part` in the text, or appends it to the unescaped strings if it is
    /// not a part of the text.
    fn place<E: Error>(&mut self, part: &str) -> Result<Span, E> {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let whole = offset
            .checked_add(part.len())
            .and_then(|end| self.text.as_bytes().get(offset..end));
        let start = if whole.is_some_and(|whole| std::ptr::eq(whole, part.as_bytes())) {
            offset
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

struct MembersVisitor<'de, 'a>(Reader<'de, 'a>);

impl<'de> Visitor<'de> for MembersVisitor<'de, '_> {
    type Value = Vec<(Span, Slot)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        // The number of members is at most one more than the number of commas.
        let max_members = 1 + self.0.text.bytes().filter(|byte| *byte == b',').count();
        let mut members = Vec::with_capacity(max_members);
        while let Some(json::Name(name)) = map.next_key()? {
            let name = self.0.place(&name)?;
            members.push((name, map.next_value_seed(SlotSeed(&mut self.0))?));
        }
        members.shrink_to_fit();
        Ok(members)
    }
}

/// Reader of a value. A string without escapes is kept as a position in the text.
struct SlotSeed<'de, 'a, 'b>(&'b mut Reader<'de, 'a>);

impl<'de> DeserializeSeed<'de> for SlotSeed<'de, '_, '_> {
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

impl<'de> Visitor<'de> for SlotSeed<'de, '_, '_> {
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
        assert!(members.get("unknown").is_none());
        Some(all)
    }

    #[test]
    fn members_equal_those_of_serde_json() {
        let text = r#" {"a":"b", "\u0062":"a\n", "" : "", "é":"€", "n":-1.5, "l":[{"x":"y"}], "o":{"z":null}, "t":true} "#;
        let Value::Object(theirs) = serde_json::from_str(text).unwrap() else {
            panic!("not an object")
        };
        let ours = parsed(text).unwrap();
        assert_eq!(ours.len(), theirs.len());
        assert!(
            ours.iter()
                .all(|(name, value)| theirs.get(name) == Some(value))
        );
    }

    #[test]
    fn text_longer_than_any_token_is_refused() {
        let text = |length| format!(r#"{{"long":"{}","\u0061fter":"here"}}"#, "x".repeat(length));
        assert_eq!(
            parsed(&text(65_000)).unwrap().last().unwrap(),
            &("after".to_owned(), "here".into())
        );
        assert!(parsed(&text(70_000)).is_none());
    }

    #[test]
    fn escaped_names_must_be_unique_too() {
        assert!(parsed(r#"{"a":1,"\u0061":2}"#).is_none());
        assert!(parsed(r#"{"a":{"b":1,"b":2}}"#).is_none());
    }
}
