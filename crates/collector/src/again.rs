//! Gap records that were lost themselves: kept until a block is taken, and recorded again then.
//! Sans-IO.
//!
//! Without them a loss would be silent until the collector is started again: it is what a gap record
//! is for. They are small and go last of all, so they are lost only if nothing at all is taken, or
//! if the bus refuses them for good; that may be over a minute later.

use crate::block::Run;
use crate::handover::gap_event;
use model::{Body, Cause, Event};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use units::UnixNanos;

/// Records kept; when full the oldest goes, and it is for the next run to find what is missing.
const RECORDS_MAX: usize = 4_096;

/// First and longest wait before records are tried again. It doubles each time they are lost.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The records, and when they may be tried again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    records: VecDeque<Run>,
    /// Whether a block was taken since records were lost last.
    has_room: bool,
    wait: Duration,
    /// Not before.
    due: Option<Instant>,
    /// When records were tried last.
    tried: Option<Instant>,
}

impl Again {
    /// Keeps what a lost block of gap records had. Returns how many records had to go for it.
    pub(crate) fn keep(&mut self, runs: Vec<Run>, now: Instant) -> usize {
        // Lost soon after they were tried: it was no room for long.
        let retried = self.tried.is_some_and(|tried| now.duration_since(tried) <= WAIT_MAX);
        self.wait = if retried { (2 * self.wait).clamp(WAIT_MIN, WAIT_MAX) } else { WAIT_MIN };
        self.tried = None;
        self.due = Some(now + self.wait);
        self.has_room = false;
        self.records.extend(runs);
        let too_many = self.records.len().saturating_sub(RECORDS_MAX);
        self.records.drain(..too_many).count()
    }

    /// Notes that the bus or the spool has taken a block.
    pub(crate) const fn taken(&mut self) {
        self.has_room = true;
    }

    /// The records that are to be tried now, in order.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Event> {
        if self.records.is_empty() || !self.has_room || self.due.is_some_and(|due| now < due) {
            return Vec::new();
        }
        self.tried = Some(now);
        self.rest()
    }

    /// All records, whether there is room or not.
    pub(crate) fn rest(&mut self) -> Vec<Event> {
        self.records.drain(..).map(|run| event(&run)).collect()
    }
}

/// The record that a run of a block of gap records is of, as it was.
fn event(run: &Run) -> Event {
    let recv_time: UnixNanos = run.times.0;
    let Some(gap) = &run.gap else {
        // What is neither a trade nor a book has no id that could be fetched: it is lost.
        return gap_event(run, Cause::Overflow, recv_time);
    };
    let instrument = Arc::clone(&run.instrument);
    let body = Body::Gap(gap.as_ref().clone());
    Event { instrument, venue_time: None, recv_time, origin: None, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::{gap, instrument, run};
    use model::Kind;

    /// A record as the feed or the publisher makes it.
    fn record(after: u64) -> Event {
        Event {
            instrument: instrument("BTC-USDT"),
            venue_time: None,
            recv_time: UnixNanos::new(7),
            origin: None,
            body: Body::Gap(gap(after, after + 5)),
        }
    }

    #[test]
    fn a_lost_record_is_tried_again_once_a_block_was_taken_and_as_it_was() {
        let (mut again, start) = (Again::default(), Instant::now());
        again.taken();
        assert_eq!(again.keep(vec![Run::of(&record(1)), Run::of(&record(9))], start), 0);
        let later = start + WAIT_MIN;
        assert_eq!(again.due(later), [], "nothing was taken since");
        again.taken();
        assert_eq!(again.due(start), [], "it is too early");
        assert_eq!(again.due(later), [record(1), record(9)]);
        assert_eq!(again.due(later + WAIT_MAX), [], "they are on their way");
    }

    #[test]
    fn what_is_lost_each_time_is_tried_less_and_less_often() {
        let (mut again, mut now) = (Again::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            again.keep(vec![Run::of(&record(1))], now);
            again.taken();
            let began = now;
            while again.due(now).is_empty() {
                now += WAIT_MIN;
            }
            waits.push(now.duration_since(began).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        // It went well for long enough.
        now += WAIT_MAX + WAIT_MIN;
        again.keep(vec![Run::of(&record(1))], now);
        again.taken();
        assert_eq!(again.due(now + WAIT_MIN).len(), 1);
    }

    #[test]
    fn of_too_many_records_the_oldest_go() {
        let (mut again, now) = (Again::default(), Instant::now());
        let many =
            (1..=u64::try_from(RECORDS_MAX).unwrap() + 3).map(|after| Run::of(&record(after)));
        assert_eq!(again.keep(many.collect(), now), 3);
        let rest = again.rest();
        assert_eq!((rest.len(), &rest[0]), (RECORDS_MAX, &record(4)));
        assert!(again.rest().is_empty());
    }

    #[test]
    fn a_record_of_what_has_no_ids_is_one_of_the_same_time() {
        let lost = Run { ids: None, ..run(Kind::Ticker, 1, 1) };
        let Body::Gap(gap) = event(&lost).body else { panic!("a gap record") };
        assert_eq!((gap.of, gap.cause, gap.after_id), (Kind::Ticker, Cause::Overflow, None));
        assert_eq!(gap.since, Some(lost.times.0));
    }
}
