//! One connection's life: subscribing, receiving, and handing over to its successor.

use super::overlap::{Overlap, PROOF_MAX, Standing};
use super::{FEED_STALL_MAX, Feed, Lost, Parts};
use crate::board::{FeedState, Query};
use crate::fetcher::Answer;
use crate::line::{Dial, Line, instant_of, now, time_of};
use daemon::Task;
use feed::{Heard, Output};
use futures_util::future::{BoxFuture, OptionFuture};
use model::{Body, Cause, Connection, Gap, InstrumentId, Kind};
use net::{Frame, SocketError};
use rand::RngExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use venue::recording::Source;
use venue::{Adapter, FrameType, Request, Slot, Snapshots, Verdict};

/// The pause between two books that are shown when this collector takes over from the other of its
/// pair: 200 of them take a second, and what the venue sends meanwhile is not held up.
const SHOW_PAUSE: Duration = Duration::from_millis(5);

/// How long the whole subscription may take beyond its pacing.
const CONFIRM_MAX: Duration = Duration::from_secs(10);

/// A connection is renewed this long before the venue would end it, plus up to as much again so
/// that not all are renewed at once.
const RENEWAL_MARGIN: Duration = Duration::from_secs(1_800);

/// The wait after a successor could not be opened.
const SUCCESSOR_RETRY: Duration = Duration::from_secs(10);

/// The wait after a venue said that we ask too often.
const TOO_OFTEN_RETRY: Duration = Duration::from_secs(300);

/// The connection that is to take over.
enum Successor {
    None,
    Opening(BoxFuture<'static, Result<Line, SocketError>>),
    Open(Box<Line>),
}

/// The sockets of a session and when to act on them.
struct Session {
    line: Line,
    successor: Successor,
    /// What both have brought while there is a successor.
    overlap: Overlap,
    renew_at: Instant,
    /// When a connection that had to take over unproven must have brought something.
    prove_by: Option<Instant>,
}

enum Wake {
    Stop,
    Opened(Box<Result<Line, SocketError>>),
    Frames(Result<(), SocketError>),
    SuccessorFrames(Result<(), SocketError>),
    Answer(Answer),
    Query(Query),
    Assigned,
    TakesOver,
    Due,
}

impl<A: Adapter> Feed<A> {
    /// Holds a connection until it is lost, or until the task is stopped.
    pub(super) async fn session(&mut self, task: &Task) -> Result<(), Lost> {
        let (dial, frames) = self.dialling();
        let Some(line) = task.until_stopped(Line::open(dial, frames)).await else { return Ok(()) };
        let line = line?;
        self.note_connect();
        self.parts.metrics.connected(&self.parts.name, true);
        self.announce_all(Connection::Connected, None);
        self.set_state(FeedState::Subscribing);
        let mut session = Session {
            renew_at: self.renew_at(&line),
            line,
            successor: Successor::None,
            overlap: Overlap::default(),
            prove_by: None,
        };
        let result = self.hold(task, &mut session).await;
        if result.is_ok() {
            task.alive(session.line.close()).await;
        }
        result
    }

    async fn hold(&mut self, task: &Task, session: &mut Session) -> Result<(), Lost> {
        let mut frames = Vec::new();
        loop {
            let wake = self.wake(task, session, &mut frames).await;
            let may_judge = !matches!(wake, Wake::Answer(_));
            let from_successor = match wake {
                Wake::Stop => return Ok(()),
                Wake::Opened(opened) => {
                    if opened.is_ok() {
                        self.note_connect();
                    }
                    session.opened(*opened, &self.parts.name);
                    false
                }
                Wake::Frames(Ok(())) | Wake::Due => false,
                Wake::SuccessorFrames(Ok(())) => true,
                Wake::Frames(Err(error)) => {
                    self.take(session, &mut frames, false)?;
                    // Better one that has not proved itself yet than none.
                    let is_owed = session.overlap.is_owed();
                    session.promote().ok_or(error)?;
                    session.prove_by = is_owed.then(|| Instant::now() + PROOF_MAX);
                    self.renewed(session);
                    false
                }
                Wake::SuccessorFrames(Err(error)) => {
                    self.take(session, &mut frames, true)?;
                    session.opened(Err(error), &self.parts.name);
                    false
                }
                Wake::Answer(answer) => {
                    self.answered(answer);
                    false
                }
                Wake::Query(query) => {
                    self.reply(query);
                    continue;
                }
                Wake::Assigned => {
                    let requests = self.take_up();
                    if self.work.is_none() {
                        return Ok(());
                    }
                    session.change(&requests);
                    false
                }
                Wake::TakesOver => {
                    self.parts.pipeline.take_over(now(), SHOW_PAUSE);
                    false
                }
            };
            self.take(session, &mut frames, from_successor)?;
            self.due(session, may_judge).await?;
            if self.nothing_left {
                return Err(Lost::NothingLeft);
            }
            self.watch_books(&session.line);
            self.tell_of_resets();
            let outbox = &mut self.parts.outbox;
            task.alive(outbox.send(&mut self.outputs, FEED_STALL_MAX)).await?;
            if let Err(error) = self.tick(task).await {
                tracing::error!(error = %error, "cannot renew the status");
            }
        }
    }

    /// Priorities: stop; snapshots, they unblock buffered diffs; frames; the successor; what is to be
    /// carried; who speaks; questions; deadlines.
    async fn wake(&mut self, task: &Task, session: &mut Session, frames: &mut Vec<Frame>) -> Wake {
        let due = self.due_at(session);
        let (mut opening, mut open) = (None, None);
        match &mut session.successor {
            Successor::None => {}
            Successor::Opening(future) => opening = Some(future),
            Successor::Open(line) => open = Some(line),
        }
        let mut successor_frames = Vec::new();
        let wake = task
            .alive(async {
                tokio::select! {
                    biased;
                    () = task.stopped() => Wake::Stop,
                    Some(answer) = self.answers.1.recv() => Wake::Answer(answer),
                    result = session.line.receive(frames) => Wake::Frames(result),
                    Some(result) = OptionFuture::from(
                        open.map(|line| line.receive(&mut successor_frames)),
                    ) => Wake::SuccessorFrames(result),
                    Some(result) = OptionFuture::from(opening) => Wake::Opened(Box::new(result)),
                    Ok(()) = self.parts.assigned.changed() => Wake::Assigned,
                    () = self.parts.outbox.takes_over() => Wake::TakesOver,
                    Some(query) = self.queries.recv() => Wake::Query(query),
                    () = sleep_until(due) => Wake::Due,
                }
            })
            .await;
        frames.append(&mut successor_frames);
        wake
    }

    /// Runs frames through the pipeline and acts on those that are no data.
    fn take(
        &mut self,
        session: &mut Session,
        frames: &mut Vec<Frame>,
        from_successor: bool,
    ) -> Result<(), Lost> {
        let (Parts { name, pipeline, relisted, tap, .. }, outputs) =
            (&mut self.parts, &mut self.outputs);
        if let Some(frame) = frames.last() {
            self.status.send_modify(|status| status.last_frame = Some(frame.recv_time));
        }
        for frame in frames.drain(..) {
            if let Some(tap) = tap {
                tap.note(frame.recv_time, Source::Ws, &frame.data);
            }
            match pipeline.handle_frame(frame.recv_time, &frame.data, outputs) {
                Ok(FrameType::Data(_) | FrameType::Skipped { .. }) => {
                    let chained = A::SNAPSHOTS == Snapshots::Stream;
                    session.heard(pipeline.heard(), from_successor, chained);
                }
                Ok(FrameType::Accepted { id, granted }) => {
                    session.line_of(from_successor).granted(id, granted);
                }
                Ok(FrameType::Refused { code, message, too_often: true, .. }) => {
                    // The connection that works is worth more than its successor.
                    if !from_successor {
                        return Err(Lost::TooOften { code, message });
                    }
                    session.give_up_successor(code, &message, name);
                }
                Ok(FrameType::Refused { id, code, message, too_often: false }) => {
                    let reason: Arc<str> = format!("{message} ({code})").into();
                    tracing::debug!(connection = &**name, reason = &*reason, "the venue refuses");
                    session.line_of(from_successor).refused(id, &reason);
                }
                Ok(FrameType::Relisted) => relisted.notify_one(),
                Ok(FrameType::Closing) if !from_successor => session.renew_at = Instant::now(),
                Ok(FrameType::Probe) => {
                    let answer = pipeline.adapter().probe_answer(&mut self.next_id);
                    session.line_of(from_successor).answer(answer);
                }
                // The pipeline has counted it and, if it was refused, keeps a sample.
                Ok(FrameType::Closing | FrameType::Alive) | Err(_) => {}
            }
        }
        if let Some(tap) = tap {
            tap.pass_on_if_due();
        }
        self.say_what_is_due(session);
        Ok(())
    }

    /// Acts on what the venue's answers lead to, and has books begun anew that are out of step.
    fn say_what_is_due(&mut self, session: &mut Session) {
        for from_successor in [false, true] {
            while let Some(verdict) = session.line_of(from_successor).next_verdict() {
                match verdict {
                    Verdict::Ask(streams) => {
                        let adapter = self.parts.pipeline.adapter();
                        let requests = adapter.subscribe(&streams, &mut self.next_id);
                        session.line_of(from_successor).say(requests);
                    }
                    Verdict::SetAside { stream, reason } => self.set_aside(stream, reason),
                }
            }
        }
        let line = session.line_of(true);
        let again = self.fetch(|streams| line.is_joining(streams));
        // All in one, for a venue may count requests.
        let adapter = self.parts.pipeline.adapter();
        line.say(adapter.unsubscribe(&again, &mut self.next_id));
        line.say(adapter.subscribe(&again, &mut self.next_id));
    }

    /// Acts on every deadline that has passed.
    async fn due(&mut self, session: &mut Session, may_judge: bool) -> Result<(), Lost> {
        let now_at = Instant::now();
        if self.parts.pipeline.poll_timeout().is_some_and(|at| at <= now()) {
            self.parts.pipeline.handle_timeout(now(), &mut self.outputs);
        }
        self.say_what_is_due(session);
        session.line.send_due(self.parts.tap.as_mut()).await?;
        match session.line.subscribed {
            Some(_) => self.subscribed(session.line.opened),
            None if session.confirm_by() <= now_at => return Err(Lost::Unconfirmed),
            None => {}
        }
        let heard = session.line.data_at.unwrap_or(session.line.opened);
        if let Some(silence_max) = self.silence_max
            && heard.max(self.silence_since) + silence_max <= now_at
        {
            return Err(Lost::NoData(silence_max));
        }
        if session.prove_by.is_some_and(|by| by <= now_at) {
            session.prove_by = None;
            if session.line.data_at.is_none() {
                return Err(Lost::NoData(PROOF_MAX));
            }
        }
        // It is judged by frames, and those may have waited as long as an answer.
        if may_judge {
            self.due_successor(session, now_at).await;
        }
        // A successor joins everything anew.
        if matches!(session.successor, Successor::None) {
            self.join_silent_again(&mut session.line);
        }
        if session.renew_at <= now_at && matches!(session.successor, Successor::None) {
            let (dial, frames) = self.dialling();
            session.successor = Successor::Opening(Box::pin(Line::open(dial, frames)));
        }
        Ok(())
    }

    /// Says what the successor has to say, and puts it in the connection's place once it serves.
    async fn due_successor(&mut self, session: &mut Session, now_at: Instant) {
        let Successor::Open(line) = &mut session.successor else { return };
        if let Err(error) = line.send_due(self.parts.tap.as_mut()).await {
            session.opened(Err(error), &self.parts.name);
            return;
        }
        let Some(subscribed) = line.subscribed else {
            if line.asked_at + 2 * CONFIRM_MAX <= now_at {
                session.put_off(SUCCESSOR_RETRY);
            }
            return;
        };
        session.overlap.begin(subscribed);
        let is_aside = |stream: &(Slot, Kind)| self.is_aside(*stream);
        match session.overlap.judge(is_aside, self.chained_books(), now_at) {
            Standing::Unproven => {}
            Standing::Serves => {
                session.promote();
                self.renewed(session);
            }
            Standing::Fails(owed) => {
                let connection = &*self.parts.name;
                tracing::warn!(connection, owed, "the successor does not bring what this brings");
                session.put_off(SUCCESSOR_RETRY);
            }
        }
    }

    /// The books that are in step and begin with a snapshot in the stream.
    fn chained_books(&self) -> impl Iterator<Item = Slot> {
        let pipeline = &self.parts.pipeline;
        let chained = self.books.iter().filter(|_| A::SNAPSHOTS == Snapshots::Stream);
        let slot = move |id: &Arc<InstrumentId>| {
            let is_synced = pipeline.book(id, 0, now()).is_some_and(|book| book.synced);
            if is_synced { pipeline.adapter().find(id) } else { None }
        };
        chained.filter_map(slot)
    }

    fn due_at(&self, session: &Session) -> Instant {
        let confirm_by = session.line.subscribed.is_none().then(|| session.confirm_by());
        let successor = match &session.successor {
            Successor::None => Some(session.renew_at),
            Successor::Opening(_) => None,
            Successor::Open(line) => line
                .send_at()
                .into_iter()
                .chain(line.judge_at())
                .min()
                .or_else(|| session.overlap.poll_timeout())
                .or(Some(line.asked_at + 2 * CONFIRM_MAX)),
        };
        [
            self.parts.pipeline.poll_timeout().map(instant_of),
            session.line.send_at(),
            session.line.keep_at(),
            session.line.judge_at(),
            confirm_by,
            successor,
        ]
        .into_iter()
        .flatten()
        .fold(self.tick_at, Instant::min)
    }

    /// Takes down that a connection was made: from now on its frames are among the others.
    fn note_connect(&mut self) {
        if let Some(tap) = &mut self.parts.tap {
            tap.note(now(), Source::Connect(self.parts.dial.url.as_str()), b"");
        }
    }

    /// Says in the log what the venue has begun to number anew.
    fn tell_of_resets(&self) {
        for Output { event, .. } in &self.outputs {
            if let Body::Gap(Gap { of, after_id, before_id: None, cause: Cause::Reset, .. }) =
                &event.body
            {
                let (connection, instrument) = (&*self.parts.name, &event.instrument);
                tracing::warn!(connection, %instrument, kind = %of, after_id, "numbered anew");
            }
        }
    }

    /// Where to connect and what to say there.
    fn dialling(&mut self) -> (Dial, Vec<Request>) {
        let streams = self.active();
        let adapter = self.parts.pipeline.adapter();
        let mut requests = adapter.greeting(&mut self.next_id);
        requests.extend(adapter.subscribe(&streams, &mut self.next_id));
        (self.parts.dial.clone(), requests)
    }

    fn renew_at(&self, line: &Line) -> Instant {
        let spread = rand::rng().random_range(0.0..=1.0);
        let margin = RENEWAL_MARGIN + RENEWAL_MARGIN.mul_f64(spread);
        line.opened + self.parts.dial.limits.lifetime.saturating_sub(margin)
    }

    fn renewed(&mut self, session: &mut Session) {
        self.liveness.begin(now(), time_of(session.line.opened));
        session.renew_at = self.renew_at(&session.line);
        tracing::info!(connection = &*self.parts.name, "connection renewed");
    }

    fn subscribed(&mut self, opened: Instant) {
        if self.status.borrow().state != FeedState::Up {
            self.liveness.begin(now(), time_of(opened));
            self.joined();
            let (streams, set_aside) = (self.active().len(), self.aside.len());
            tracing::info!(connection = &*self.parts.name, streams, set_aside, "subscribed");
            self.set_state(FeedState::Up);
        }
    }

    fn set_state(&self, state: FeedState) {
        self.status.send_modify(|status| (status.state, status.since) = (state, now()));
    }
}

impl Session {
    fn confirm_by(&self) -> Instant {
        self.line.asked_at + CONFIRM_MAX
    }

    /// Says on both connections what changes; one that is being opened is begun anew.
    fn change(&mut self, requests: &[Request]) {
        if !requests.is_empty() {
            self.overlap.change(Instant::now());
        }
        self.line.say(requests.iter().cloned());
        match &mut self.successor {
            Successor::Open(line) => line.say(requests.iter().cloned()),
            Successor::Opening(_) if !requests.is_empty() => self.successor = Successor::None,
            Successor::None | Successor::Opening(_) => {}
        }
    }

    /// Gives a successor up that the venue does not want at the moment.
    fn give_up_successor(&mut self, code: i64, message: &str, name: &str) {
        tracing::warn!(connection = name, code, message, "the successor asked too often");
        self.put_off(TOO_OFTEN_RETRY);
    }

    /// Does without a successor for a while.
    fn put_off(&mut self, wait: Duration) {
        self.successor = Successor::None;
        self.renew_at = Instant::now() + wait;
    }

    /// Takes what a frame of one of the connections has brought.
    fn heard(&mut self, heard: &[Heard], from_successor: bool, chained: bool) {
        let now_at = Instant::now();
        self.line_of(from_successor).data_at = Some(now_at);
        if matches!(self.successor, Successor::Open(_)) {
            self.overlap.hear(heard, from_successor, chained);
        }
    }

    /// The successor's connection where that is meant and there is one, else the other, which ends
    /// soon if there is one.
    fn line_of(&mut self, from_successor: bool) -> &mut Line {
        match &mut self.successor {
            Successor::Open(line) if from_successor => line,
            Successor::None | Successor::Opening(_) | Successor::Open(_) => &mut self.line,
        }
    }

    /// Takes the successor's connection, or puts the next attempt off.
    fn opened(&mut self, opened: Result<Line, SocketError>, name: &str) {
        self.overlap = Overlap::default();
        self.successor = match opened {
            Ok(line) => Successor::Open(Box::new(line)),
            Err(error) => {
                tracing::warn!(connection = name, error = %error, "cannot renew the connection yet");
                self.renew_at = Instant::now() + SUCCESSOR_RETRY;
                Successor::None
            }
        };
    }

    /// Puts the successor in the connection's place; `None` if there is none that is subscribed.
    fn promote(&mut self) -> Option<()> {
        match std::mem::replace(&mut self.successor, Successor::None) {
            Successor::Open(line) if line.subscribed.is_some() => {
                self.line = *line;
                Some(())
            }
            other @ (Successor::None | Successor::Opening(_) | Successor::Open(_)) => {
                self.successor = other;
                None
            }
        }
    }
}
