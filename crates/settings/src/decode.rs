//! From the tree to the typed configuration, with the place of every error.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};

use crate::suggest;
use crate::tree::{Entry, Node, Spot, Value};

/// A value that does not fit, and where it stands.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) message: String,
    pub(crate) spot: Option<Spot>,
    /// The key, from the innermost part outwards.
    path: Vec<String>,
    /// A key that is not known; the message is what was probably meant then.
    unknown: Option<String>,
}

impl Misfit {
    fn new(message: String) -> Self {
        Self { message, spot: None, path: Vec::new(), unknown: None }
    }

    /// Notes where it happened, unless something further in has.
    fn at(mut self, spot: Spot) -> Self {
        self.spot.get_or_insert(spot);
        self
    }

    fn within(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }

    /// The message with its key.
    pub(crate) fn text(&self) -> String {
        let mut key = String::new();
        for step in self.path.iter().rev() {
            if !key.is_empty() && !step.starts_with('[') {
                key.push('.');
            }
            key.push_str(step);
        }
        match &self.unknown {
            Some(unknown) if key.is_empty() => format!("unknown key `{unknown}`{}", self.message),
            Some(unknown) => format!("unknown key `{unknown}` in `{key}`{}", self.message),
            None if key.is_empty() => self.message.clone(),
            None => format!("`{key}`: {}", self.message),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", Wanted(expected), Given(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let list = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let hint = match suggest::nearest(variant, expected.iter().copied()) {
            Some((name, _)) => format!("; did you mean `{name}`?"),
            None => String::new(),
        };
        Self::new(format!("unknown value `{variant}`, expected one of {list}{hint}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing key `{field}`"))
    }
}

/// What a field wants, in users' words.
struct Wanted<'a>(&'a dyn Expected);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(match text.as_str() {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
            "i8" | "i16" | "i32" | "i64" => "a whole number",
            "f32" | "f64" => "a number",
            "a boolean" => "`true` or `false`",
            "a string" | "path string" => "text",
            "a sequence" => "a list",
            "a map" => "keys with values",
            other if other.starts_with("struct ") => "keys with values",
            other if other.starts_with("enum ") => "a name",
            other => other,
        })
    }
}

/// What was found, in users' words.
struct Given<'a>(Unexpected<'a>);

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "`{value}`"),
            Unexpected::Unsigned(value) => write!(f, "the number `{value}`"),
            Unexpected::Signed(value) => write!(f, "the number `{value}`"),
            Unexpected::Float(value) => write!(f, "the number `{value}`"),
            Unexpected::Str(value) => write!(f, "the text `{value}`"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("keys with values"),
            Unexpected::Unit | Unexpected::Option => f.write_str("nothing"),
            // The tree has no other kinds of values.
            Unexpected::Char(_)
            | Unexpected::Bytes(_)
            | Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => self.0.fmt(f),
        }
    }
}

impl Node {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Unsigned(value) => Unexpected::Unsigned(*value),
            Value::Signed(value) => Unexpected::Signed(*value),
            Value::Float(value) => Unexpected::Float(*value),
            Value::Text(value) => Unexpected::Str(value),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }

    fn refuse_unknown_keys(
        &self,
        entries: &[Entry],
        known: &'static [&'static str],
    ) -> Result<(), Misfit> {
        let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) else {
            return Ok(());
        };
        let key = &entry.key;
        let hint = match suggest::nearest_key(key, known) {
            Some(meant) => format!("; did you mean {meant}?"),
            None => String::new(),
        };
        Err(Misfit { unknown: Some(key.clone()), ..Misfit::new(hint).at(entry.spot) })
    }

    fn any<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_str(value),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Value::Map(entries) => {
                visitor.visit_map(Entries { entries: entries.iter(), current: None })
            }
        }
    }
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.any(visitor).map_err(|misfit| misfit.at(self.spot))
    }

    /// Text is taken as written: a symbol `1000` or a name `on` is no number and no boolean here.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Value::Bool(_) | Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) => {
                visitor.visit_str(&self.written).map_err(|misfit: Misfit| misfit.at(self.spot))
            }
            Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                self.deserialize_any(visitor)
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if matches!(self.value, Value::Null) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// A section whose keys are all commented out is an empty one.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let entries: &[Entry] = if let Value::Map(entries) = &self.value {
            entries
        } else if matches!(self.value, Value::Null) {
            &[]
        } else {
            let misfit: Misfit = de::Error::invalid_type(self.unexpected(), &visitor);
            return Err(misfit.at(self.spot));
        };
        self.refuse_unknown_keys(entries, fields)?;
        visitor
            .visit_map(Entries { entries: entries.iter(), current: None })
            .map_err(|misfit| misfit.at(self.spot))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if matches!(self.value, Value::Text(_)) {
            visitor.visit_enum(Name(self))
        } else {
            Err(de::Error::invalid_type(self.unexpected(), &visitor))
        }
        .map_err(|misfit: Misfit| misfit.at(self.spot))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(node)
            .map(Some)
            .map_err(|misfit| misfit.at(node.spot).within(format!("[{index}]")))
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        self.current = self.entries.next();
        let Some(entry) = self.current else { return Ok(None) };
        seed.deserialize(entry.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|misfit: Misfit| misfit.at(entry.spot))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Misfit> {
        let entry = self.current.ok_or_else(|| Misfit::new("value without key".to_owned()))?;
        seed.deserialize(&entry.node)
            .map_err(|misfit| misfit.at(entry.node.spot).within(entry.key.clone()))
    }
}

struct Name<'a>(&'a Node);

impl<'de> EnumAccess<'de> for Name<'_> {
    type Error = Misfit;
    type Variant = Unit;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Unit), Misfit> {
        Ok((seed.deserialize(self.0)?, Unit))
    }
}

/// A name has nothing beside it.
struct Unit;

impl<'de> VariantAccess<'de> for Unit {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Misfit> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"a name with a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Misfit> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &visitor))
    }
}
