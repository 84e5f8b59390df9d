//! The command against a storage at work, and what it refuses to ask.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

use super::*;
use crate::testing::{START, Site, line, trade, try_typed};

/// What the command prints.
async fn printed(site: &Site, text: &str) -> String {
    let args = Args { target: site.target(), ..line(text) };
    let format = format(&args).unwrap();
    let sheet = Sheet::new(format.text().unwrap(), args.kind, &args.fields).unwrap();
    let (path, parameters) = question(&args, format).unwrap();
    let storage = args.target.storage(site.suite.storage.listen).unwrap();
    let mut printed = String::new();
    let mut print = |text: &str| {
        printed.push_str(text);
        Ok(())
    };
    write(Rows::new(&storage, path, parameters), sheet, &args, &mut print).await.unwrap();
    printed
}

/// What the storage is asked.
fn asked(text: &str) -> anyhow::Result<(&'static str, Vec<(&'static str, String)>)> {
    let args = line(text);
    question(&args, format(&args)?)
}

/// What is in the file of a command that was killed within the second page and is given again.
async fn gone_on_with(site: &Site, text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("rows");
    let args = Args { target: site.target(), output: Some(target.clone()), ..line(text) };
    let format = format(&args).unwrap();
    let (path, parameters) = question(&args, format).unwrap();
    let storage = args.target.storage(site.suite.storage.listen).unwrap();

    let query = named(&args, format, path, &parameters).unwrap();
    let mut draft = Draft::open(&target, query, START + 1_000_000_000_000).unwrap();
    let mut sheet = Sheet::new(format.text().unwrap(), args.kind, &args.fields).unwrap();
    let until = ("end", draft.until().to_string());
    let mut rows = Rows::new(&storage, path, [&parameters[..], &[until]].concat());
    let page = rows.next(PAGE).await.unwrap().unwrap();
    let begun = sheet.begin().to_owned() + &sheet.page(&page).unwrap();
    draft.append(begun.as_bytes()).unwrap();
    draft.keep(page.len() as u64, rows.cursor()).unwrap();
    draft.append(b"half of the n").unwrap();
    drop(draft);

    let save = || save(&storage, &target, path, parameters.clone(), &args, format);
    let told = save().await.unwrap();
    assert!(told.starts_with(&format!("{}: ", target.display())), "{told}");
    assert!(save().await.unwrap_err().to_string().contains("is there already"));
    std::fs::read_to_string(&target).unwrap()
}

const TRADES: &str = "query trade binance/spot/BTC-USDT";

#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_once_over_all_pages_and_in_order() {
    let mut site = Site::start().await;
    // More than two pages.
    let count = 2 * PAGE + 1;
    let mut last = 0;
    for first in (1..=count).step_by(200) {
        let trades: Vec<_> = (first..=count.min(first + 199)).map(trade).collect();
        last = site.publish(Kind::Trade, &trades).await;
    }
    site.stored(Kind::Trade, last).await;
    let text = printed(&site, &format!("{TRADES} --format csv --fields seq,price")).await;
    let mut expected = "seq,price\n".to_owned();
    expected.extend((1..=count).map(|seq| format!("{seq},64000.5\n")));
    assert!(text == expected, "{} lines", text.lines().count());

    let text = printed(&site, &format!("{TRADES} --format jsonl --limit 2 --newest")).await;
    let seqs: Vec<u64> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(seqs, [count, count - 1]);

    for written in [
        "--format csv",
        "--format csv --fields seq,price",
        "--format json",
        "--format jsonl --limit 7000",
    ] {
        let text = format!("{TRADES} {written}");
        let whole = printed(&site, &text).await;
        assert!(gone_on_with(&site, &text).await == whole, "{text}");
    }

    // From the second trade on, and before the fourth.
    let (since, until) = (START + 2_000_000, START + 4_000_000);
    let range = format!("{TRADES} --format json --since {since} --until {until}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&printed(&site, &range).await).unwrap();
    assert_eq!(rows.iter().map(|row| &row["seq"]).collect::<Vec<_>>(), [2, 3]);

    let table = printed(&site, &format!("{TRADES} --since {since}")).await;
    assert_eq!(table.lines().count() as u64, TABLE_ROWS + 1, "and a header");
    let nothing = printed(&site, "query trade okx/perp/NOPE --format json").await;
    assert_eq!(nothing, "[\n]\n");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_what_the_storage_writes_down_to_the_last_byte() {
    let mut site = Site::start().await;
    let trades: Vec<_> = (1..=5).map(trade).collect();
    let seq = site.publish(Kind::Trade, &trades).await;
    site.stored(Kind::Trade, seq).await;
    let storage = site.target().storage(site.suite.storage.listen).unwrap();
    let mut whole = 0;
    for (limit, trades) in [(None, &trades[..]), (Some(3), &trades[..3])] {
        let mut stream = archive::ArrowStream::new(Kind::Trade).unwrap();
        let mut expected = stream.rows(trades.iter().map(|trade| (seq, trade.clone()))).unwrap();
        expected.append(&mut stream.finish().unwrap());
        let (path, parameters) = asked(&format!("{TRADES} --format arrow")).unwrap();
        let mut written = Vec::new();
        let mut write = |data: &[u8]| {
            written.extend_from_slice(data);
            Ok(())
        };
        export(&storage, path, parameters, limit, &mut write).await.unwrap();
        assert!(written == expected, "{} bytes of {}", written.len(), expected.len());
        whole = whole.max(written.len());
    }
    let row = printed(&site, &format!("{TRADES} --format jsonl --limit 1")).await;
    let row = row.trim_end();
    for (text, expected) in [
        (format!("{TRADES} --estimate --format arrow"), (5, whole as u64, 0)),
        (format!("{TRADES} --estimate --limit 3"), (3, 3 * row.len() as u64 + 2, 0)),
    ] {
        let (args, (_, parameters)) = (line(&text), asked(&text).unwrap());
        let format = format(&args).unwrap();
        let Estimate { rows, bytes, bytes_margin } =
            estimate(&storage, parameters, &args, format).await.unwrap();
        assert_eq!((rows, bytes, bytes_margin), expected, "{text}");
    }
    let unknown = vec![("venue", "nowhere".to_owned())];
    let refused =
        export(&storage, "trades", unknown, None, &mut |_: &[u8]| Ok(())).await.unwrap_err();
    let refused = output::chain(&refused);
    assert!(refused.contains("`venue`") && refused.contains("0 B were written"), "{refused}");
    site.stop().await;
}

#[test]
fn an_estimate_is_told_with_its_margin_if_it_has_one() {
    let counted = Estimate { rows: 3, bytes: 700, bytes_margin: 0 };
    assert_eq!(counted.told(Format::Table), "3 rows, 700 B as JSON");
    let guessed = Estimate { rows: 200_000, bytes: 48 << 20, bytes_margin: 3 << 10 };
    let told = guessed.told(Format::Arrow);
    assert_eq!(told, "200000 rows, 48.0 MiB as an Arrow stream, give or take 3.0 KiB");
}

#[test]
fn a_question_that_cannot_be_asked_says_what_is_missing() {
    let refused = |text: &str| asked(text).unwrap_err().to_string();
    assert!(refused("query trade").contains("binance/spot/BTC-USDT"));
    assert!(refused("query status binance/spot/BTC-USDT").contains("marketprism stream"));
    let newest = format!("{TRADES} --format tardis --newest");
    assert!(refused(&newest).contains("oldest rows first"));
    let fields = format!("{TRADES} --format arrow --fields price");
    assert!(refused(&fields).contains("leave out --fields"));
    let (path, parameters) = asked("query gap").unwrap();
    assert_eq!((path, parameters.len()), ("gaps", 0));
    let (path, parameters) = asked("query agg_trade okx/perp/BTC-USDT --newest").unwrap();
    assert_eq!(path, "trades");
    let expected = [
        ("venue", "okx"),
        ("market", "perp"),
        ("symbol", "BTC-USDT"),
        ("kind", "agg_trade"),
        ("order", "desc"),
    ];
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(parameters, expected);
    let file = |name: &str| {
        let told = format(&line(&format!("{TRADES} -o {name}")));
        told.map_err(|error| error.to_string())
    };
    let known = ["a.csv", "a.json", "a.ndjson", "a.arrows"].map(|name| file(name).unwrap());
    assert_eq!(known, [Format::Csv, Format::Json, Format::Jsonl, Format::Arrow]);
    assert!(file("a.xls").unwrap_err().contains("say the --format"));
    let table = format(&line(&format!("{TRADES} -o a --format table"))).unwrap_err().to_string();
    assert!(table.contains("another --format"), "{table}");
    for wrong in ["query trades x", "query trade BTC-USDT", "query trade --limit 0"] {
        assert!(try_typed::<Args>(wrong.split(' ')).is_err(), "{wrong}");
    }
}
