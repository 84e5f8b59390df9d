//! Requests for trades, and what else they can take along.

use super::Job;
use crate::IdRanges;
use model::{InstrumentId, Kind};
use std::sync::Arc;
use units::UnixNanos;

/// A request for trades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// For which gap.
    pub gap_id: Arc<str>,
    /// Of which instrument.
    pub instrument: Arc<InstrumentId>,
    /// Of which kind.
    pub kind: Kind,
    /// The first id.
    pub from: u64,
    /// How many ids.
    pub limit: usize,
}

impl Page {
    /// The first and the last id.
    pub(super) fn span(&self) -> (u64, u64) {
        let more = u64::try_from(self.limit.max(1) - 1).unwrap_or(u64::MAX);
        (self.from, self.from.saturating_add(more))
    }
}

/// Extends a request to what other gaps of the same stream miss nearby, below it and then above.
pub(super) fn widen<'a>(
    page: Page,
    jobs: impl Iterator<Item = &'a Job>,
    page_max: usize,
    now: UnixNanos,
) -> Page {
    let room = u64::try_from(page_max - page.limit.min(page_max)).unwrap_or(0);
    if room == 0 {
        return page;
    }
    let (first, last) = page.span();
    let lowest = first.saturating_sub(room);
    let near = (lowest, last.saturating_add(room));
    let ready = |job: &&Job| job.not_before.is_none_or(|at| at <= now) && !job.closing;
    let others = jobs.filter(ready).filter(|job| job.is_of(&page));
    let wanted: IdRanges = others
        .flat_map(|job| {
            let wanted = job.wanted();
            wanted.iter().map(|(a, b)| (a.max(near.0), b.min(near.1))).collect::<Vec<_>>()
        })
        .filter(|(a, b)| a <= b)
        .collect();
    let from = wanted.hull().map_or(first, |(low, _)| low.min(first));
    let most = from.saturating_add(u64::try_from(page_max - 1).unwrap_or(u64::MAX));
    let within = wanted.iter().filter(|(a, _)| *a <= most).map(|(_, b)| b.min(most));
    let to = within.max().map_or(last, |high| high.max(last));
    let limit = usize::try_from((to - from).saturating_add(1)).unwrap_or(page_max).min(page_max);
    Page { from, limit, ..page }
}
