//! Reading JSON in which no object names a key twice: readers disagree on which of the two counts,
//! so a fingerprint over such a text would mean different things to different services.

use hapax_core::Invalid;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// The value of a JSON text.
pub(super) fn parse(text: &[u8]) -> Result<Value, Invalid> {
    serde_json::from_slice::<Unique>(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Invalid::new("body", "an object names a key twice"),
        _ => Invalid::new("body", "not json, or nested too deep"),
    })?;
    serde_json::from_slice(text).map_err(|_| Invalid::new("body", "not json"))
}

/// Accepts any JSON whose objects have distinct keys, and keeps nothing of it.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

macro_rules! accept {
    ($($visit:ident($type:ty)),+) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self, E> {
            Ok(self)
        })+
    };
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("json with distinct keys")
    }

    accept!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(serde::de::Error::custom("a key twice"));
            }
            members.next_value::<Self>()?;
        }
        Ok(self)
    }
}
