//! The cases: which frames of which recording.

use crate::answer::Task;
use anyhow::Context as _;

/// What reads the frames of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    BinanceSpot,
    BinancePerp,
    Okx,
    DeribitOptions,
}

/// Some frames of a recording.
#[derive(Debug)]
pub(crate) struct Case {
    /// What it is called in the table and towards the programs.
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    /// The file, below the folder of the recordings.
    pub(crate) recording: &'static str,
    /// What all its frames contain.
    pub(crate) marks: &'static [&'static str],
    /// Whether the frames are updates of books.
    pub(crate) is_book: bool,
    /// Levels that a book has at first: what the snapshot lacks is added, far from the market.
    pub(crate) filled_to: Option<usize>,
    /// What ours may take to decode a frame of this many bytes.
    pub(crate) goal: Option<Goal>,
}

/// What ours may take, at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) nanos: u64,
    /// The frames that it was set for. Longer updates of books may take longer in proportion.
    pub(crate) bytes: u64,
}

/// Nanoseconds that ours may take to apply a level.
pub(crate) const APPLY_GOAL: u64 = 25;

const SPOT: &str = "binance-spot-btcusdt-20240808.tsv.gz";
const SPOT_AGGREGATES: &str = "binance-spot-10symbols-20210405.tsv.gz";
const PERP: &str = "binance-usdm-btcusdt-20240808.tsv.gz";
const PERP_AGGREGATES: &str = "binance-usdm-5symbols-20210405.tsv.gz";
const OKX: &str = "okx-10instruments-20220227.tsv.gz";
const DERIBIT: &str = "deribit-options-20210405.tsv.gz";

const TRADE_GOAL: Option<Goal> = Some(Goal { nanos: 200, bytes: 205 });
const DEPTH_GOAL: Option<Goal> = Some(Goal { nanos: 1_500, bytes: 1_061 });
const OKX_GOAL: Option<Goal> = Some(Goal { nanos: 2_000, bytes: 863 });
const DERIBIT_GOAL: Option<Goal> = Some(Goal { nanos: 500, bytes: 313 });

/// All cases, in the order of the table.
pub(crate) const ALL: &[Case] = &[
    Case {
        name: "binance-trade",
        dialect: Dialect::BinanceSpot,
        recording: SPOT,
        marks: &[r#""e":"trade""#],
        is_book: false,
        filled_to: None,
        goal: TRADE_GOAL,
    },
    Case {
        name: "binance-agg-trade",
        dialect: Dialect::BinanceSpot,
        recording: SPOT_AGGREGATES,
        marks: &[r#""e":"aggTrade""#],
        is_book: false,
        filled_to: None,
        goal: TRADE_GOAL,
    },
    Case {
        name: "binance-bbo",
        dialect: Dialect::BinanceSpot,
        recording: SPOT,
        marks: &[r#"@bookTicker""#],
        is_book: false,
        filled_to: None,
        goal: None,
    },
    Case {
        name: "binance-depth",
        dialect: Dialect::BinanceSpot,
        recording: SPOT,
        marks: &[r#""e":"depthUpdate""#],
        is_book: true,
        filled_to: None,
        goal: DEPTH_GOAL,
    },
    Case {
        name: "binance-depth-26k",
        dialect: Dialect::BinanceSpot,
        recording: SPOT,
        marks: &[r#""e":"depthUpdate""#],
        is_book: true,
        filled_to: Some(26_000),
        goal: None,
    },
    Case {
        name: "binance-perp-agg-trade",
        dialect: Dialect::BinancePerp,
        recording: PERP_AGGREGATES,
        marks: &[r#""e":"aggTrade""#],
        is_book: false,
        filled_to: None,
        goal: TRADE_GOAL,
    },
    Case {
        name: "binance-perp-depth",
        dialect: Dialect::BinancePerp,
        recording: PERP,
        marks: &[r#""e":"depthUpdate""#],
        is_book: true,
        filled_to: None,
        goal: DEPTH_GOAL,
    },
    Case {
        name: "okx-trades",
        dialect: Dialect::Okx,
        recording: OKX,
        marks: &[r#""channel":"trades""#, r#""data":["#],
        is_book: false,
        filled_to: None,
        goal: None,
    },
    Case {
        name: "okx-books",
        dialect: Dialect::Okx,
        recording: OKX,
        marks: &[r#""channel":"books"#, r#""data":["#],
        is_book: true,
        filled_to: None,
        goal: OKX_GOAL,
    },
    Case {
        name: "deribit-book",
        dialect: Dialect::DeribitOptions,
        recording: DERIBIT,
        marks: &[r#""channel":"book."#],
        is_book: true,
        filled_to: None,
        goal: DERIBIT_GOAL,
    },
];

impl Case {
    /// Whether a task can be measured with it, and says something new.
    pub(crate) fn is_of(&self, task: Task) -> bool {
        // Its updates are those of another case.
        let is_of_book_alone = self.filled_to.is_some();
        (self.is_book || !task.needs_book()) && (task == Task::Apply || !is_of_book_alone)
    }
}

/// The case of a name.
///
/// # Errors
///
/// There is none.
pub(crate) fn find(name: &str) -> anyhow::Result<&'static Case> {
    let names = || ALL.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
    ALL.iter()
        .find(|case| case.name == name)
        .with_context(|| format!("there is no case {name}; known: {}", names()))
}
