//! What was asked of a venue on one connection, and what came of it. Sans-IO.
//!
//! A venue that refuses one stream refuses a whole request for it, or leaves it out of its answer,
//! and seldom says which stream it was. What is left over of a refused request is asked for again
//! in two halves, until a request names the one stream that the venue does not want: that one is
//! set aside, and the others are joined.

#[cfg(test)]
mod tests;

use crate::{Granted, Request};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long after a refusal the venue may still accept other streams of the same request.
const SETTLE: Duration = Duration::from_secs(1);

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Ask for these streams again, by themselves.
    Ask(Vec<String>),
    /// Do without this stream: the venue refuses it.
    SetAside {
        /// The stream, in the venue's words.
        stream: String,
        /// What the venue says.
        reason: Arc<str>,
    },
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asked {
    /// What it joins and is not accepted yet.
    joins: BTreeSet<String>,
    /// What the venue said when it refused it, and when the other answers are in.
    refusal: Option<(Arc<str>, Duration)>,
}

/// The requests of one connection that wait for their answers. Times are counted from any moment
/// that stays the same.
#[derive(Debug, Default)]
pub struct Subscription {
    /// By the number of the request.
    asked: BTreeMap<u64, Asked>,
    verdicts: VecDeque<Verdict>,
}

impl Subscription {
    /// Notes a request that is about to be sent.
    pub fn ask(&mut self, request: &Request) {
        if let Some(id) = request.id {
            let joins = request.joins.iter().cloned().collect();
            self.asked.insert(id, Asked { joins, refusal: None });
        }
    }

    /// Whether every request was answered.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.asked.is_empty() && self.verdicts.is_empty()
    }

    /// Whether a stream was asked for and not answered yet.
    #[must_use]
    pub fn is_asking(&self, stream: &str) -> bool {
        self.asked.values().any(|asked| asked.joins.contains(stream))
    }

    /// Takes an answer that accepts a request, or a part of one.
    pub fn handle_granted(&mut self, id: Option<u64>, granted: Granted) {
        // An answer that names no request is the oldest one's, or whose streams it names.
        match (id, granted) {
            (Some(id), Granted::All) => {
                self.asked.remove(&id);
            }
            (None, Granted::All) => {
                self.asked.pop_first();
            }
            (Some(id), Granted::Only(streams)) => {
                let Some(asked) = self.asked.remove(&id) else { return };
                let reason: Arc<str> = Arc::from("the venue accepted the others and not this one");
                for stream in asked.joins {
                    if !streams.contains(&stream) {
                        let reason = Arc::clone(&reason);
                        self.verdicts.push_back(Verdict::SetAside { stream, reason });
                    }
                }
            }
            (Some(id), Granted::One(stream)) => self.accept(Some(id), &stream),
            (None, Granted::One(stream)) => self.accept(None, &stream),
            (None, Granted::Only(streams)) => {
                streams.iter().for_each(|stream| self.accept(None, stream));
            }
        }
    }

    /// Takes an answer that refuses a request, or a part of one; without a number, any of those
    /// that wait may be meant.
    pub fn handle_refused(&mut self, id: Option<u64>, reason: &Arc<str>, now: Duration) {
        for (number, asked) in &mut self.asked {
            if id.is_none_or(|id| id == *number) {
                asked.refusal.get_or_insert_with(|| (Arc::clone(reason), now + SETTLE));
            }
        }
    }

    /// Judges the refused requests whose other answers have had their time.
    pub fn handle_timeout(&mut self, now: Duration) {
        let due = |asked: &Asked| asked.refusal.as_ref().is_some_and(|(_, at)| *at <= now);
        for (_, asked) in self.asked.extract_if(.., |_, asked| due(asked)) {
            let reason = asked.refusal.map(|(reason, _)| reason);
            let mut streams: Vec<String> = asked.joins.into_iter().collect();
            let other_half = streams.split_off(streams.len().div_ceil(2));
            match (streams.pop(), reason) {
                (Some(stream), Some(reason)) if streams.is_empty() && other_half.is_empty() => {
                    self.verdicts.push_back(Verdict::SetAside { stream, reason });
                }
                (Some(stream), _) => {
                    streams.push(stream);
                    let halves = [streams, other_half].into_iter().filter(|half| !half.is_empty());
                    self.verdicts.extend(halves.map(Verdict::Ask));
                }
                // It joined nothing, or all of it was accepted in the end.
                (None, _) => {}
            }
        }
    }

    /// When [`Subscription::handle_timeout`] must next be called, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.asked.values().filter_map(|asked| Some(asked.refusal.as_ref()?.1)).min()
    }

    /// The next thing that follows, in order.
    pub fn next_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// Crosses a stream off a request, or off every one; a request of which nothing is left is
    /// answered.
    fn accept(&mut self, id: Option<u64>, stream: &str) {
        self.asked.retain(|number, asked| {
            if id.is_some_and(|id| id != *number) {
                return true;
            }
            let found = asked.joins.remove(stream);
            !asked.joins.is_empty() || (id.is_none() && !found)
        });
    }
}
