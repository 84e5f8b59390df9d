//! Asks a gateway, or a storage service itself, for rows.

use super::{GapRow, value_sent};
use crate::dialect::{Dialect, binance_spot};
use crate::tally::{Answer, Sent, Tally, content};
use anyhow::{Context as _, ensure};
use model::Kind;
use serde::Deserialize;
use std::collections::BTreeSet;
use units::Qty;

/// Rows asked for at a time: the most that storage gives.
const PAGE: usize = 10_000;

/// A gateway, or a storage service itself.
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

/// A row of the trades query, as far as it is compared.
#[derive(Deserialize)]
struct TradeRow<'a> {
    seq: u64,
    price: &'a str,
    qty: &'a str,
    side: &'a str,
    venue_time: i64,
    /// How many fills it stands for, where the venue puts them together.
    #[serde(default)]
    count: Option<u64>,
}

/// A row of the books query, as far as it is compared.
#[derive(Deserialize)]
struct BookRow<'a> {
    /// `snapshot` or `diff`.
    #[serde(rename = "type")]
    book_type: &'a str,
    last_id: u64,
    /// `prune` for a diff of the collector's own.
    #[serde(borrow, default)]
    origin: Option<&'a str>,
    /// Not zero for what is left of an event that was too large for a message.
    #[serde(default)]
    part: u32,
}

/// A row of the volatility query, as far as it is compared.
#[derive(Deserialize)]
struct ValueRow<'a> {
    value: &'a str,
    venue_time: i64,
}

/// The id of a row of either query.
#[derive(Deserialize)]
struct IdRow {
    #[serde(alias = "seq", alias = "last_id")]
    id: u64,
}

impl TradeRow<'_> {
    /// Hands over the id and the content of each fill that it stands for: the market divides the
    /// quantity evenly among them, and one that is not so divided is that of none.
    fn each(&self, mut take: impl FnMut(u64, u64)) {
        let Self { seq, price, qty, side, venue_time, count } = *self;
        let count = count.unwrap_or(1).max(1);
        if count == 1 {
            take(seq, content(price, qty, side, venue_time));
            return;
        }
        let whole = qty.parse::<Qty>().ok().map(Qty::raw);
        let part = whole.filter(|whole| whole % i128::from(count) == 0);
        let part = part
            .map_or_else(String::new, |whole| Qty::from_raw(whole / i128::from(count)).to_string());
        for id in seq.saturating_sub(count - 1)..=seq {
            take(id, content(price, &part, side, venue_time));
        }
    }
}

impl Client {
    /// A client of the service at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// A client that cannot be set up.
    pub fn new(base: &str, key: Option<String>) -> anyhow::Result<Self> {
        let http =
            reqwest::Client::builder().timeout(std::time::Duration::from_secs(30)).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), key })
    }

    /// Every gap record of Binance's spot market.
    ///
    /// # Errors
    ///
    /// Any answer but 200, or one that is no page.
    pub async fn gaps(&self) -> anyhow::Result<Vec<GapRow>> {
        self.gaps_of(&*binance_spot()).await
    }

    pub(super) async fn gaps_of(&self, dialect: &dyn Dialect) -> anyhow::Result<Vec<GapRow>> {
        let mut rows = Vec::new();
        self.pages(dialect, "gaps", None, |body| {
            let page: Page<GapRow> = serde_json::from_slice(body)?;
            rows.extend(page.data);
            Ok(page.next_cursor)
        })
        .await?;
        Ok(rows)
    }

    pub(super) async fn trades(
        &self,
        dialect: &dyn Dialect,
        instrument: &str,
        tally: &mut Tally,
    ) -> anyhow::Result<Answer> {
        tally.clear();
        let mut answer = Answer::default();
        self.pages(dialect, "trades", Some(instrument), |body| {
            let page: Page<TradeRow<'_>> = serde_json::from_slice(body)?;
            for row in page.data {
                answer.take(row.seq);
                row.each(|id, content| tally.take(id, content));
            }
            Ok(page.next_cursor)
        })
        .await?;
        Ok(answer)
    }

    pub(super) async fn books(
        &self,
        dialect: &dyn Dialect,
        instrument: &str,
        tally: &mut Tally,
        snapshots: &mut BTreeSet<u64>,
    ) -> anyhow::Result<Answer> {
        tally.clear();
        snapshots.clear();
        let mut answer = Answer::default();
        self.pages(dialect, "books", Some(instrument), |body| {
            let page: Page<BookRow<'_>> = serde_json::from_slice(body)?;
            for row in page.data {
                answer.take(row.last_id);
                match (row.book_type, row.origin, row.part) {
                    ("snapshot", _, _) => drop(snapshots.insert(row.last_id)),
                    ("diff", None, 0) => tally.take(row.last_id, 0),
                    _ => {}
                }
            }
            Ok(page.next_cursor)
        })
        .await?;
        Ok(answer)
    }

    pub(super) async fn values(
        &self,
        dialect: &dyn Dialect,
        instrument: &str,
        tally: &mut Tally,
    ) -> anyhow::Result<Answer> {
        tally.clear();
        let mut answer = Answer::default();
        self.pages(dialect, "volatility", Some(instrument), |body| {
            let page: Page<ValueRow<'_>> = serde_json::from_slice(body)?;
            for ValueRow { value, venue_time } in page.data {
                let Sent { id, content, .. } = value_sent(value, venue_time);
                answer.take(id);
                tally.take(id, content);
            }
            Ok(page.next_cursor)
        })
        .await?;
        Ok(answer)
    }

    pub(super) async fn ids(
        &self,
        query: &str,
        instrument: &str,
        mut take: impl FnMut(u64),
    ) -> anyhow::Result<()> {
        self.pages(&*binance_spot(), query, Some(instrument), |body| {
            let page: Page<IdRow> = serde_json::from_slice(body)?;
            page.data.iter().for_each(|row| take(row.id));
            Ok(page.next_cursor)
        })
        .await
    }

    /// Hands over every page of a query; what is done with it returns the next one's cursor.
    async fn pages(
        &self,
        dialect: &dyn Dialect,
        query: &str,
        instrument: Option<&str>,
        mut take: impl FnMut(&[u8]) -> serde_json::Result<Option<String>>,
    ) -> anyhow::Result<()> {
        let symbol = instrument.map(|instrument| dialect.symbol(instrument));
        let (venue, market) = dialect.market().words();
        // `trades` has aggregates as well.
        let kind = dialect.trade_kind();
        let kind = (query == "trades" && kind != Kind::Trade).then_some(kind.as_str());
        let mut cursor: Option<String> = None;
        loop {
            let mut url = url::Url::parse(&format!("{}/api/v1/storage/{query}", self.base))?;
            url.query_pairs_mut()
                .append_pair("venue", &venue)
                .append_pair("market", &market)
                .append_pair("limit", &PAGE.to_string());
            for (name, value) in
                [("symbol", symbol.as_deref()), ("kind", kind), ("cursor", cursor.as_deref())]
            {
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, value);
                }
            }
            let place = url.to_string();
            let body = self.get(url).await.with_context(|| format!("ask {place}"))?;
            cursor = take(&body).with_context(|| format!("{place} answered {}", start(&body)))?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn get(&self, url: url::Url) -> anyhow::Result<Vec<u8>> {
        let mut request = self.http.get(url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        ensure!(status.is_success(), "{status}: {}", start(&body));
        Ok(body.into())
    }
}

/// The beginning of a body, for a person.
fn start(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_for_its_fills_and_their_quantity_is_its_own() {
        let fills = |row: &str| {
            let mut fills = Vec::new();
            let row: TradeRow<'_> = serde_json::from_str(row).unwrap();
            row.each(|id, content| fills.push((id, content)));
            fills
        };
        let of = |qty| content("1.5", qty, "buy", 9);
        let row = |more: &str| {
            format!(r#"{{"seq":8,"price":"1.5","qty":"4.5","side":"buy","venue_time":9{more}}}"#)
        };
        assert_eq!(fills(&row("")), [(8, of("4.5"))]);
        assert_eq!(fills(&row(r#","count":1"#)), [(8, of("4.5"))]);
        let three = [6, 7, 8].map(|id| (id, of("1.5")));
        assert_eq!(fills(&row(r#","count":3"#)), three);
        // A quantity that counts twice is another one.
        let twice = row(r#","count":3"#).replace("4.5", "7.5");
        assert!(fills(&twice).iter().zip(three).all(|(found, sent)| *found != sent));
    }

    #[test]
    fn an_id_is_read_whatever_it_is_called() {
        let read = |text| serde_json::from_str::<IdRow>(text).unwrap().id;
        assert_eq!(read(r#"{"seq":4,"price":"1"}"#), 4);
        assert_eq!(read(r#"{"type":"diff","first_id":3,"last_id":5}"#), 5);
    }
}
