//! One client's socket: reads what it asks for, writes what waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::SinkExt as _;
use model::Kind;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{OnSlow, Outgoing, SubscriptionId};
use super::hub::Ticket;
use super::message::{self, Mistake, Request, SUBPROTOCOL, Start, Told};
use super::pattern::Pattern;
use super::replay::Replays;
use super::{Arrival, Seat};
use crate::access::Access;
use crate::rate::{Meter, Quota};

/// Silence after which the client is told that all is well, and asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Time within which a client must answer when it is asked whether it is there, and take what is
/// written to it: four heartbeats.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time for the last words of a connection, and more for a client that is known to be slow.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
const FAREWELL_SLOW_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether the key is still good.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Clients of a gateway that stops are asked to come back between these, so that they do not come
/// all at once: the first when a restart is over.
const RECONNECT_MIN_MS: u64 = 1_000;
const RECONNECT_MAX_MS: u64 = 10_000;

/// What a client may ask for in a while: enough to subscribe to everything it may, at once.
const REQUESTS: Quota = Quota { requests: 200, window: Duration::from_secs(10) };

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client went away.
    Client,
    /// The connection failed.
    Failed,
    /// The client said nothing, or took nothing, for too long.
    Silent,
    /// The client reads too slowly and wants to be closed then.
    Slow,
    /// Its key was revoked or has expired.
    Revoked,
    /// The gateway stops.
    Shutdown,
}

impl End {
    /// The word in metrics, and in the last message.
    fn as_str(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Failed => "failed",
            End::Silent => "silent",
            End::Slow => "slow",
            End::Revoked => "revoked",
            End::Shutdown => "shutdown",
        }
    }
}

/// One connection.
struct Session {
    socket: WebSocket,
    seat: Seat,
    replays: Arc<Replays>,
    /// Those of this client that are under way; they end with it.
    under_way: JoinSet<()>,
    /// How many there were.
    replayed: u64,
    requests: Meter<()>,
    /// When something was last written, and last heard.
    written: Instant,
    heard: Instant,
    /// When it was first asked whether it is there, of the times that it has not answered.
    asked: Option<Instant>,
}

/// Serves a client until one of both ends it.
pub(crate) async fn serve(
    arrival: Arrival,
    access: &Access,
    replays: Arc<Replays>,
    stop: CancellationToken,
) {
    let Arrival { socket, seat } = arrival;
    let now = Instant::now();
    let mut session = Session {
        socket,
        seat,
        replays,
        under_way: JoinSet::new(),
        replayed: 0,
        requests: Meter::new("requests"),
        written: now,
        heard: now,
        asked: None,
    };
    let end = session.run(access, &stop).await;
    let (metrics, principal) = (&session.seat.stream.metrics, &session.seat.admitted.principal);
    metrics.stream().ended(end.as_str());
    tracing::debug!(%principal, end = end.as_str(), "live stream ended");
    session.farewell(end).await;
}

impl Session {
    async fn run(&mut self, access: &Access, stop: &CancellationToken) -> End {
        // Dropped in the middle of a write: what is left of the message is still in the socket's
        // buffer, and the farewell comes after it.
        let doomed = self.seat.waker.doomed.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => End::Shutdown,
            () = doomed.cancelled() => End::Slow,
            end = self.converse(access) => end,
        }
    }

    async fn converse(&mut self, access: &Access) -> End {
        if let Err(end) = self.welcome().await {
            return end;
        }
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            if let Err(end) = self.write_waiting().await {
                return end;
            }
            let woken = Arc::clone(&self.seat.waker.woken);
            let step = tokio::select! {
                biased;
                frame = self.socket.recv() => self.hear(frame).await,
                _ = look.tick() => self.look(access).await,
                () = woken.notified() => Ok(()),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn welcome(&mut self) -> Result<(), End> {
        let limits = self.seat.limits;
        let welcome = Told::Welcome {
            protocol: SUBPROTOCOL,
            subscriptions_max: limits.subscriptions,
            queue_messages: limits.messages,
            queue_bytes: limits.bytes,
            heartbeat_seconds: HEARTBEAT.as_secs(),
        };
        self.write(welcome.text()).await
    }

    /// Writes what waits, until nothing does or it is another's turn.
    async fn write_waiting(&mut self) -> Result<(), End> {
        let (batch, is_more) = self.seat.take();
        if batch.is_empty() {
            return Ok(());
        }
        self.seat.waker.room.send_replace(());
        if is_more {
            // Nobody says so again.
            self.seat.waker.woken.notify_one();
        }
        let is_slow = batch.iter().any(|sent| sent.message == Outgoing::Close);
        let texts: Vec<Message> =
            batch.iter().filter_map(message::write).map(Message::text).collect();
        let socket = &mut self.socket;
        let writing = async {
            for text in texts {
                socket.feed(text).await?;
            }
            socket.flush().await
        };
        match tokio::time::timeout(PATIENCE, writing).await {
            Ok(Ok(())) => self.written = Instant::now(),
            Ok(Err(_)) => return Err(End::Failed),
            Err(_) => return Err(End::Silent),
        }
        if is_slow { Err(End::Slow) } else { Ok(()) }
    }

    async fn write(&mut self, text: String) -> Result<(), End> {
        match tokio::time::timeout(PATIENCE, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => {
                self.written = Instant::now();
                Ok(())
            }
            Ok(Err(_)) => Err(End::Failed),
            Err(_) => Err(End::Silent),
        }
    }

    async fn hear(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        (self.heard, self.asked) = (Instant::now(), None);
        match frame {
            None | Some(Ok(Message::Close(_))) => Err(End::Client),
            Some(Err(error)) => {
                tracing::debug!(%error, "live stream failed");
                Err(End::Failed)
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Binary(_))) => {
                let message = "a request is a text message".to_owned();
                self.mistake(&Mistake { id: None, code: "malformed", message }).await
            }
            Some(Ok(Message::Text(text))) => self.answer(text.as_str()).await,
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), End> {
        if !self.requests.take((), REQUESTS, Instant::now()).passes {
            let message = "these are too many requests; wait a second".to_owned();
            return self.mistake(&Mistake { id: None, code: "too_many_requests", message }).await;
        }
        match Request::read(text) {
            Ok(request) => match self.follow(request).await {
                Ok(answer) => self.write(answer).await,
                Err(mistake) => self.mistake(&mistake).await,
            },
            Err(mistake) => self.mistake(&mistake).await,
        }
    }

    async fn follow(&mut self, request: Request) -> Result<String, Mistake> {
        let Seat { stream, client, waker, .. } = &self.seat;
        let (id, done, answer) = match request {
            Request::Ping => return Ok(Told::Pong.text()),
            Request::SubscribeFrom { id, kind, pattern, on_slow, start } => {
                return self.follow_from(id, (kind, pattern), on_slow, start).await;
            }
            Request::Subscribe { id, pattern, on_slow } => {
                let answer = message::subscribed(id, &pattern, None);
                let done = stream.with_hub(|hub| hub.subscribe(*client, id, pattern, on_slow));
                (id, done, answer)
            }
            Request::Unsubscribe { id } => {
                let done = stream.with_hub(|hub| hub.unsubscribe(*client, id));
                // Its replay has to learn of it, if it has one.
                waker.room.send_replace(());
                (id, done, Told::Unsubscribed { id }.text())
            }
        };
        match done {
            Ok(()) => {
                stream.changed.notify_one();
                Ok(answer)
            }
            Err(refused) => {
                Err(Mistake { id: Some(id), code: refused.code(), message: refused.to_string() })
            }
        }
    }

    /// Subscribes to something from the past on.
    async fn follow_from(
        &mut self,
        id: SubscriptionId,
        (kind, pattern): (Kind, Pattern),
        on_slow: OnSlow,
        start: Start,
    ) -> Result<String, Mistake> {
        let mistake = |code, message| Mistake { id: Some(id), code, message };
        let Session { seat, replays, .. } = self;
        let granted = replays.ask(seat, kind, start).await;
        let granted = granted.map_err(|refused| mistake(refused.code(), refused.to_string()))?;
        let answer = message::subscribed(id, &pattern, Some(granted.start));
        self.replayed += 1;
        let ticket = Ticket { client: seat.client, id, number: self.replayed };
        let (wanted, now) = (pattern.clone(), Instant::now());
        seat.stream
            .with_hub(|hub| hub.subscribe_from(ticket, wanted, on_slow, now))
            .map_err(|refused| mistake(refused.code(), refused.to_string()))?;
        seat.stream.changed.notify_one();
        self.under_way.spawn(replays.replay(seat, ticket, (kind, pattern), granted).run());
        Ok(answer)
    }

    async fn mistake(&mut self, mistake: &Mistake) -> Result<(), End> {
        let Mistake { id, code, message } = mistake;
        self.write(Told::Error { id: *id, code, message }.text()).await
    }

    /// Looks after what time changes: the key, silence in either direction.
    async fn look(&mut self, access: &Access) -> Result<(), End> {
        let now = Instant::now();
        while let Some(ended) = self.under_way.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a replay failed");
            }
        }
        if !access.is_good(&self.seat.admitted, crate::gate::now()) {
            return Err(End::Revoked);
        }
        // Not from when it was last heard: it may have had a long message to take since.
        if self.asked.is_some_and(|asked| now - asked > PATIENCE) {
            return Err(End::Silent);
        }
        if now - self.written < HEARTBEAT {
            // Clients that are sent something all the time need not say anything; a ping does not
            // disturb them, and its answer shows that they are there.
            if now - self.heard > HEARTBEAT && self.asked.is_none() {
                self.ping().await?;
            }
            return Ok(());
        }
        self.ping().await?;
        self.write(Told::Heartbeat { time: daemon::clock::now() }.text()).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        let ping = Message::Ping(axum::body::Bytes::new());
        match tokio::time::timeout(PATIENCE, self.socket.send(ping)).await {
            Ok(Ok(())) => {
                self.asked.get_or_insert_with(Instant::now);
                Ok(())
            }
            Ok(Err(_)) => Err(End::Failed),
            Err(_) => Err(End::Silent),
        }
    }

    /// Says why it ends and, if it does not depend on the client, when to come back.
    async fn farewell(mut self, end: End) {
        let code = match end {
            End::Client | End::Failed => return,
            End::Shutdown => close_code::AWAY,
            End::Silent | End::Slow | End::Revoked => close_code::POLICY,
        };
        let reconnect_after_ms = (end == End::Shutdown).then(reconnect_after);
        let reason = end.as_str();
        let text = Told::Bye { reason, reconnect_after_ms }.text();
        let words = last_words(reason, reconnect_after_ms);
        let frame = CloseFrame { code, reason: words.into() };
        let speaking = async {
            self.socket.feed(Message::text(text)).await?;
            self.socket.send(Message::Close(Some(frame))).await?;
            // Until the client closes, too: what it has sent and nobody read would reset the
            // connection, and the last words with it.
            while let Some(Ok(_)) = self.socket.recv().await {}
            Ok::<(), axum::Error>(())
        };
        let most = if end == End::Slow { FAREWELL_SLOW_MAX } else { FAREWELL_MAX };
        // Whoever does not listen misses it.
        drop(tokio::time::timeout(most, speaking).await);
    }
}

/// The reason that a close frame gives.
pub(crate) fn last_words(reason: &str, reconnect_after_ms: Option<u64>) -> String {
    reconnect_after_ms
        .map_or_else(|| reason.to_owned(), |ms| format!("{reason}: reconnect in {ms} ms"))
}

/// A time between the two limits, in milliseconds; another for each client.
pub(crate) fn reconnect_after() -> u64 {
    let mut random = [0; 8];
    // Without randomness they come back in the middle of the time, which is no worse than at once.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => u64::from_le_bytes(random) % (RECONNECT_MAX_MS - RECONNECT_MIN_MS),
        Err(_) => (RECONNECT_MAX_MS - RECONNECT_MIN_MS) / 2,
    };
    RECONNECT_MIN_MS + share
}
