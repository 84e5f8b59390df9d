//! The contracts' side of the venue: two doors, and calls for what no stream carries.

use super::{Say, Shared, depth, stream};
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

const INSTRUMENTS: &str = r#"{"symbols":[
    {"symbol":"BTCUSDT","contractType":"PERPETUAL","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"},
    {"symbol":"BTCUSDT_270326","contractType":"NEXT_QUARTER","deliveryDate":1806048000000,"status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT"}]}"#;

/// Aggregates that the venue has: ids from 1 on.
const AGGREGATES: u64 = 100;

pub(crate) struct FakeContracts {
    port: u16,
    public: Shared,
    market: Shared,
    /// Calls so far, by path.
    calls: Arc<watch::Sender<BTreeMap<String, usize>>>,
    _tasks: JoinSet<()>,
}

impl FakeContracts {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (public, market) = (Shared::new(), Shared::new());
        let calls = Arc::new(watch::Sender::new(BTreeMap::new()));
        let door = |path: &str, shared: &Shared| {
            Router::new().route(path, get(stream)).with_state(shared.clone())
        };
        let snapshot = async |State(shared): State<Shared>| shared.depth.borrow().clone();
        let counted = Arc::clone(&calls);
        let router = Router::new()
            .route("/fapi/v1/exchangeInfo", get(INSTRUMENTS))
            .route("/fapi/v1/fundingInfo", get(FUNDING_INFO))
            .route("/fapi/v1/aggTrades", get(aggregates))
            .route("/fapi/v1/openInterest", get(OPEN_INTEREST))
            .route("/futures/data/topLongShortPositionRatio", get(RATIO))
            .route("/futures/data/topLongShortAccountRatio", get(RATIO))
            .route("/futures/data/globalLongShortAccountRatio", get(RATIO))
            .merge(Router::new().route("/fapi/v1/depth", get(snapshot)).with_state(public.clone()))
            .merge(door("/public/stream", &public))
            .merge(door("/market/stream", &market))
            .layer(axum::middleware::from_fn(
                move |request: axum::extract::Request, next: axum::middleware::Next| {
                    let path = request.uri().path().to_owned();
                    counted.send_modify(|calls: &mut BTreeMap<String, usize>| {
                        *calls.entry(path).or_default() += 1;
                    });
                    next.run(request)
                },
            ));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, public, market, calls, _tasks: tasks }
    }

    pub(crate) fn rest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn stream_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Sends a frame through the public door.
    pub(crate) fn say_public(&self, frame: String) {
        self.public.say(frame);
    }

    /// Sends a frame through the market door.
    pub(crate) fn say_market(&self, frame: String) {
        self.market.say(frame);
    }

    /// Cuts the connections of the public door.
    pub(crate) fn close_public(&self) {
        self.public.frames.send(Say::Close).unwrap();
    }

    /// What the next snapshot request is answered with.
    pub(crate) fn set_depth(&self, last_id: u64) {
        self.public.depth.send_replace(depth(last_id));
    }

    /// Waits until so many connections have been subscribed at each door since the start.
    pub(crate) async fn subscribed(&self, public: usize, market: usize) {
        self.public.subscribed(public).await;
        self.market.subscribed(market).await;
    }

    /// How often a path was called.
    pub(crate) fn calls(&self, path: &str) -> usize {
        self.calls.borrow().get(path).copied().unwrap_or_default()
    }
}

const FUNDING_INFO: &str = r#"[{"symbol":"BTCUSDT","adjustedFundingRateCap":"0.03","adjustedFundingRateFloor":"-0.03","fundingIntervalHours":4,"disclaimer":false}]"#;

const OPEN_INTEREST: &str =
    r#"{"openInterest":"83782.317","symbol":"BTCUSDT","time":1700000000000}"#;

const RATIO: &str = r#"[
    {"symbol":"BTCUSDT","longShortRatio":"1.4","longAccount":"0.6","shortAccount":"0.4","timestamp":1699999700000},
    {"symbol":"BTCUSDT","longShortRatio":"1.5","longAccount":"0.6","shortAccount":"0.4","timestamp":1700000000000}]"#;

async fn aggregates(Query(query): Query<BTreeMap<String, String>>) -> String {
    let number = |key: &str| query.get(key).map(|text| text.parse::<u64>().unwrap());
    let limit = number("limit").unwrap();
    // Without an id the latest are meant.
    let from = number("fromId").unwrap_or(AGGREGATES + 1 - limit);
    let entry = |id: u64| {
        format!(
            r#"{{"a":{id},"p":"100.5","q":"0.25","f":{id},"l":{id},"T":1700000000120,"m":true}}"#
        )
    };
    let entries: Vec<_> = (from..=AGGREGATES.min(from + limit - 1)).map(entry).collect();
    format!("[{}]", entries.join(","))
}
