//! Services at work, for tests of the commands that ask them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use clap::Parser as _;
use daemon::{Service as Daemon, Tasks};
use http::Method;
use keyring::{Scope, Scopes};
use model::{Body, Event, InstrumentId, Kind, Market, Side, Symbol, Trade, Venue};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::SecretString;
use serde_json::Value;
use settings::Suite;
use testkit::nats::NatsServer;
use tokio::time::{sleep, timeout};
use units::UnixNanos;
use wire::{BlockId, DurableSubject};

use crate::answers::List;
use crate::service::{Access, BrokerTarget, Service, Target};

/// Longer than anything here takes; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// 2026-05-09.
pub(crate) const START: i64 = 1_778_284_800_000_000_000;

/// The token that the services want.
const TOKEN: &str = "t0ken";

/// The arguments of a command as an operator types them, its name first.
pub(crate) fn line<A: clap::Args>(text: &str) -> A {
    typed(text.split(' '))
}

/// The same, word by word.
pub(crate) fn typed<'a, A: clap::Args>(words: impl IntoIterator<Item = &'a str>) -> A {
    try_typed(words).unwrap()
}

/// The same, of what may be wrong.
pub(crate) fn try_typed<'a, A: clap::Args>(
    words: impl IntoIterator<Item = &'a str>,
) -> Result<A, clap::Error> {
    #[derive(clap::Parser)]
    struct Line<A: clap::Args> {
        #[command(flatten)]
        args: A,
    }
    Line::try_parse_from(words).map(|line| line.args)
}

/// A service at work, served on a port of its own.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
    tasks: Tasks,
    suite: tokio::sync::watch::Sender<Arc<Suite>>,
}

impl Running {
    /// Starts a service behind the token.
    pub(crate) async fn start<S: Daemon>(suite: &Suite) -> Self {
        Self::behind::<S>(Some(SecretString::from(TOKEN)), |_| suite.clone()).await
    }

    /// Starts a service that guards itself, or that nobody guards.
    pub(crate) async fn guarded<S: Daemon>(suite: &Suite) -> Self {
        Self::aware::<S>(|_| suite.clone()).await
    }

    /// The same, of a service whose configuration has its own address.
    pub(crate) async fn aware<S: Daemon>(configure: impl FnOnce(SocketAddr) -> Suite) -> Self {
        Self::behind::<S>(None, configure).await
    }

    async fn behind<S: Daemon>(
        token: Option<SecretString>,
        configure: impl FnOnce(SocketAddr) -> Suite,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut context, sender) =
            daemon::testing::context(S::NAME, configure(address), directory.path());
        let service = Box::pin(S::build(&mut context)).await.unwrap();
        let (router, tls) = (web::bearer(service.router(), token), service.tls());
        let mut tasks = Tasks::new();
        tasks.spawn("http", move |task| async move {
            let limits = web::Limits::default();
            task.alive(web::serve_tls(listener, router, limits, tls, task.token())).await?;
            Ok(())
        });
        service.start(&mut tasks).unwrap();
        Self { address, directory, tasks, suite: sender }
    }

    /// A file with a key that may read, if this is a gateway. It is in force within a second.
    pub(crate) fn key(&self) -> tempfile::NamedTempFile {
        let key = keyring::update(&self.directory.path().join("keys.json"), |ring| {
            let scopes = Scopes::new([Scope::Read]).unwrap();
            let label = "test".parse().unwrap();
            let minted = ring.mint(label, scopes, None, jiff::Timestamp::UNIX_EPOCH);
            Ok::<_, keyring::Error>(minted.unwrap().expose().to_owned())
        });
        let written = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(written.path(), key.unwrap()).unwrap();
        written
    }

    /// Gives the service another configuration.
    pub(crate) fn reload(&self, suite: &Suite) {
        self.suite.send_replace(Arc::new(suite.clone()));
    }

    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown(PATIENCE).await.unwrap();
    }
}

/// A certification authority of a test, and a certificate for loopback that it vouches for.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("authority.pem", issuer.pem()),
            ("certificate.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self { directory }
    }

    /// Whom to trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// Has a gateway serve HTTPS.
    pub(crate) fn certify(&self, suite: &mut Suite) {
        suite.gateway.certificate = Some(self.directory.path().join("certificate.pem"));
        suite.gateway.private_key = Some(self.directory.path().join("key.pem"));
    }
}

/// A file with the token.
pub(crate) fn token_file() -> tempfile::NamedTempFile {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), format!("{TOKEN}\n")).unwrap();
    token
}

/// A NATS server with broker and storage, and somebody who publishes as a collector does.
pub(crate) struct Site {
    pub(crate) suite: Suite,
    pub(crate) bus: Bus,
    broker: Running,
    storage: Running,
    token: tempfile::NamedTempFile,
    /// Blocks sent so far, by kind.
    sent: BTreeMap<Kind, u64>,
    _nats: NatsServer,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let nats = NatsServer::start().unwrap();
        let mut suite = Suite::default();
        suite.bus.url = nats.url().parse().unwrap();
        let broker = Running::start::<broker::Broker>(&suite).await;
        let storage = Running::start::<storage::Storage>(&suite).await;
        suite.broker.listen = broker.address;
        suite.storage.listen = storage.address;
        let bus =
            Bus::connect(&suite.bus, "collector", None, bus::Metrics::default()).await.unwrap();
        let connected = async { bus.state().wait_for(bus::State::is_connected).await.map(drop) };
        timeout(PATIENCE, connected).await.unwrap().unwrap();
        let (token, sent) = (token_file(), BTreeMap::new());
        let site = Self { suite, bus, broker, storage, token, sent, _nats: nats };
        site.declared().await;
        site
    }

    /// Waits until the broker has made the streams and knows that it has.
    async fn declared(&self) {
        let target = BrokerTarget { broker: None, access: self.target().access };
        let broker = target.broker(self.suite.broker.listen).unwrap();
        let is_read = |stream: &Value| !stream["consumers"].as_array().unwrap().is_empty();
        let waiting = async {
            loop {
                let path = "/api/v1/broker/streams";
                let list = broker.ask::<List<Value>>(Method::GET, path, None, PATIENCE).await;
                if list.is_ok_and(|list| list.data.iter().all(is_read) && !list.data.is_empty()) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("the streams are made in time");
    }

    /// What a command line says about whom to ask.
    pub(crate) fn target(&self) -> Target {
        Target { storage: None, access: Access::of(self.token.path()) }
    }

    /// The path of a file with the token.
    pub(crate) fn token(&self) -> &str {
        self.token.path().to_str().unwrap()
    }

    /// Publishes a block of events of one kind, and waits until they are stored.
    pub(crate) async fn store(&mut self, kind: Kind, events: &[Event]) {
        let seq = self.publish(kind, events).await;
        self.stored(kind, seq).await;
    }

    /// Publishes a block of events of one kind and returns its stream sequence.
    pub(crate) async fn publish(&mut self, kind: Kind, events: &[Event]) -> u64 {
        let mut payload = Vec::new();
        for event in events {
            wire::encode(event, &mut payload);
            payload.push(b'\n');
        }
        let sent = self.sent.entry(kind).or_default();
        *sent += 1;
        let subject = DurableSubject { kind, venue: Venue::Binance, market: Market::Spot };
        let id = BlockId { producer: Arc::from("collector"), epoch: 1, subject, seq: *sent };
        self.bus.publish_block(&id, Bytes::from(payload)).await.unwrap().stream_seq
    }

    /// Waits until everything up to this stream sequence is stored.
    pub(crate) async fn stored(&self, kind: Kind, seq: u64) {
        let storage: Service = self.target().storage(self.suite.storage.listen).unwrap();
        let waiting = async {
            loop {
                let path = "/api/v1/storage/status";
                let status: Value = storage.ask(Method::GET, path, None, PATIENCE).await.unwrap();
                let writers = status["writers"].as_array().unwrap();
                let writer = writers.iter().find(|writer| writer["kind"] == kind.as_str()).unwrap();
                if writer["acknowledged"].as_u64().unwrap() >= seq {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("stored in time");
    }

    pub(crate) async fn stop(self) {
        self.storage.stop().await;
        self.broker.stop().await;
    }
}

/// An event of BTC-USDT on Binance spot.
pub(crate) fn event(recv_time: i64, body: Body) -> Event {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    });
    let time = UnixNanos::new(recv_time);
    Event { instrument, venue_time: Some(time), recv_time: time, origin: None, body }
}

/// A trade, one millisecond after the one before.
pub(crate) fn trade(seq: u64) -> Event {
    let time = START + 1_000_000 * i64::try_from(seq).unwrap();
    let trade = Trade {
        seq,
        trade_id: Arc::from(&*seq.to_string()),
        price: "64000.5".parse().unwrap(),
        qty: "0.1".parse().unwrap(),
        side: Side::Sell,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    event(time, Body::Trade(trade))
}
