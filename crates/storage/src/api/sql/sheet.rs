//! Rows as the server writes them, and in other forms. Pure.

use anyhow::Context as _;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::str::FromStr;

/// How rows are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// One document with columns and rows.
    #[default]
    Json,
    /// An object a line.
    Jsonl,
    /// A line with the names of the columns, and one for each row.
    Csv,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "jsonl" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            other => Err(format!("unknown format `{other}`, expected json, jsonl or csv")),
        }
    }
}

impl Format {
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// What the server answered, taken apart.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) names: Vec<String>,
    pub(super) types: Vec<String>,
    /// An array each.
    pub(super) rows: Vec<Box<RawValue>>,
}

impl Sheet {
    /// Reads `JSONCompactEachRowWithNamesAndTypes`, in which no line goes on in the next; `None` if
    /// it is something else. A statement without an answer has no columns.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let Some(names) = lines.next() else { return Some(Self::default()) };
        let names: Vec<String> = serde_json::from_str(names).ok()?;
        let types: Vec<String> = serde_json::from_str(lines.next()?).ok()?;
        let row = |line: &str| {
            let row = serde_json::from_str::<Box<RawValue>>(line).ok();
            row.filter(|row| row.get().starts_with('['))
        };
        let rows: Vec<Box<RawValue>> = lines.map(row).collect::<Option<_>>()?;
        (names.len() == types.len()).then_some(Self { names, types, rows })
    }
}

fn values(row: &RawValue) -> anyhow::Result<Vec<&RawValue>> {
    serde_json::from_str(row.get()).with_context(|| format!("read the row {}", row.get()))
}

/// An object a line.
pub(super) fn objects(names: &[String], rows: &[Box<RawValue>]) -> anyhow::Result<String> {
    let names: Vec<String> =
        names.iter().map(serde_json::to_string).collect::<serde_json::Result<_>>()?;
    let mut text = String::new();
    for row in rows {
        let values = values(row)?;
        let members = names.iter().zip(values);
        let members = members.map(|(name, value)| format!("{name}:{}", value.get()));
        text.push('{');
        text.push_str(&members.collect::<Vec<_>>().join(","));
        text.push_str("}\n");
    }
    Ok(text)
}

/// A header and a line for each row; what is null is empty.
///
/// Source: RFC 4180 §2, with the line ends of this host.
pub(super) fn records(names: &[String], rows: &[Box<RawValue>]) -> anyhow::Result<String> {
    let mut text = record(names.iter().map(|name| Cow::Borrowed(name.as_str())));
    for row in rows {
        text.push_str(&record(values(row)?.into_iter().map(plain)));
    }
    Ok(text)
}

/// A value without the quotes of JSON.
fn plain(value: &RawValue) -> Cow<'_, str> {
    match value.get() {
        "null" => Cow::Borrowed(""),
        text => serde_json::from_str::<String>(text).map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

fn record<'a>(values: impl Iterator<Item = Cow<'a, str>>) -> String {
    let quoted = |value: Cow<'a, str>| {
        if value.contains(['"', ',', '\n', '\r']) {
            Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
        } else {
            value
        }
    };
    let mut line = values.map(quoted).collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const ANSWER: &str = r#"["a", "b \"c\"", "d"]
["UInt64", "Nullable(String)", "Array(Decimal(38, 18))"]
[1, "x, \"y\"\nz", ["0.5","2"]]
[18446744073709551615, null, []]
"#;

    #[test]
    fn rows_are_written_in_every_form() {
        let Sheet { names, types, rows } = Sheet::read(ANSWER).unwrap();
        assert_eq!(types[0], "UInt64");
        expect![[r#"
            a,"b ""c""",d
            1,"x, ""y""
            z","[""0.5"",""2""]"
            18446744073709551615,,[]
        "#]]
        .assert_eq(&records(&names, &rows).unwrap());
        expect![[r#"
            {"a":1,"b \"c\"":"x, \"y\"\nz","d":["0.5","2"]}
            {"a":18446744073709551615,"b \"c\"":null,"d":[]}
        "#]]
        .assert_eq(&objects(&names, &rows).unwrap());
    }

    #[test]
    fn another_form_than_was_asked_for_is_told_from_an_empty_answer() {
        assert!(Sheet::read("").unwrap().names.is_empty());
        let head = "[\"a\"]\n[\"UInt8\"]\n";
        assert!(Sheet::read(head).unwrap().rows.is_empty());
        for other in ["1\n2\n", "a\tb\n", "[1, 2]\n[3, 4]\n", "[\"a\"]\n", "[\"a\"]\n[]\n"] {
            assert!(Sheet::read(other).is_none(), "{other}");
        }
        assert!(Sheet::read(&format!("{head}{{}}\n")).is_none());
    }
}
