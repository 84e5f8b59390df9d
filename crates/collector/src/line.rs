//! One socket of a feed and how far its subscription has come.

use net::{Frame, Socket, SocketError, SocketOptions, Tls};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use units::UnixNanos;
use url::Url;
use venue::Limits;

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
    unsent: VecDeque<String>,
    send_at: Instant,
    pace: Duration,
    unconfirmed: usize,
    pub(crate) opened: Instant,
    /// When all of it was subscribed.
    pub(crate) subscribed: Option<Instant>,
}

impl Line {
    /// Connects; `subscriptions` are sent afterwards, by [`Line::send_due`].
    ///
    /// # Errors
    ///
    /// [`SocketError`].
    pub(crate) async fn open(dial: Dial, subscriptions: Vec<String>) -> Result<Self, SocketError> {
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
            unconfirmed: subscriptions.len(),
            unsent: subscriptions.into(),
            send_at: opened,
            // One frame per second is left for pongs and pings.
            pace: Duration::from_secs(1) / limits.frames_per_second.saturating_sub(1).max(1),
            opened,
            subscribed: None,
        })
    }

    /// When the next subscription frame may be sent, if one is left.
    pub(crate) fn send_at(&self) -> Option<Instant> {
        (!self.unsent.is_empty()).then_some(self.send_at)
    }

    /// Sends the next subscription frame if its time has come.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; the line is then of no further use.
    pub(crate) async fn send_due(&mut self) -> Result<(), SocketError> {
        if self.send_at <= Instant::now()
            && let Some(text) = self.unsent.pop_front()
        {
            self.send_at = Instant::now() + self.pace;
            self.socket.send(text).await?;
        }
        Ok(())
    }

    /// Notes that the venue accepted a subscription frame.
    pub(crate) fn confirmed(&mut self) {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
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
        self.socket.receive(frames).await
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
