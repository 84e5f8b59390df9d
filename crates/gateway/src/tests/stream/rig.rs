//! A NATS server, somebody who publishes on it, the whole service, and a client that checks.

use bus::{Bus, LiveId};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use model::{Body, Book, BookType, Event, InstrumentId, Side, Symbol, Trade, Venue};
use serde_json::Value;
use settings::Suite;
use testkit::nats::NatsServer;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use units::UnixNanos;

use super::super::service::Running;
use super::*;

/// A NATS server, a collector that publishes on it, and a gateway.
pub(super) struct Rig {
    pub(super) server: NatsServer,
    pub(super) bus: Bus,
    pub(super) running: Running,
    pub(super) key: String,
    /// The last trade that was published.
    pub(super) seq: u64,
    _collector: JoinSet<()>,
}

impl Rig {
    pub(super) async fn start() -> Rig {
        Rig::with(|_| {}).await
    }

    pub(super) async fn with(configure: impl FnOnce(&mut Section)) -> Rig {
        let server = NatsServer::start().unwrap();
        let mut collector = JoinSet::new();
        let (address, _) = canned(&mut collector, BOOK).await;
        let mut suite = Suite { gateway: section(address), ..Suite::default() };
        suite.bus.url = server.url().parse().unwrap();
        configure(&mut suite.gateway);
        let bus = Bus::connect(&suite.bus, "collector", None, bus::Metrics::default());
        let bus = bus.await.unwrap();
        connected(&bus).await;
        let running = Running::with(suite).await;
        let key = mint(&running.directory, &[Scope::Read], None);
        running.until_open(&key).await;
        Rig { server, bus, running, key, seq: 0, _collector: collector }
    }

    pub(super) async fn client(&self) -> Client {
        Client::open(self.running.door, &self.key).await.unwrap()
    }

    pub(super) async fn publish(&self, seq: u64, body: Body) {
        self.send(seq, &event(body)).await;
    }

    /// Publishes an event on the live lane.
    pub(super) async fn send(&self, seq: u64, event: &Event) {
        let mut payload = Vec::new();
        wire::encode(event, &mut payload);
        let subject = wire::live_subject(event.kind(), &event.instrument);
        let (id, payload) = (LiveId { producer: "test", epoch: 1, seq }, Bytes::from(payload));
        // On a busy machine the connection is congested now and then.
        let publish = async || self.bus.publish_live(subject.clone(), id, payload.clone()).await;
        while publish().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Publishes the next trade.
    pub(super) async fn trade(&mut self) -> u64 {
        self.seq += 1;
        self.publish(self.seq, trade(self.seq)).await;
        self.seq
    }

    /// Publishes trades until the client gets one: from then on it gets them all.
    pub(super) async fn until_heard(&mut self, client: &mut Client) {
        let arrived = async {
            loop {
                self.trade().await;
                if let Ok(Some(_)) = tokio::time::timeout(SHORT, client.event()).await {
                    return;
                }
            }
        };
        tokio::time::timeout(LONG, arrived).await.unwrap();
        while client.last_trade < self.seq {
            client.event().await.unwrap();
        }
    }

    pub(super) async fn stop(mut self) {
        self.running.tasks.shutdown(LONG).await.unwrap();
    }
}

pub(super) async fn connected(bus: &Bus) {
    let mut state = bus.state();
    let connected = state.wait_for(|state| state.is_connected());
    tokio::time::timeout(LONG, connected).await.unwrap().unwrap();
}

/// What the collector says of every book: up to update 10.
const BOOK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 146\r\n\r\n\
    {\"venue\":\"binance\",\"market\":\"spot\",\"symbol\":\"BTC-USDT\",\"last_id\":10,\"synced\":true,\
    \"age_ms\":1,\"bids\":[[\"100\",\"1\"],[\"99\",\"2\"]],\"asks\":[[\"101\",\"3\"]]}";

pub(super) fn event(body: Body) -> Event {
    Event {
        instrument: Arc::new(InstrumentId {
            venue: Venue::Binance,
            market: model::Market::Spot,
            symbol: Symbol::new("BTC-USDT").unwrap(),
            name: Arc::from("BTCUSDT"),
        }),
        venue_time: None,
        recv_time: UnixNanos::new(1),
        origin: None,
        body,
    }
}

pub(super) fn trade(seq: u64) -> Body {
    Body::Trade(Trade {
        seq,
        trade_id: seq.to_string().into(),
        price: "64000.10".parse().unwrap(),
        qty: "0.00000001".parse().unwrap(),
        side: Side::Buy,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    })
}

pub(super) fn diff(id: u64, price: &str, qty: &str) -> Body {
    Body::Book(Book {
        book_type: BookType::Diff,
        first_id: Some(id),
        last_id: id,
        prev_id: None,
        part: 0,
        bids: vec![(price.parse().unwrap(), qty.parse().unwrap())],
        asks: Vec::new(),
    })
}

/// A client of the live stream that checks what it is sent.
pub(super) struct Client {
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(super) last_seq: u64,
    pub(super) last_trade: u64,
    pub(super) skipped: u64,
    pub(super) missed: u64,
}

impl Client {
    pub(super) async fn open(door: SocketAddr, key: &str) -> Result<Client, Error> {
        let mut request = format!("ws://{door}/ws/v1/stream").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let (socket, _) = connect_async(request).await?;
        let mut client = Client { socket, last_seq: 0, last_trade: 0, skipped: 0, missed: 0 };
        let welcome = client.told("welcome").await;
        assert_eq!(welcome["protocol"], "marketprism.v1");
        Ok(client)
    }

    pub(super) async fn say(&mut self, text: &Value) {
        self.socket.send(Message::text(text.to_string())).await.unwrap();
    }

    pub(super) async fn subscribe(&mut self, request: Value) {
        self.say(&request).await;
        assert_eq!(self.told("subscribed").await["id"], request["id"]);
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(LONG, self.socket.next()).await.unwrap();
            match next {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_) | Message::Frame(_) | Message::Close(_)) | Err(_))
                | None => return None,
            }
        }
    }

    /// The next message of this type; those before it are passed over.
    pub(super) async fn told(&mut self, wanted: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("ended before `{wanted}`"));
            if message["type"] == wanted {
                return message;
            }
        }
    }

    /// The next event of the only subscription. What is lost before it is counted.
    pub(super) async fn event(&mut self) -> Option<Value> {
        loop {
            let message = self.next().await?;
            let number = |name: &str| message[name].as_u64().unwrap_or(0);
            let advance = match message["type"].as_str().unwrap() {
                "event" => 1 + number("conflated"),
                "gap" => number("skipped"),
                "status" | "heartbeat" => continue,
                other => panic!("{other}: {message}"),
            };
            assert_eq!(number("seq"), self.last_seq + advance, "{message}");
            self.last_seq += advance;
            self.skipped += number("skipped");
            self.missed += number("missed");
            if message["type"] == "event" {
                self.last_trade = message["data"]["seq"].as_u64().unwrap_or(self.last_trade);
                return Some(message);
            }
        }
    }

    /// How the gateway ends the connection: its last message and its close frame.
    pub(super) async fn end(&mut self) -> (Value, CloseCode, String) {
        let bye = self.told("bye").await;
        loop {
            match tokio::time::timeout(LONG, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (bye, frame.code, frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}
