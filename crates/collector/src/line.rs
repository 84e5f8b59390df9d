//! One socket of a feed and how far its subscription has come.

use crate::capture::Tap;
use crate::gate::{Gate, Place};
use net::{Frame, Proxy, Socket, SocketError, SocketOptions, Tls};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use units::UnixNanos;
use url::Url;
use venue::recording::Source;
use venue::{Granted, Keepalive, Limits, Pacer, Request, Subscription, Verdict};

/// How to reach a venue's streams.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) url: Url,
    pub(crate) tls: Tls,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) limits: Limits,
    pub(crate) gate: Arc<Gate>,
}

/// A socket, the requests not sent yet, and those not answered.
pub(crate) struct Line {
    socket: Socket,
    unsent: VecDeque<Request>,
    send_at: Instant,
    pace: Duration,
    /// What the venue grants of requests to join and to leave streams.
    budget: Option<Pacer>,
    keepalive: Option<Keepalive>,
    /// When something was last received, or said to keep the connection open.
    alive_at: Instant,
    subscription: Subscription,
    pub(crate) opened: Instant,
    /// When something that has to be answered was last sent.
    pub(crate) asked_at: Instant,
    /// When all of it was answered for the first time.
    pub(crate) subscribed: Option<Instant>,
    /// When it last brought data.
    pub(crate) data_at: Option<Instant>,
    /// Given back once the socket, which stands before it, is closed.
    _place: Place,
}

impl Line {
    /// Connects once the venue allows it; `requests` are sent afterwards, by [`Line::send_due`].
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub(crate) async fn open(dial: Dial, requests: Vec<Request>) -> Result<Self, SocketError> {
        let limits = dial.limits;
        let options = SocketOptions {
            // Our own pings notice a dead connection long before the venue's own would be missed.
            silence_max: SocketOptions::default().silence_max.min(limits.silence_max),
            proxy: dial.proxy.clone(),
            ..SocketOptions::default()
        };
        let place = dial.gate.pass().await;
        let socket = Socket::connect(&dial.url, &dial.tls, options, now).await?;
        let opened = Instant::now();
        let mut line = Self {
            socket,
            unsent: VecDeque::new(),
            send_at: opened,
            keepalive: limits.keepalive,
            alive_at: opened,
            // One frame per second is left for pongs and pings.
            pace: Duration::from_secs(1) / limits.frames_per_second.saturating_sub(1).max(1),
            budget: limits.subscribes.map(|(count, window)| Pacer::new(count, window)),
            subscription: Subscription::default(),
            opened,
            asked_at: opened,
            subscribed: None,
            data_at: None,
            _place: place,
        };
        line.say(requests);
        Ok(line)
    }

    /// When the next frame may be sent, if one is left.
    pub(crate) fn send_at(&self) -> Option<Instant> {
        (!self.unsent.is_empty()).then_some(self.send_at)
    }

    /// When the venue wants to hear that we are still there.
    pub(crate) fn keep_at(&self) -> Option<Instant> {
        self.keepalive.map(|keepalive| self.alive_at + keepalive.after)
    }

    /// When a refused request has to be looked at, if there is one.
    pub(crate) fn judge_at(&self) -> Option<Instant> {
        self.subscription.poll_timeout().map(|at| self.opened + at)
    }

    /// Puts requests behind those that wait. Their answers belong to the subscription as long as
    /// that is not complete.
    pub(crate) fn say(&mut self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.subscription.ask(&request);
            self.unsent.push_back(request);
        }
    }

    /// Puts an answer that the venue waits for before everything else.
    pub(crate) fn answer(&mut self, answer: Option<Request>) {
        if let Some(request) = answer {
            self.subscription.ask(&request);
            self.unsent.push_front(request);
        }
    }

    /// Whether one of these streams is being joined: its request waits to be sent or answered.
    pub(crate) fn is_joining(&self, streams: &[String]) -> bool {
        streams.iter().any(|stream| self.subscription.is_asking(stream))
    }

    /// Sends the next frame if its time has come, and takes it down where that is wanted.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; the line is then of no further use.
    pub(crate) async fn send_due(&mut self, tap: Option<&mut Tap>) -> Result<(), SocketError> {
        let now_at = Instant::now();
        if let Some(keepalive) = self.keepalive
            && self.alive_at + keepalive.after <= now_at
        {
            self.alive_at = now_at;
            self.socket.send(keepalive.frame.to_owned()).await?;
        }
        if self.send_at <= now_at
            && self.is_granted(now_at)
            && let Some(request) = self.unsent.pop_front()
        {
            self.send_at = now_at + self.pace;
            if request.id.is_some() {
                self.asked_at = now_at;
            }
            if let Some(tap) = tap {
                tap.note(now(), Source::Sent, request.frame.as_bytes());
            }
            self.socket.send(request.frame).await?;
        }
        Ok(())
    }

    /// Whether the venue's budget has the next request in it; if not, it waits until it has.
    fn is_granted(&mut self, now_at: Instant) -> bool {
        let counts = self.unsent.front().is_some_and(|request| request.id.is_some());
        let Some(budget) = self.budget.as_mut().filter(|_| counts) else { return true };
        match budget.take(now_at - self.opened) {
            Ok(()) => true,
            Err(wait) => {
                self.send_at = now_at + wait;
                false
            }
        }
    }

    /// Takes an answer that accepts a request, or a part of one.
    pub(crate) fn granted(&mut self, id: Option<u64>, granted: Granted) {
        self.subscription.handle_granted(id, granted);
    }

    /// Takes an answer that refuses a request, or a part of one.
    pub(crate) fn refused(&mut self, id: Option<u64>, reason: &Arc<str>) {
        self.subscription.handle_refused(id, reason, self.opened.elapsed());
    }

    /// What follows from the answers so far; once nothing does and none is awaited, all is
    /// subscribed.
    pub(crate) fn next_verdict(&mut self) -> Option<Verdict> {
        self.subscription.handle_timeout(self.opened.elapsed());
        let verdict = self.subscription.next_verdict();
        if verdict.is_none() && self.subscription.is_settled() && self.unsent.is_empty() {
            self.subscribed.get_or_insert_with(Instant::now);
        }
        verdict
    }

    /// Waits for frames. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; frames received before it are in `frames`.
    pub(crate) async fn receive(&mut self, frames: &mut Vec<Frame>) -> Result<(), SocketError> {
        self.socket.receive(frames).await?;
        self.alive_at = Instant::now();
        Ok(())
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.socket.close().await;
    }
}

/// The wall clock, for the sockets.
pub(crate) fn now() -> UnixNanos {
    UnixNanos::new(daemon::clock::now())
}

/// The wall clock's time of a moment that has passed.
pub(crate) fn time_of(at: Instant) -> UnixNanos {
    let ago = i64::try_from(at.elapsed().as_nanos()).unwrap_or(i64::MAX);
    UnixNanos::new(now().as_i64().saturating_sub(ago))
}

/// The time until `at`, as a point of the runtime's clock.
pub(crate) fn instant_of(at: UnixNanos) -> Instant {
    let wait = u64::try_from(at.since(now())).unwrap_or(0);
    Instant::now() + Duration::from_nanos(wait)
}
