//! A task for each subscription that begins in the past: the durable lane → hub, until it is live.
//!
//! It reads no faster than its client takes what waits for it, and ends with the subscription. What
//! is sent from which lane, and when the live one takes over, is decided by the
//! [`Handover`](super::handover::Handover).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bus, History, Page, RequestError, StreamInfo};
use bytes::Bytes;
use jiff::Timestamp;
use model::{Event, Kind};
use telemetry::Chain;
use tokio::sync::watch;

use super::client::{Next, Past, Span};
use super::handover::Mark;
use super::hub::Ticket;
use super::message::Start;
use super::pattern::{Pattern, Topic};
use super::{Seat, Stream};
use crate::places::{Full, Place, Places};

/// Blocks stored so long before the past that is wanted are read, too: the clocks of the collector's
/// and the bus's hosts differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);

/// How often it is looked whether there is more behind the end of the durable lane. Nothing tells of
/// it to whoever has no consumer there.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Pause after the bus refused or failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What all replays share.
pub(crate) struct Replays {
    bus: Bus,
    places: Places,
}

/// Why the past cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("`start` is in the future")]
    Future,
    #[error("this key has as many replays under way as it may: wait for a `replay_completed`")]
    TooManyOfKey,
    #[error("as many replays are under way as the gateway may have: try again soon")]
    TooMany,
    #[error(
        "of {kind} the bus has nothing from before {earliest}, which is {} in nanoseconds: begin \
         there, and ask storage for what was before", .earliest.as_nanosecond()
    )]
    TooOld { kind: Kind, earliest: Timestamp },
    #[error("the past of {kind} cannot be read: {error}")]
    Unavailable { kind: Kind, error: RequestError },
}

impl Refused {
    /// The word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Refused::Future => "invalid_start",
            Refused::TooManyOfKey | Refused::TooMany => "too_many_replays",
            Refused::TooOld { .. } => "start_too_old",
            Refused::Unavailable { .. } => "replay_unavailable",
        }
    }
}

/// A past that can be had: a place for it, and from when on.
pub(super) struct Granted {
    place: Place,
    /// In nanoseconds since the Unix epoch.
    pub(super) start: i64,
}

impl Replays {
    /// No replays yet, of what is on this bus.
    pub(crate) fn new(bus: Bus) -> Arc<Replays> {
        Arc::new(Replays { bus, places: Places::default() })
    }

    /// Finds out whether a client can have the past of a kind.
    pub(super) async fn ask(
        &self,
        seat: &Seat,
        kind: Kind,
        start: Start,
    ) -> Result<Granted, Refused> {
        let now = daemon::clock::now();
        let start = start.at(now);
        if start > now {
            return Err(Refused::Future);
        }
        let place = self.places.occupy(&seat.admitted.principal, seat.replays);
        let place = place.map_err(|full| match full {
            Full::Principal => Refused::TooManyOfKey,
            Full::All => Refused::TooMany,
        })?;
        let info = self.bus.stream_info(wire::stream(kind).name).await;
        let info = info.map_err(|error| Refused::Unavailable { kind, error })?;
        match beginning(&info) {
            Some(earliest) if earliest.as_nanosecond() > i128::from(start) => {
                Err(Refused::TooOld { kind, earliest })
            }
            Some(_) | None => Ok(Granted { place, start }),
        }
    }

    /// The replay of a subscription that the hub has.
    pub(super) fn replay(
        &self,
        seat: &Seat,
        ticket: Ticket,
        (kind, pattern): (Kind, Pattern),
        granted: Granted,
    ) -> Replay {
        let Granted { place, start } = granted;
        Replay {
            stream: Arc::clone(&seat.stream),
            bus: self.bus.clone(),
            room: seat.waker.room.subscribe(),
            ticket,
            kind,
            pattern,
            start,
            decoder: wire::Decoder::new(),
            history: None,
            read_until: start,
            past: VecDeque::new(),
            _place: place,
        }
    }
}

/// When the oldest block came that a stream has, if there were any before.
fn beginning(info: &StreamInfo) -> Option<Timestamp> {
    let state = &info.state;
    if state.first_seq <= 1 {
        return None;
    }
    if state.messages == 0 { state.last_time } else { state.first_time }
}

/// One of them.
pub(super) struct Replay {
    stream: Arc<Stream>,
    bus: Bus,
    /// Changes whenever the client has taken something, or has had enough.
    room: watch::Receiver<()>,
    ticket: Ticket,
    kind: Kind,
    pattern: Pattern,
    start: i64,
    decoder: wire::Decoder,
    history: Option<History>,
    /// When the last block that was read was stored.
    read_until: i64,
    /// What was read and not handed over yet: one page.
    past: VecDeque<Past>,
    _place: Place,
}

impl Replay {
    /// Hands over the past until the subscription is live, or has ended.
    pub(super) async fn run(mut self) {
        while let Err(error) = self.approach().await {
            tracing::debug!(error = %Chain(&error), kind = %self.kind, "a replay waits for the bus");
            tokio::time::sleep(RETRY_AFTER).await;
            let mut state = self.bus.state();
            // The sender lives as long as the bus does, and this holds one.
            drop(state.wait_for(bus::State::is_connected).await);
        }
    }

    /// Does so as long as the live lane is there without a break: what that loses unnoticed when
    /// the connection is lost would be missing.
    async fn approach(&mut self) -> Result<(), RequestError> {
        self.stream.live_is_read(self.kind).await;
        let session = self.session();
        self.stream.with_hub(|hub| hub.begin_anew(self.ticket, Instant::now()));
        let mut is_near = false;
        loop {
            let page = self.read().await?;
            let at_end = page.blocks.is_empty();
            is_near |= at_end;
            self.take(&page);
            if !self.hand_on().await {
                return Ok(());
            }
            if self.session() != session {
                return Err(RequestError::Disconnected);
            }
            if is_near && self.hand_over(at_end).await {
                return Ok(());
            }
        }
    }

    fn session(&self) -> Option<u64> {
        self.bus.state().borrow().session()
    }

    async fn read(&mut self) -> Result<Page, RequestError> {
        let history = match &mut self.history {
            Some(history) => history,
            history => {
                let Pattern { venue, market, .. } = self.pattern;
                let subjects = wire::durable_filter(self.kind, venue, market);
                let stream = wire::stream(self.kind);
                let since = self.start.saturating_sub(nanos(CLOCKS_DIFFER));
                let since = Timestamp::from_nanosecond(since.into()).unwrap_or(Timestamp::MIN);
                history.insert(self.bus.history(stream, subjects, since).await?)
            }
        };
        history.next().await
    }

    /// Takes in what was read.
    fn take(&mut self, page: &Page) {
        for (number, block) in page.blocks.iter().enumerate() {
            let stored = i64::try_from(block.time.as_nanosecond()).unwrap_or(i64::MAX);
            if page.trimmed == Some(number) {
                self.past.push_back(Past::Gone(Span { since: self.read_until, until: stored }));
            }
            self.read_until = stored;
            let producer: Option<Arc<str>> = block.header(wire::header::PRODUCER).map(Arc::from);
            for text in wire::events(&block.payload) {
                if let Some(event) = self.event(text) {
                    self.push(&event, text, producer.as_ref());
                }
            }
        }
        if page.trimmed == Some(page.blocks.len()) {
            let until = daemon::clock::now();
            self.past.push_back(Past::Gone(Span { since: self.read_until, until }));
        }
    }

    /// Reads an event that the subscription wants. What cannot be read is no event to anybody:
    /// storage sets it aside.
    fn event(&mut self, text: &[u8]) -> Option<Event> {
        let event = match self.decoder.decode(text) {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), kind = %self.kind, "no event of the past");
                return None;
            }
        };
        let is_text = std::str::from_utf8(text).is_ok();
        (is_text && self.pattern.matches(&Topic::of(&event))).then_some(event)
    }

    fn push(&mut self, event: &Event, text: &[u8], producer: Option<&Arc<str>>) {
        let Some(mark) = Mark::of(event, producer) else { return };
        let is_wanted = event.recv_time.as_i64() >= self.start;
        // Of its own, since it would keep its whole block.
        let payload = is_wanted.then(|| Bytes::copy_from_slice(text));
        self.past.push_back(Past::Event { mark, payload });
    }

    /// Hands over what was read, as the client has room; whether it goes on.
    async fn hand_on(&mut self) -> bool {
        loop {
            self.room.mark_unchanged();
            let Replay { stream, ticket, past, .. } = self;
            match stream.with_hub(|hub| hub.hand_on(*ticket, past)) {
                Next::Read => return true,
                Next::Wait => {}
                Next::End => return false,
            }
            if self.room.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Makes the subscription live if it is level; whether that is done, or it has ended.
    async fn hand_over(&mut self, at_end: bool) -> bool {
        loop {
            // What was live before it came by the durable lane is with the hub then.
            self.stream.live_is_read(self.kind).await;
            self.room.mark_unchanged();
            let span = Span { since: self.read_until, until: daemon::clock::now() };
            let now = Instant::now();
            match self.stream.with_hub(|hub| hub.hand_over(self.ticket, at_end, span, now)) {
                Next::Read if at_end => {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                    return false;
                }
                Next::Read => return false,
                Next::Wait => {}
                Next::End => return true,
            }
            if self.room.changed().await.is_err() {
                return true;
            }
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
