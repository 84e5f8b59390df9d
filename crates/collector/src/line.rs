//! One socket of a feed and how far its subscription has come.

use net::{Frame, Socket, SocketError, SocketOptions, Tls};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use units::UnixNanos;
use url::Url;
use venue::{Keepalive, Limits, Request};

/// How to reach a venue's streams.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) url: Url,
    pub(crate) tls: Tls,
    pub(crate) limits: Limits,
}

/// A socket, the subscription frames not sent yet, and the confirmations outstanding.
pub(crate) struct Line {
    socket: Socket,
    unsent: VecDeque<Request>,
    send_at: Instant,
    pace: Duration,
    keepalive: Option<Keepalive>,
    /// When something was last received, or said to keep the connection open.
    alive_at: Instant,
    unconfirmed: usize,
    pub(crate) opened: Instant,
    /// When something that has to be confirmed was last sent.
    pub(crate) asked_at: Instant,
    /// When all of it was subscribed.
    pub(crate) subscribed: Option<Instant>,
}

impl Line {
    /// Connects; `requests` are sent afterwards, by [`Line::send_due`].
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub(crate) async fn open(dial: Dial, requests: Vec<Request>) -> Result<Self, SocketError> {
        let limits = dial.limits;
        let options = SocketOptions {
            // Our own pings notice a dead connection long before the venue's own would be missed.
            silence_max: SocketOptions::default().silence_max.min(limits.silence_max),
            ..SocketOptions::default()
        };
        let socket = Socket::connect(&dial.url, &dial.tls, options, now).await?;
        let opened = Instant::now();
        Ok(Self {
            socket,
            unconfirmed: requests.iter().map(|request| request.confirmations).sum(),
            unsent: requests.into(),
            send_at: opened,
            keepalive: limits.keepalive,
            alive_at: opened,
            // One frame per second is left for pongs and pings.
            pace: Duration::from_secs(1) / limits.frames_per_second.saturating_sub(1).max(1),
            opened,
            asked_at: opened,
            subscribed: None,
        })
    }

    /// When the next frame may be sent, if one is left.
    pub(crate) fn send_at(&self) -> Option<Instant> {
        (!self.unsent.is_empty()).then_some(self.send_at)
    }

    /// When the venue wants to hear that we are still there.
    pub(crate) fn keep_at(&self) -> Option<Instant> {
        self.keepalive.map(|keepalive| self.alive_at + keepalive.after)
    }

    /// Puts requests behind those that wait. Their confirmations belong to the subscription as long
    /// as that is not complete.
    pub(crate) fn say(&mut self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.unconfirmed += request.confirmations;
            self.unsent.push_back(request);
        }
    }

    /// Puts an answer that the venue waits for before everything else.
    pub(crate) fn answer(&mut self, answer: Option<Request>) {
        if let Some(request) = answer {
            self.unconfirmed += request.confirmations;
            self.unsent.push_front(request);
        }
    }

    /// Sends the next frame if its time has come.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; the line is then of no further use.
    pub(crate) async fn send_due(&mut self) -> Result<(), SocketError> {
        let now_at = Instant::now();
        if let Some(keepalive) = self.keepalive
            && self.alive_at + keepalive.after <= now_at
        {
            self.alive_at = now_at;
            self.socket.send(keepalive.frame.to_owned()).await?;
        }
        if self.send_at <= now_at
            && let Some(request) = self.unsent.pop_front()
        {
            self.send_at = now_at + self.pace;
            if request.confirmations > 0 {
                self.asked_at = now_at;
            }
            self.socket.send(request.frame).await?;
        }
        Ok(())
    }

    /// Notes that the venue accepted `count` parts of what was asked.
    pub(crate) fn confirmed(&mut self, count: usize) {
        self.unconfirmed = self.unconfirmed.saturating_sub(count);
        if self.unconfirmed == 0 {
            self.subscribed.get_or_insert_with(Instant::now);
        }
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

/// The time until `at`, as a point of the runtime's clock.
pub(crate) fn instant_of(at: UnixNanos) -> Instant {
    let wait = u64::try_from(at.since(now())).unwrap_or(0);
    Instant::now() + Duration::from_nanos(wait)
}
