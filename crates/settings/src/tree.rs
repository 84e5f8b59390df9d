//! A YAML file as a tree that knows where each of its values stands.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MessageFormatter as _, Spanned};

use crate::Place;
use crate::error::{Error, Report, Snippet};

/// A file that was read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Where something stands: which source, line and column from 1, length in characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) source: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) length: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    /// The text of a scalar as written, which a text field takes whatever it looks like.
    pub(crate) written: String,
    pub(crate) value: Value,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) spot: Spot,
    pub(crate) node: Node,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

impl Node {
    /// Reads a file; an empty one is a map without keys.
    pub(crate) fn parse(sources: &[Source], index: usize) -> Result<Self, Error> {
        let source = &sources[index];
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            with_snippet: false,
            emit_comments: false,
        };
        let raw = serde_saphyr::from_str_with_options::<Option<Raw>>(&source.text, options)
            .map_err(|error| {
                let message = serde_saphyr::DefaultMessageFormatter.format_message(&error);
                let spot = error.location().map(|location| spot_of(index, location));
                Error::Invalid(vec![report(sources, &source.path, spot, message.into_owned())])
            })?;
        let Some(raw) = raw else {
            let spot = Spot { source: index, line: 1, column: 1, length: 1 };
            return Ok(Self { spot, written: String::new(), value: Value::Map(Vec::new()) });
        };
        raw.place(sources, index)
    }

    /// Puts another file's tree over this one: maps are merged, anything else is replaced.
    pub(crate) fn overlay(&mut self, upper: Self) {
        match (&mut self.value, upper) {
            (Value::Map(lower), Self { value: Value::Map(upper), .. }) => {
                for entry in upper {
                    match lower.iter_mut().find(|known| known.key == entry.key) {
                        Some(known) => {
                            known.spot = entry.spot;
                            known.node.overlay(entry.node);
                        }
                        None => lower.push(entry),
                    }
                }
            }
            (Value::Map(_), Self { value: Value::Null, .. }) => {}
            (_, upper) => *self = upper,
        }
    }

    /// Where a key such as `scheduler.tasks[2].id` stands, or the nearest part that is written.
    pub(crate) fn find(&self, key: &str) -> Found {
        let mut found = Found { key: None, value: None, whole: true };
        let mut node = self;
        for step in key.split('.') {
            let (name, indexes) = step.split_once('[').unwrap_or((step, ""));
            let Value::Map(entries) = &node.value else { return found.partly() };
            let Some(entry) = entries.iter().find(|entry| entry.key == name) else {
                return found.partly();
            };
            node = &entry.node;
            found = Found { key: Some(entry.spot), value: Some(node.spot), whole: true };
            for index in indexes.split(['[', ']']).filter(|index| !index.is_empty()) {
                let Value::List(items) = &node.value else { return found.partly() };
                let Some(item) = index.parse().ok().and_then(|index: usize| items.get(index))
                else {
                    return found.partly();
                };
                node = item;
                found = Found { key: Some(item.spot), value: Some(item.spot), whole: true };
            }
        }
        found
    }
}

/// What was found of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    key: Option<Spot>,
    value: Option<Spot>,
    whole: bool,
}

impl Found {
    fn partly(self) -> Self {
        Self { whole: false, ..self }
    }

    /// Where the key itself stands, and not only a section around it.
    pub(crate) fn key(self) -> Option<Spot> {
        self.key.filter(|_| self.whole)
    }

    /// What to point at when the value is wrong: the value, or the section that leaves it out.
    pub(crate) fn value(self) -> Option<Spot> {
        if self.whole { self.value } else { self.key }
    }
}

/// A report with the line it is about.
pub(crate) fn report(
    sources: &[Source],
    file: &Path,
    spot: Option<Spot>,
    message: String,
) -> Report {
    let Some(spot) = spot else { return Report::about(file, message) };
    let source = &sources[spot.source];
    let text = source.text.lines().nth(spot.line.saturating_sub(1)).unwrap_or_default();
    let rest = text.chars().count().saturating_sub(spot.column.saturating_sub(1));
    Report {
        file: source.path.clone(),
        place: Some(place(sources, spot)),
        message,
        snippet: Some(Snippet {
            text: text.trim_end().to_owned(),
            length: spot.length.clamp(1, rest.max(1)),
        }),
    }
}

/// A spot as users see it.
pub(crate) fn place(sources: &[Source], spot: Spot) -> Place {
    Place { file: sources[spot.source].path.clone(), line: spot.line, column: spot.column }
}

fn spot_of(source: usize, location: Location) -> Spot {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
    Spot {
        source,
        line: number(location.line()),
        column: number(location.column()),
        length: number(location.span().len()),
    }
}

/// A value as the parser hands it over, before duplicate keys are looked for.
struct Raw(Spanned<RawValue>);

enum RawValue {
    Scalar(Value),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl Raw {
    fn place(self, sources: &[Source], index: usize) -> Result<Node, Error> {
        let location = self.0.defined;
        let spot = spot_of(index, location);
        let mut written = String::new();
        let value = match self.0.value {
            RawValue::Scalar(value) => {
                let span = location.span();
                let start = span.byte_offset().and_then(|n| usize::try_from(n).ok());
                let length = span.byte_len().and_then(|n| usize::try_from(n).ok());
                if let (Some(start), Some(length)) = (start, length) {
                    let text = &sources[index].text;
                    written = text.get(start..start + length).unwrap_or_default().to_owned();
                }
                value
            }
            RawValue::List(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| item.place(sources, index))
                    .collect::<Result<_, _>>()?,
            ),
            RawValue::Map(entries) => Value::Map(Self::entries(entries, sources, index)?),
        };
        Ok(Node { spot, written, value })
    }

    fn entries(
        raw: Vec<(Spanned<String>, Self)>,
        sources: &[Source],
        index: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::<Entry>::with_capacity(raw.len());
        for (key, value) in raw {
            let spot = spot_of(index, key.referenced);
            let key = key.value;
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let message = format!("duplicate key `{key}`, first on line {}", first.spot.line);
                let file = &sources[index].path;
                return Err(Error::Invalid(vec![report(sources, file, Some(spot), message)]));
            }
            let mut node = value.place(sources, index)?;
            if matches!(node.value, Value::Null) {
                // What is not written cannot be pointed at.
                node.spot = spot;
            }
            entries.push(Entry { key, spot, node });
        }
        Ok(entries)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Unsigned(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Signed(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}
