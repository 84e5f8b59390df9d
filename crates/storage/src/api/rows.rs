//! The addresses at which stored rows are asked for, one for each kind.

use super::Access;
use super::query::{self, Endpoint, Params};
use axum::extract::State;
use axum::response::Response;
use model::Kind;
use openapi::{
    BboRow, BookRow, FundingRow, GapRow, KlineRow, LiquidationRow, LongShortRatioRow, MarkRow,
    OpenInterestRow, TickerRow, TradeRow, VolatilityIndexRow,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Some rows, in the order of their identities.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written by hand")]
struct Page<T> {
    data: Vec<T>,
    /// Given as `cursor`, it asks for the next page; `null` if there are no more rows at the
    /// moment.
    next_cursor: Option<String>,
}

/// How the parameters of a query are described; [`Params`] is how they are read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read as text, to name every mistake")]
struct Stream {
    venue: openapi::Venue,
    market: openapi::Market,
    symbol: openapi::Symbol,
}

/// Of gaps: the same, all of which may be left out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read as text, to name every mistake")]
struct Streams {
    venue: Option<openapi::Venue>,
    market: Option<openapi::Market>,
    symbol: Option<openapi::Symbol>,
}

/// Which of the rows are wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read as text, to name every mistake")]
struct Part {
    /// Not before this time.
    start: Option<openapi::TimeText>,
    /// Before this time.
    #[param(example = "2026-05-10T00:00:00Z")]
    end: Option<openapi::TimeText>,
    /// From the lowest identity up, `asc`, or from the highest down, `desc`.
    #[param(pattern = "^(asc|desc)$")]
    order: Option<String>,
    /// Rows at most. Of a page there are 10,000 at most, and 1,000 if nothing is said; one of large
    /// books ends earlier. An Arrow stream has all there are if nothing is said.
    #[param(minimum = 1)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// One page as JSON, `json`, if nothing is said, or all rows as an Arrow IPC stream, `arrow`,
    /// with the columns of the Parquet files behind `venue` and `market`.
    #[param(pattern = "^(json|arrow)$")]
    format: Option<String>,
}

/// Which kind of trades is wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read as text, to name every mistake")]
struct Trades {
    /// `trade` if nothing is said, or `agg_trade`.
    #[param(pattern = "^(trade|agg_trade)$")]
    kind: Option<String>,
}

/// The routes, and their description.
pub(super) fn routes() -> OpenApiRouter<Access> {
    OpenApiRouter::default()
        .routes(routes!(trades))
        .routes(routes!(books))
        .routes(routes!(bbo))
        .routes(routes!(tickers))
        .routes(routes!(klines))
        .routes(routes!(gaps))
        .merge(derivatives())
}

fn derivatives() -> OpenApiRouter<Access> {
    OpenApiRouter::default()
        .routes(routes!(marks))
        .routes(routes!(funding))
        .routes(routes!(open_interest))
        .routes(routes!(liquidations))
        .routes(routes!(ratios))
        .routes(routes!(volatility))
}

/// Stored trades of one instrument, or aggregates of them.
#[utoipa::path(
    get,
    path = "/api/v1/storage/trades",
    operation_id = "trades",
    params(Stream, Part, Trades),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<TradeRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn trades(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Trades).await
}

/// Stored snapshots and changes of an order book.
#[utoipa::path(
    get,
    path = "/api/v1/storage/books",
    operation_id = "books",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<BookRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn books(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Book)).await
}

/// Stored best bids and offers of one instrument.
#[utoipa::path(
    get,
    path = "/api/v1/storage/bbo",
    operation_id = "bbo",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<BboRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn bbo(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Bbo)).await
}

/// Stored figures of 24 hours of one instrument.
#[utoipa::path(
    get,
    path = "/api/v1/storage/tickers",
    operation_id = "tickers",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<TickerRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn tickers(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Ticker)).await
}

/// Stored candles of one instrument, as the venue gave them.
#[utoipa::path(
    get,
    path = "/api/v1/storage/klines",
    operation_id = "klines",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<KlineRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn klines(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Kline)).await
}

/// Stored mark and index prices of one contract.
#[utoipa::path(
    get,
    path = "/api/v1/storage/marks",
    operation_id = "marks",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<MarkRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn marks(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Mark)).await
}

/// Stored funding rates of one perpetual.
#[utoipa::path(
    get,
    path = "/api/v1/storage/funding",
    operation_id = "funding",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<FundingRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn funding(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Funding)).await
}

/// Stored open interest of one contract.
#[utoipa::path(
    get,
    path = "/api/v1/storage/open-interest",
    operation_id = "open_interest",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<OpenInterestRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn open_interest(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::OpenInterest)).await
}

/// Stored liquidations of one contract.
#[utoipa::path(
    get,
    path = "/api/v1/storage/liquidations",
    operation_id = "liquidations",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<LiquidationRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn liquidations(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Liquidation)).await
}

/// Stored ratios of longs and shorts of one contract.
#[utoipa::path(
    get,
    path = "/api/v1/storage/ratios",
    operation_id = "ratios",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<LongShortRatioRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn ratios(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::LongShortRatio)).await
}

/// Stored values of one volatility index.
#[utoipa::path(
    get,
    path = "/api/v1/storage/volatility",
    operation_id = "volatility",
    params(Stream, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<VolatilityIndexRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn volatility(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::VolatilityIndex)).await
}

/// Stored gap records: what was missing, and what became of it.
#[utoipa::path(
    get,
    path = "/api/v1/storage/gaps",
    operation_id = "stored_gaps",
    params(Streams, Part),
    responses(
        (status = 200, description = "A page of rows, or all of them.", content(
            (Page<GapRow> = "application/json"),
            ("application/vnd.apache.arrow.stream"),
        )),
        (status = 400),
        (status = 500),
        (status = 503, description = "The store is away, or there are too many queries."),
    ),
)]
async fn gaps(state: State<Access>, params: web::Query<Params>) -> web::Result<Response> {
    query::answer(state, params, Endpoint::Of(Kind::Gap)).await
}
