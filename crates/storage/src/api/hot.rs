//! Answers of the hot store.

use super::{Access, json, params};
use crate::hot::desk::Question;
use crate::hot::outlet;
use axum::extract::State;
use axum::response::Response;
use catalog::StreamKey;
use model::Kind;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};
use web::{Json, Problem};

/// Trades, or levels of a book, if nothing else is asked for.
const LIMIT_DEFAULT: usize = 20;
/// More than anybody reads; what is kept may be less.
const LIMIT_MAX: usize = 10_000;

/// The parameters of a question.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Trades wanted, or levels of each side of a book; 20 if nothing is said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<String>,
    /// The same for books, as the collector calls it.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    depth: Option<String>,
}

/// Whose latest is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what is read as text, to name every mistake")]
struct Asked {
    kind: openapi::Kind,
    venue: openapi::Venue,
    market: openapi::Market,
    symbol: openapi::Symbol,
}

/// The latest of one kind and instrument.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written by hand")]
struct Latest {
    #[schema(value_type = openapi::Kind)]
    kind: Kind,
    /// How long ago the newest of it was received.
    #[schema(minimum = 0)]
    age_ms: i64,
    /// The last event; of trades the last ones, the newest first; of a book its top.
    data: serde_json::Value,
}

/// The latest of one kind and instrument, from memory.
#[utoipa::path(
    get,
    path = "/api/v1/storage/hot/{kind}/{venue}/{market}/{symbol}",
    operation_id = "latest",
    params(Asked, Params),
    responses(
        (status = 200, description = "The latest, and how old it is.", body = Latest),
        (status = 400),
        (status = 404, description = "Nothing of it was seen yet."),
        (status = 503, description = "The service is stopping."),
    ),
)]
pub(crate) async fn latest(
    State(access): State<Access>,
    web::Path((kind, venue, market, symbol)): web::Path<(String, String, String, String)>,
    web::Query(asked): web::Query<Params>,
) -> web::Result<Response> {
    let required = |value: Option<Kind>| value.ok_or_else(|| Problem::bad_request("`kind`: empty"));
    let kind = required(params::named("kind", Some(&kind))?)?;
    let text = format!("{venue}/{market}/{symbol}");
    let key: StreamKey =
        text.parse().map_err(|error: model::NameError| Problem::bad_request(error.to_string()))?;
    let limit = params::limit(asked.limit.as_deref(), LIMIT_DEFAULT, LIMIT_MAX)?;
    let limit = params::limit(asked.depth.as_deref(), limit, LIMIT_MAX)?;
    let (reply, answer) = oneshot::channel();
    let stopping = || Problem::unavailable("the service is stopping", None);
    let question = Question { kind, key, limit, reply };
    access.questions.send(question).await.map_err(|_| stopping())?;
    let Some(answer) = answer.await.map_err(|_| stopping())? else {
        return Err(Problem::not_found(format!("no {kind} of {text} was seen yet")));
    };
    let age_ms = age_ms(answer.recv_time);
    let mut body = format!("{{\"kind\":\"{kind}\",\"age_ms\":{age_ms},\"data\":").into_bytes();
    body.extend_from_slice(&answer.data);
    body.push(b'}');
    Ok(json(body))
}

/// Milliseconds since something was received.
pub(crate) fn age_ms(recv_time: i64) -> i64 {
    daemon::clock::now().saturating_sub(recv_time).max(0) / 1_000_000
}

/// The answer of `/api/v1/storage/hot/status`.
#[derive(Serialize, ToSchema)]
pub(crate) struct HotAnswer {
    /// Where answers come from.
    store: &'static str,
    symbols: usize,
    trades: usize,
    books: usize,
    /// Books that wait for a snapshot.
    books_unsynced: usize,
    /// How old the newest event is; `null` before the first.
    age_ms: Option<i64>,
    /// The copy for other programs; `null` if no Redis is configured.
    redis: Option<RedisAnswer>,
}

/// The copy of the hot store in Redis.
#[derive(Serialize, ToSchema)]
pub(crate) struct RedisAnswer {
    url: String,
    /// `up`, `down`, or `connecting` right after the start.
    #[schema(pattern = "^(up|down|connecting)$")]
    state: &'static str,
    /// Why values do not arrive.
    reason: Option<String>,
    /// Keys whose values are behind.
    waiting_keys: usize,
    /// How long the oldest change has waited that is not in Redis; 0 if all are.
    behind_ms: u64,
    /// Values and trades written since the start.
    written_values: u64,
    /// How often Redis was found empty and given everything, the first time included.
    fills: u64,
}

impl From<&outlet::Summary> for RedisAnswer {
    fn from(summary: &outlet::Summary) -> Self {
        Self {
            url: summary.url.to_string(),
            state: match summary.state {
                hotstore::State::Connecting => "connecting",
                hotstore::State::Up => "up",
                hotstore::State::Down(_) => "down",
            },
            reason: summary.trouble().map(str::to_owned),
            waiting_keys: summary.waiting,
            behind_ms: u64::try_from(summary.behind.as_millis()).unwrap_or(u64::MAX),
            written_values: summary.values,
            fills: summary.fills,
        }
    }
}

pub(crate) fn hot_answer(access: &Access) -> HotAnswer {
    let summary = access.hot.borrow();
    HotAnswer {
        store: "memory",
        symbols: summary.symbols,
        trades: summary.trades,
        books: summary.books,
        books_unsynced: summary.books_unsynced,
        age_ms: summary.newest.map(age_ms),
        redis: summary.redis.as_ref().map(RedisAnswer::from),
    }
}

/// How the hot store does.
#[utoipa::path(
    get,
    path = "/api/v1/storage/hot/status",
    operation_id = "storage_hot_status",
    responses((status = 200, description = "How it does.", body = HotAnswer)),
)]
pub(crate) async fn status(State(access): State<Access>) -> Json<HotAnswer> {
    Json(hot_answer(&access))
}
