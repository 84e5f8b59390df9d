//! The columns of every kind's table.
//!
//! The names are those of the JSON. A column is nullable only where a venue may not give the value.

use catalog::Extent;
use model::Kind;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// A text of which there are few different ones.
    Key,
    Text,
    OptionalText,
    U32,
    OptionalU32,
    U64,
    OptionalU64,
    Bool,
    Time,
    OptionalTime,
    Decimal,
    OptionalDecimal,
    /// Prices and quantities.
    Levels,
}

impl Type {
    /// As the server writes it in `system.columns`.
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Key => "LowCardinality(String)",
            Self::Text => "String",
            Self::OptionalText => "Nullable(String)",
            Self::U32 => "UInt32",
            Self::OptionalU32 => "Nullable(UInt32)",
            Self::U64 => "UInt64",
            Self::OptionalU64 => "Nullable(UInt64)",
            Self::Bool => "Bool",
            Self::Time => "DateTime64(9, 'UTC')",
            Self::OptionalTime => "Nullable(DateTime64(9, 'UTC'))",
            Self::Decimal => "Decimal(38, 18)",
            Self::OptionalDecimal => "Nullable(Decimal(38, 18))",
            Self::Levels => "Array(Tuple(Decimal(38, 18), Decimal(38, 18)))",
        }
    }

    /// How a value is laid out, and whether it may be absent.
    pub(crate) const fn layout(self) -> (Layout, bool) {
        match self {
            Self::Key => (Layout::Key, false),
            Self::Text => (Layout::Text, false),
            Self::OptionalText => (Layout::Text, true),
            Self::Bool => (Layout::Fixed(1), false),
            Self::U32 => (Layout::Fixed(4), false),
            Self::OptionalU32 => (Layout::Fixed(4), true),
            Self::U64 | Self::Time => (Layout::Fixed(8), false),
            Self::OptionalU64 | Self::OptionalTime => (Layout::Fixed(8), true),
            Self::Decimal => (Layout::Fixed(16), false),
            Self::OptionalDecimal => (Layout::Fixed(16), true),
            Self::Levels => (Layout::Levels, false),
        }
    }
}

/// How the values of a column lie one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Distinct values, and which of them each row has.
    Key,
    /// So many bytes a row.
    Fixed(usize),
    /// A length and so many bytes.
    Text,
    /// Where each row's levels end, then the prices, then the quantities.
    Levels,
}

/// A column: its name, its type, and how it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) ty: Type,
    pub(crate) codec: &'static str,
}

/// Values that look alike from row to row.
const PLAIN: &str = "ZSTD(1)";
/// Values that grow steadily.
const RISING: &str = "Delta, ZSTD(1)";

const fn column(name: &'static str, ty: Type) -> Column {
    let codec = match ty {
        Type::U64 | Type::Time => RISING,
        Type::Key
        | Type::Text
        | Type::OptionalText
        | Type::U32
        | Type::OptionalU32
        | Type::OptionalU64
        | Type::Bool
        | Type::OptionalTime
        | Type::Decimal
        | Type::OptionalDecimal
        | Type::Levels => PLAIN,
    };
    Column { name, ty, codec }
}

/// What every table has, in the order in which it is written and read.
const COMMON: [Column; 10] = [
    column("venue", Type::Key),
    column("market", Type::Key),
    column("symbol", Type::Key),
    column("instrument", Type::Key),
    column("identity_major", Type::U64),
    column("identity_minor", Type::U64),
    column("stream_seq", Type::U64),
    column("venue_time", Type::OptionalTime),
    column("recv_time", Type::Time),
    column("origin", Type::Key),
];

const TRADE: &[Column] = &[
    column("seq", Type::U64),
    column("trade_id", Type::Text),
    column("price", Type::Decimal),
    column("qty", Type::Decimal),
    column("side", Type::Key),
    column("first_id", Type::OptionalU64),
    column("last_id", Type::OptionalU64),
    column("count", Type::OptionalU64),
    column("liquidation", Type::OptionalText),
    column("block", Type::Bool),
];

const BOOK: &[Column] = &[
    column("type", Type::Key),
    column("first_id", Type::OptionalU64),
    column("last_id", Type::U64),
    column("prev_id", Type::OptionalU64),
    column("bids", Type::Levels),
    column("asks", Type::Levels),
];

const BBO: &[Column] = &[
    column("id", Type::U64),
    column("bid_price", Type::Decimal),
    column("bid_qty", Type::Decimal),
    column("ask_price", Type::Decimal),
    column("ask_qty", Type::Decimal),
];

const TICKER: &[Column] = &[
    column("last_price", Type::OptionalDecimal),
    column("open_price", Type::OptionalDecimal),
    column("high_price", Type::OptionalDecimal),
    column("low_price", Type::OptionalDecimal),
    column("volume", Type::OptionalDecimal),
    column("quote_volume", Type::OptionalDecimal),
    column("bid_price", Type::OptionalDecimal),
    column("bid_qty", Type::OptionalDecimal),
    column("ask_price", Type::OptionalDecimal),
    column("ask_qty", Type::OptionalDecimal),
    column("mark_iv", Type::OptionalDecimal),
    column("bid_iv", Type::OptionalDecimal),
    column("ask_iv", Type::OptionalDecimal),
    column("delta", Type::OptionalDecimal),
    column("gamma", Type::OptionalDecimal),
    column("vega", Type::OptionalDecimal),
    column("theta", Type::OptionalDecimal),
    column("rho", Type::OptionalDecimal),
    column("underlying_price", Type::OptionalDecimal),
];

const KLINE: &[Column] = &[
    column("interval", Type::Key),
    column("open_time", Type::Time),
    column("close_time", Type::Time),
    column("open", Type::Decimal),
    column("high", Type::Decimal),
    column("low", Type::Decimal),
    column("close", Type::Decimal),
    column("volume", Type::Decimal),
    column("quote_volume", Type::OptionalDecimal),
    column("trades", Type::OptionalU64),
    column("closed", Type::Bool),
];

const MARK: &[Column] =
    &[column("mark_price", Type::OptionalDecimal), column("index_price", Type::OptionalDecimal)];

const FUNDING: &[Column] = &[
    column("funding_rate", Type::Decimal),
    column("next_funding_time", Type::OptionalTime),
    column("interval_hours", Type::OptionalU32),
];

const OPEN_INTEREST: &[Column] =
    &[column("open_interest", Type::Decimal), column("open_interest_value", Type::OptionalDecimal)];

const LIQUIDATION: &[Column] = &[
    column("side", Type::Key),
    column("price", Type::Decimal),
    column("qty", Type::Decimal),
    column("average_price", Type::OptionalDecimal),
    column("ordinal", Type::U32),
];

const LONG_SHORT_RATIO: &[Column] = &[
    column("ratio_type", Type::Key),
    column("period", Type::Key),
    column("long_ratio", Type::OptionalDecimal),
    column("short_ratio", Type::OptionalDecimal),
    column("long_short_ratio", Type::Decimal),
];

const VOLATILITY_INDEX: &[Column] = &[column("value", Type::Decimal)];

const GAP: &[Column] = &[
    column("gap_id", Type::Text),
    column("version", Type::U32),
    column("of", Type::Key),
    column("after_id", Type::OptionalU64),
    column("before_id", Type::OptionalU64),
    column("since", Type::OptionalTime),
    column("until", Type::OptionalTime),
    column("cause", Type::Key),
    column("state", Type::Key),
];

const STATUS: &[Column] = &[
    column("connection", Type::Key),
    column("state", Type::Key),
    column("reason", Type::OptionalText),
];

/// The columns of the instruments' table, in the order in which they are written and read.
pub(crate) const INSTRUMENTS: &[Column] = &[
    column("venue", Type::Key),
    column("market", Type::Key),
    column("symbol", Type::Text),
    column("instrument", Type::Text),
    column("base", Type::Key),
    column("quote", Type::Key),
    column("tick_size", Type::OptionalDecimal),
    column("lot_size", Type::OptionalDecimal),
    column("contract_size", Type::OptionalDecimal),
    column("qty_unit", Type::Key),
    column("expiry", Type::OptionalTime),
    column("strike", Type::OptionalDecimal),
    column("option_side", Type::OptionalText),
    column("listing", Type::Key),
    column("first_seen", Type::Time),
    column("last_seen", Type::Time),
];

/// The columns of a kind's table, in the order in which they are written and read.
pub(crate) fn columns(kind: Kind) -> Vec<Column> {
    let own = match kind {
        Kind::Trade | Kind::AggTrade => TRADE,
        Kind::Book => BOOK,
        Kind::Bbo => BBO,
        Kind::Ticker => TICKER,
        Kind::Kline => KLINE,
        Kind::Mark => MARK,
        Kind::Funding => FUNDING,
        Kind::OpenInterest => OPEN_INTEREST,
        Kind::Liquidation => LIQUIDATION,
        Kind::LongShortRatio => LONG_SHORT_RATIO,
        Kind::VolatilityIndex => VOLATILITY_INDEX,
        Kind::Gap => GAP,
        Kind::Status => STATUS,
    };
    [&COMMON, own].concat()
}

/// The columns that a kind's table has had since version 5 of the schema only, or that were of
/// another type before.
pub(crate) fn since_contracts(kind: Kind) -> Vec<Column> {
    let names: &[&str] = match kind {
        Kind::Trade | Kind::AggTrade => &["count", "liquidation", "block"],
        Kind::Ticker => &[
            "last_price",
            "mark_iv",
            "bid_iv",
            "ask_iv",
            "delta",
            "gamma",
            "vega",
            "theta",
            "rho",
            "underlying_price",
        ],
        Kind::Book
        | Kind::Bbo
        | Kind::Kline
        | Kind::Mark
        | Kind::Funding
        | Kind::OpenInterest
        | Kind::Liquidation
        | Kind::LongShortRatio
        | Kind::VolatilityIndex
        | Kind::Gap
        | Kind::Status => &[],
    };
    columns(kind).into_iter().filter(|column| names.contains(&column.name)).collect()
}

/// The first of the ids that a row stands for, in the words of a statement.
///
/// Differences are signed there, whatever they are of.
pub(crate) const fn first_id(kind: Kind) -> &'static str {
    if Extent::may_be_wide(kind) {
        "toUInt64(identity_major - least(identity_major, \
         toUInt64(greatest(ifNull(`count`, 1), 1) - 1)))"
    } else {
        "identity_major"
    }
}

/// The names of a kind's columns, quoted, with commas.
pub(crate) fn names(kind: Kind) -> String {
    quoted(&columns(kind))
}

/// The names of columns, quoted, with commas.
pub(crate) fn quoted(columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|c| format!("`{}`", c.name)).collect();
    names.join(", ")
}
