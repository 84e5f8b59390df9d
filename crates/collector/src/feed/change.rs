//! What a connection carries, and how that changes.

use super::Feed;
use super::liveness::Sign;
use crate::board::FeedState;
use crate::line::{Line, now};
use crate::roster::{Aside, Assignment, books, silence_max};
use model::{Connection, InstrumentId, Kind};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use venue::{Adapter, Request, Slot};

/// A connection that has brought data within so long is one that speaks.
const SPEAKS: Duration = Duration::from_secs(10);

impl<A: Adapter> Feed<A> {
    /// Whether the venue refuses the stream that would bring this.
    pub(super) fn is_aside(&self, (slot, kind): (Slot, Kind)) -> bool {
        let refuses = !self.aside.is_empty();
        let Some(work) = self.work.as_deref().filter(|_| refuses) else { return false };
        let instrument = self.parts.pipeline.adapter().instrument(slot);
        self.aside.keys().filter_map(|stream| work.carried.get(stream)).any(|cargo| {
            cargo.kinds.contains(&kind) && (cargo.shared || cargo.instrument == *instrument)
        })
    }

    /// What is to be subscribed to: what it carries but for what the venue refuses.
    pub(super) fn active(&self) -> Vec<String> {
        let streams = self.work.iter().flat_map(|work| &work.plan.streams);
        streams.filter(|stream| !self.aside.contains_key(*stream)).cloned().collect()
    }

    /// Takes over what it is to carry from now on. Returns what has to be said on a connection that
    /// carries what it did until now: what is left comes first, so that there is never too much.
    pub(super) fn take_up(&mut self) -> Vec<Request> {
        let before = self.active();
        let next = self.parts.assigned.borrow_and_update().clone();
        let Some(work) = next else {
            self.work = None;
            return Vec::new();
        };
        let old = self.work.replace(Arc::clone(&work));
        if old.as_ref().is_some_and(|old| old.attempt != work.attempt) {
            self.aside.clear();
        }
        self.aside.retain(|stream, _| work.plan.streams.contains(stream));
        self.enlist(old.as_deref(), &work);
        self.settle();
        let after = self.active();
        let difference = |of: &[String], without: &[String]| -> Vec<String> {
            let without: BTreeSet<&String> = without.iter().collect();
            of.iter().filter(|stream| !without.contains(stream)).cloned().collect()
        };
        let (left, joined) = (difference(&before, &after), difference(&after, &before));
        if old.is_some() && (!left.is_empty() || !joined.is_empty()) {
            let (left, joined) = (left.len(), joined.len());
            tracing::info!(connection = &*self.parts.name, left, joined, "streams change");
        }
        let adapter = self.parts.pipeline.adapter();
        let mut requests = adapter.unsubscribe(&left, &mut self.next_id);
        requests.extend(adapter.subscribe(&joined, &mut self.next_id));
        requests
    }

    /// Does without a stream that the venue refuses.
    pub(super) fn set_aside(&mut self, stream: String, reason: Arc<str>) {
        let Some(work) = &self.work else { return };
        // It may have been left meanwhile.
        if !work.plan.streams.contains(&stream) {
            return;
        }
        tracing::warn!(
            connection = &*self.parts.name,
            stream,
            reason = &*reason,
            "the venue refuses a stream; it is set aside until the list is read again"
        );
        self.parts.metrics.streams.refused(&self.parts.name);
        let instrument = work.carried.get(&stream).map(|cargo| Arc::clone(&cargo.instrument));
        let aside = Aside { stream: stream.clone(), instrument, reason, since: now() };
        self.aside.insert(stream, aside);
        self.settle();
    }

    /// Leaves the streams that have fallen silent among others, and joins them again.
    pub(super) fn join_silent_again(&mut self, line: &mut Line) {
        // If nothing comes at all, that is the connection's.
        let speaks = line.data_at.is_some_and(|at| at.elapsed() < SPEAKS);
        let ours = self.work.as_deref().filter(|_| speaks && line.subscribed.is_some());
        let Some(work) = ours.filter(|_| self.liveness.is_due(now())) else { return };
        let (pipeline, asked) = (&self.parts.pipeline, &*line);
        let sign = |stream: &String| {
            let cargo = work.carried.get(stream)?;
            let is_joining = asked.is_joining(std::slice::from_ref(stream));
            let sign = Sign::of(cargo, |kind| pipeline.flow(&cargo.instrument, kind).heard);
            sign.filter(|_| !is_joining)
        };
        let found = self.liveness.judge(sign, now());
        let books = found.iter().filter(|(_, is_implied)| *is_implied);
        let books = books.filter_map(|(stream, _)| work.carried.get(stream));
        let books = books.filter(|cargo| cargo.kinds.contains(&Kind::Book));
        let books: Vec<_> = books.map(|cargo| Arc::clone(&cargo.instrument)).collect();
        let again: Vec<String> = found.into_iter().map(|(stream, _)| stream).collect();
        let silent: Arc<[String]> = self.liveness.silent().cloned().collect();
        let (connection, metrics) = (&self.parts.name, &self.parts.metrics.streams);
        metrics.silent(connection, silent.len(), again.len());
        self.status.send_modify(|status| status.silent = silent);
        if again.is_empty() {
            return;
        }
        let streams = again.join(" ");
        tracing::warn!(connection = &**connection, streams, "silent streams are joined again");
        for book in books {
            self.parts.pipeline.handle_book_lost(&book, now(), &mut self.outputs);
        }
        let adapter = self.parts.pipeline.adapter();
        line.say(adapter.unsubscribe(&again, &mut self.next_id));
        line.say(adapter.subscribe(&again, &mut self.next_id));
    }

    /// Hands the list to the pipeline, and says whose events come from here from now on, and whose
    /// no more.
    fn enlist(&mut self, old: Option<&Assignment>, work: &Assignment) {
        let is_news = old.is_none_or(|old| !Arc::ptr_eq(&old.roster, &work.roster));
        if is_news {
            let pipeline = &mut self.parts.pipeline;
            pipeline.adapter_mut().set_instruments(&work.roster.list);
            self.parts.outbox.follow(&work.roster.wanted);
            pipeline.want(Arc::clone(&work.roster.wanted), now(), &mut self.outputs);
            pipeline.want_kinds(&work.roster.kinds, now(), &mut self.outputs);
        }
        for (key, last) in &work.resume {
            if !self.resumed.insert(key.clone()) {
                continue;
            }
            let outputs = &mut self.outputs;
            let resumed =
                self.parts.pipeline.resume(&key.instrument, key.kind, *last, now(), outputs);
            if let Err(error) = resumed {
                tracing::warn!(instrument = %key.instrument, error = %error, "cannot be resumed");
            }
        }
        if let Some(old) = old.filter(|_| !matches!(self.status.borrow().state, FeedState::Down(_)))
        {
            let (old, new) = (&old.plan.instruments, &work.plan.instruments);
            let reason = Arc::from("not recorded any more");
            self.announce(&without(old, new), Connection::Disconnected, Some(&reason));
            let joined = without(new, old);
            self.parts.pipeline.handle_joined(joined.iter().map(|id| &**id), now());
            self.announce(&joined, Connection::Connected, None);
        }
    }

    /// Works out what follows from what is carried and what is set aside.
    fn settle(&mut self) {
        let Some(work) = &self.work else { return };
        let mut active = (*work.carried).clone();
        active.retain(|stream, _| !self.aside.contains_key(stream));
        self.nothing_left = active.is_empty();
        self.liveness.follow(active.keys(), now());
        self.books = books(&active);
        let kinds = active.values().flat_map(|cargo| &cargo.kinds);
        let silence_max = kinds.filter_map(|kind| silence_max(*kind)).min();
        if std::mem::replace(&mut self.silence_max, silence_max) != silence_max {
            self.silence_since = Instant::now();
        }
        self.status.send_modify(|status| {
            status.books = self.books.len();
            status.aside = self.aside.values().cloned().collect();
        });
    }
}

/// Those of the first that are not among the second.
fn without(all: &[Arc<InstrumentId>], others: &[Arc<InstrumentId>]) -> Vec<Arc<InstrumentId>> {
    let others: BTreeSet<_> = others.iter().collect();
    all.iter().filter(|id| !others.contains(id)).cloned().collect()
}
