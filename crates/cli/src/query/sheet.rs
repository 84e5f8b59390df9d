//! Rows as text in each format. Pure.

mod tardis;

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use comfy_table::Cell;
use model::Kind;
use serde_json::value::RawValue;

use crate::{output, when};

/// What the storage adds to an event: the block that brought it, by its place in the stream.
const STREAM_SEQ: &str = "stream_seq";

/// Fields that a table of one stream leaves out: they are the same in every row.
const CONSTANT: &[&str] = &["v", "kind", "venue", "market", "symbol", "instrument"];

/// Forms of text that rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Table,
    Json,
    Jsonl,
    Csv,
    Tardis,
}

/// A row: its fields as they came.
type Row = BTreeMap<String, Box<RawValue>>;

/// Writes rows in one format.
pub(super) struct Sheet {
    format: Text,
    kind: Kind,
    /// The columns; for JSON empty if every field is wanted.
    fields: Vec<String>,
    /// What stands before the rows.
    header: String,
    lines: tardis::Lines,
    written: u64,
    /// The rows of a table, which is laid out at the end.
    kept: Vec<Row>,
    chosen: bool,
}

impl Sheet {
    /// An empty sheet.
    ///
    /// # Errors
    ///
    /// If a field is wanted that the kind does not have, or the format does not have the kind.
    pub(super) fn new(format: Text, kind: Kind, wanted: &[String]) -> anyhow::Result<Self> {
        let mut known = openapi::member_names(kind);
        known.push(STREAM_SEQ);
        if let Some(field) = wanted.iter().find(|field| !known.contains(&field.as_str())) {
            bail!("{kind} has no field `{field}`, but {}", known.join(", "));
        }
        let chosen = !wanted.is_empty();
        if chosen && format == Text::Tardis {
            bail!("--format tardis has columns of its own: leave out --fields");
        }
        let fields: Vec<String> = match format {
            Text::Csv | Text::Table if !chosen => known.into_iter().map(str::to_owned).collect(),
            Text::Csv | Text::Table | Text::Json | Text::Jsonl | Text::Tardis => wanted.to_vec(),
        };
        let header = match format {
            Text::Json => "[".to_owned(),
            Text::Csv => record(fields.iter().cloned()),
            Text::Tardis => tardis::header(kind)?.to_owned(),
            Text::Table | Text::Jsonl => String::new(),
        };
        let lines = tardis::Lines::default();
        Ok(Self { format, kind, fields, header, lines, written: 0, kept: Vec::new(), chosen })
    }

    /// Whether it is for a person.
    pub(super) fn is_table(&self) -> bool {
        self.format == Text::Table
    }

    /// Goes on behind so many rows that are written already.
    pub(super) const fn go_on(&mut self, rows: u64) {
        self.written = rows;
    }

    /// What stands before the rows.
    pub(super) fn begin(&self) -> &str {
        &self.header
    }

    /// Some rows more.
    ///
    /// # Errors
    ///
    /// If a row is none, or has what the header of a CSV file lacks.
    pub(super) fn page(&mut self, rows: &[Box<RawValue>]) -> anyhow::Result<String> {
        let mut text = String::new();
        for row in rows {
            match self.format {
                Text::Json => {
                    text.push_str(if self.written == 0 { "\n" } else { ",\n" });
                    text.push_str(&self.object(row)?);
                }
                Text::Jsonl => {
                    text.push_str(&self.object(row)?);
                    text.push('\n');
                }
                Text::Csv => text.push_str(&self.line(&read(row)?)?),
                Text::Tardis => self.lines.append(row, &mut text)?,
                Text::Table => self.kept.push(read(row)?),
            }
            self.written += 1;
        }
        Ok(text)
    }

    /// What stands behind the rows.
    pub(super) fn end(&mut self) -> String {
        match self.format {
            Text::Json => "\n]\n".to_owned(),
            Text::Table if !self.kept.is_empty() => format!("{}\n", self.table()),
            Text::Table | Text::Jsonl | Text::Csv | Text::Tardis => String::new(),
        }
    }

    /// The row as it came, or the fields that are wanted of it.
    fn object(&self, row: &RawValue) -> anyhow::Result<String> {
        if !self.chosen {
            return Ok(row.get().to_owned());
        }
        let row = read(row)?;
        let member = |field: &String| Some(format!("\"{field}\":{}", row.get(field)?.get()));
        let members: Vec<String> = self.fields.iter().filter_map(member).collect();
        Ok(format!("{{{}}}", members.join(",")))
    }

    fn line(&self, row: &Row) -> anyhow::Result<String> {
        let is_new = |field: &&String| !self.fields.contains(*field);
        if let Some(field) = row.keys().find(is_new).filter(|_| !self.chosen) {
            bail!(
                "a row has the field `{field}`, which this version does not know: name the fields \
                 with --fields, or use --format jsonl"
            );
        }
        let value = |field: &String| row.get(field).map(|value| text(value)).unwrap_or_default();
        Ok(record(self.fields.iter().map(value)))
    }

    fn table(&mut self) -> String {
        let rows = std::mem::take(&mut self.kept);
        let is_shown = |field: &&String| {
            let is_constant = self.kind != Kind::Gap && CONSTANT.contains(&field.as_str());
            let is_there = rows.iter().any(|row| row.contains_key(*field));
            let is_for_programs = ["v", "kind", STREAM_SEQ].contains(&field.as_str());
            self.chosen || (is_there && !is_constant && !is_for_programs)
        };
        let shown: Vec<&String> = self.fields.iter().filter(is_shown).collect();
        let header: Vec<String> = shown.iter().map(|field| field.to_uppercase()).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut table = output::new_table(&header);
        for row in &rows {
            let value = |field: &&String| row.get(*field).map(|value| &**value);
            let cell = |field: &&String| Cell::new(shown_text(field, value(field)));
            table.add_row::<Vec<Cell>>(shown.iter().map(cell).collect());
        }
        output::render(table)
    }
}

fn read(row: &RawValue) -> anyhow::Result<Row> {
    serde_json::from_str(row.get()).with_context(|| format!("read the row {}", row.get()))
}

/// A value without the quotes of JSON.
pub(crate) fn text(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// A value for a person: times are written out, levels counted.
fn shown_text(field: &str, value: Option<&RawValue>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let is_time = field.ends_with("_time") || field == "since" || field == "until";
    if let (true, Ok(nanos)) = (is_time, value.get().parse::<i64>()) {
        return when::text(nanos);
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(value.get()) {
        Ok(levels) => format!("{} levels", levels.len()),
        Err(_) => text(value),
    }
}

/// One line of a CSV file.
///
/// Source: RFC 4180 §2, with the line ends of this host.
pub(crate) fn record(values: impl Iterator<Item = String>) -> String {
    let quote = |value: String| quoted(&value).into_owned();
    let mut line = values.map(quote).collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

/// A value of such a line, in quotes if it needs them.
fn quoted(value: &str) -> Cow<'_, str> {
    if value.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use model::{
        Body, Event, Gap, GapState, InstrumentId, Liquidation, Market, Origin, Side, Symbol, Trade,
        Venue,
    };
    use std::sync::Arc;
    use units::UnixNanos;

    fn row(body: Body) -> Box<RawValue> {
        let event = Event {
            instrument: Arc::new(InstrumentId {
                venue: Venue::Binance,
                market: Market::Spot,
                symbol: Symbol::new("BTC-USDT").unwrap(),
                name: Arc::from("BTCUSDT"),
            }),
            venue_time: Some(UnixNanos::new(1_778_284_800_000_000_000)),
            recv_time: UnixNanos::new(1_778_284_800_000_001_000),
            origin: Some(Origin::Rest),
            body,
        };
        let mut json = Vec::new();
        wire::encode(&event, &mut json);
        json.pop();
        // As the storage has it.
        let json = String::from_utf8(json).unwrap() + ",\"stream_seq\":9}";
        RawValue::from_string(json).unwrap()
    }

    fn trade(seq: u64) -> Box<RawValue> {
        row(Body::AggTrade(Trade {
            seq,
            trade_id: Arc::from("a,\"b\""),
            price: "64000.10".parse().unwrap(),
            qty: "0.00000001".parse().unwrap(),
            side: Side::Buy,
            id_range: Some((1, 2)),
            count: Some(3),
            liquidation: None,
            block: true,
        }))
    }

    fn written(format: Text, fields: &[&str], pages: &[&[Box<RawValue>]]) -> String {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let mut sheet = Sheet::new(format, Kind::AggTrade, &fields).unwrap();
        let mut text = sheet.begin().to_owned();
        for page in pages {
            text.push_str(&sheet.page(page).unwrap());
        }
        text + &sheet.end()
    }

    fn check(format: Text, fields: &[&str], expected: Expect) {
        expected.assert_eq(&written(format, fields, &[&[trade(1)], &[], &[trade(2)]]));
    }

    #[test]
    fn a_csv_file_has_a_column_for_every_field_and_quotes_what_needs_it() {
        check(
            Text::Csv,
            &[],
            expect![[r#"
                v,kind,venue,market,symbol,instrument,venue_time,recv_time,origin,seq,trade_id,price,qty,side,first_id,last_id,count,liquidation,block,stream_seq
                1,agg_trade,binance,spot,BTC-USDT,BTCUSDT,1778284800000000000,1778284800000001000,rest,1,"a,""b""",64000.1,0.00000001,buy,1,2,3,,true,9
                1,agg_trade,binance,spot,BTC-USDT,BTCUSDT,1778284800000000000,1778284800000001000,rest,2,"a,""b""",64000.1,0.00000001,buy,1,2,3,,true,9
            "#]],
        );
        check(
            Text::Csv,
            &["price", "seq"],
            expect![[r#"
            price,seq
            64000.1,1
            64000.1,2
        "#]],
        );
    }

    #[test]
    fn json_is_one_array_over_all_pages_and_keeps_every_digit() {
        check(
            Text::Json,
            &["seq", "qty", "liquidation"],
            expect![[r#"
            [
            {"seq":1,"qty":"0.00000001"},
            {"seq":2,"qty":"0.00000001"}
            ]
        "#]],
        );
        let whole = written(Text::Jsonl, &[], &[&[trade(7)]]);
        assert_eq!(whole, format!("{}\n", trade(7).get()));
        assert_eq!(written(Text::Json, &[], &[]), "[\n]\n");
        assert_eq!(written(Text::Table, &[], &[]), "");
    }

    #[test]
    fn a_table_leaves_out_what_is_the_same_in_every_row() {
        let text = written(Text::Table, &[], &[&[trade(1)]]);
        assert!(text.starts_with("VENUE_TIME "), "{text}");
        assert!(text.contains("2026-05-09 00:00:00.000001"), "{text}");
        assert!(!text.contains("BTCUSDT") && !text.contains("LIQUIDATION"), "{text}");
        let text = written(Text::Table, &["symbol", "liquidation"], &[&[trade(1)]]);
        assert_eq!(text, "SYMBOL    LIQUIDATION\nBTC-USDT  -\n");
    }

    #[test]
    fn every_field_that_the_bus_has_is_known() {
        let gap = Gap {
            gap_id: Arc::from("g"),
            version: 1,
            of: Kind::Trade,
            after_id: Some(1),
            before_id: Some(3),
            since: Some(UnixNanos::new(1)),
            until: Some(UnixNanos::new(2)),
            cause: model::Cause::Audit,
            state: GapState::Open,
        };
        let liquidation = Liquidation {
            side: Side::Sell,
            price: "1".parse().unwrap(),
            qty: "2".parse().unwrap(),
            average_price: Some("3".parse().unwrap()),
            ordinal: 1,
        };
        for (kind, row) in [
            (Kind::Gap, row(Body::Gap(gap))),
            (Kind::Liquidation, row(Body::Liquidation(liquidation))),
        ] {
            let mut sheet = Sheet::new(Text::Csv, kind, &[]).unwrap();
            sheet.page(&[row]).unwrap();
        }
    }

    #[test]
    fn an_unknown_field_is_an_error_and_nothing_is_dropped() {
        let wanted = ["prize".to_owned()];
        let error = Sheet::new(Text::Csv, Kind::Trade, &wanted).err().unwrap().to_string();
        assert!(error.contains("no field `prize`") && error.contains("price"), "{error}");
        let mut sheet = Sheet::new(Text::Csv, Kind::Trade, &[]).unwrap();
        let row = RawValue::from_string("{\"seq\":1,\"mood\":2}".to_owned()).unwrap();
        let error = sheet.page(&[row]).unwrap_err().to_string();
        assert!(error.contains("`mood`") && error.contains("--fields"), "{error}");
    }

    #[test]
    fn the_format_of_others_has_its_own_columns_and_kinds() {
        let text = written(Text::Tardis, &[], &[&[trade(1)], &[], &[trade(2)]]);
        let lines: Vec<&str> = text.lines().collect();
        let [header, first, second] = lines[..] else { panic!("{text}") };
        assert_eq!(header, "exchange,symbol,timestamp,local_timestamp,id,side,price,amount");
        let times = "1778284800000000,1778284800000001";
        let line = format!("binance,BTCUSDT,{times},\"a,\"\"b\"\"\",buy,64000.1,0.00000001");
        assert_eq!([first, second], [line.as_str(); 2]);
        let refused = |kind, wanted: &[String]| {
            Sheet::new(Text::Tardis, kind, wanted).err().unwrap().to_string()
        };
        assert!(refused(Kind::Trade, &["price".to_owned()]).contains("--fields"));
        assert!(refused(Kind::Kline, &[]).contains("no dataset of kline"));
    }
}
