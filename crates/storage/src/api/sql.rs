//! Statements of others in SQL, which ClickHouse runs as a user who may only read.

use super::{Access, TURN_MAX, params};
use crate::quota::{Exceeded, Quota};
use crate::sink::Sink;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sheet::{Format, Sheet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use telemetry::Chain;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa::ToSchema;
use warehouse::{Limit, Reply, Sql};
use web::{Problem, X_AUTH_PRINCIPAL};

mod sheet;

/// Says on an answer that rows are missing at its end: `rows` or `bytes`, after the limit.
const X_TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");

/// Codes of exceptions of a statement that the user may not run, with their names in the server.
///
/// Source of this list and the next: `src/Common/ErrorCodes.cpp` of ClickHouse 26.7.
const FORBIDDEN: &[u32] = &[
    164, // READONLY
    392, // QUERY_IS_PROHIBITED
    497, // ACCESS_DENIED
];
/// Codes of exceptions of a statement that has reached a limit.
const LIMITS: &[u32] = &[
    158, // TOO_MANY_ROWS
    159, // TIMEOUT_EXCEEDED
    160, // TOO_SLOW
    241, // MEMORY_LIMIT_EXCEEDED
    307, // TOO_MANY_BYTES
    396, // TOO_MANY_ROWS_OR_BYTES
];
/// Codes of exceptions that are not about the statement.
const OF_SERVER: &[u32] = &[
    192, // UNKNOWN_USER
    193, // WRONG_PASSWORD
    194, // REQUIRED_PASSWORD
    201, // QUOTA_EXCEEDED
    202, // TOO_MANY_SIMULTANEOUS_QUERIES
    516, // AUTHENTICATION_FAILED
];

/// What statements of others pass.
pub(crate) struct Console {
    sql: Sql,
    turns: Semaphore,
    quota: Mutex<Quota>,
}

/// A statement under way. Its time is counted however it ends, also when nobody waits for it.
struct Bill<'a> {
    console: &'a Console,
    who: &'a str,
    limits: &'a settings::Sql,
    began: Instant,
}

impl Drop for Bill<'_> {
    fn drop(&mut self) {
        let ran = self.began.elapsed();
        self.console.quota().charge(self.who, ran, self.limits, Instant::now());
    }
}

impl Console {
    pub(crate) fn new(sql: Sql, at_once: usize) -> Self {
        let turns = Semaphore::new(at_once.min(Semaphore::MAX_PERMITS));
        Self { sql, turns, quota: Mutex::default() }
    }

    fn quota(&self) -> MutexGuard<'_, Quota> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement of somebody; also returns how long it took.
    async fn run(
        &self,
        who: &str,
        statement: &str,
        limits: &settings::Sql,
    ) -> web::Result<(Reply, Duration)> {
        let admitted = self.quota().admit(who, limits, Instant::now());
        admitted.map_err(|Exceeded { detail, wait }| Problem::too_many(detail, wait))?;
        // Others of the store may be served: who counts failures must not count this one.
        let busy =
            || Problem::resource_unavailable("too many statements at a time", Some(TURN_MAX));
        let turn = timeout(TURN_MAX, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let bill = Bill { console: self, who, limits, began: Instant::now() };
        let reply = self.sql.run(statement, limits).await.map_err(|error| refusal(&error))?;
        Ok((reply, bill.began.elapsed()))
    }
}

/// What to answer when the server does not run a statement, in its words.
fn refusal(error: &warehouse::Error) -> Problem {
    let away = |detail: String| Problem::resource_unavailable(detail, Some(TURN_MAX));
    match error.exception() {
        None => away(Chain(error).to_string()),
        Some((code, said)) if OF_SERVER.contains(&code) => away(said.to_owned()),
        Some((code, said)) if FORBIDDEN.contains(&code) => Problem::forbidden(said),
        Some((code, said)) if LIMITS.contains(&code) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, said)
        }
        Some((_, said)) => Problem::bad_request(said),
    }
}

/// What is to be run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Statement)]
pub(crate) struct Wish {
    /// One statement of ClickHouse's SQL, without a `FORMAT`.
    query: String,
    /// `json` if nothing else is said; `jsonl` has an object for each row, by the names of the
    /// columns.
    #[schema(pattern = "^(json|jsonl|csv)$")]
    format: Option<String>,
}

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SqlColumn)]
pub(crate) struct Column {
    name: String,
    /// ClickHouse's own word for it.
    r#type: String,
}

/// What a statement has brought.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SqlAnswer)]
pub(crate) struct Answer {
    columns: Vec<Column>,
    /// The values of each row in the order of the columns; decimals are texts.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    rows: Vec<Box<RawValue>>,
    /// Which limit rows are missing behind: `rows` or `bytes`; `null` if none are.
    #[schema(pattern = "^(rows|bytes)$")]
    truncated: Option<&'static str>,
    elapsed_ms: u64,
}

/// Runs a statement that reads, in ClickHouse's SQL.
///
/// ClickHouse runs it as a user who may read the database of market data and nothing else, within
/// `storage.clickhouse.sql`. With another format than `json`, `X-Truncated` has what `truncated`
/// has.
#[utoipa::path(
    post,
    path = "/api/v1/storage/sql",
    operation_id = "storage_sql",
    request_body = Wish,
    responses(
        (status = 200, description = "The rows.", content(
            (Answer = "application/json"),
            (String = "application/jsonl"),
            (String = "text/csv; charset=utf-8"),
        )),
        (status = 400, description = "ClickHouse does not understand it; the detail says why."),
        (status = 403, description = "It would do more than read, or read something else; the \
                                      detail has ClickHouse's words."),
        (status = 409, description = "The store is the archive, or no user is set for this."),
        (status = 413),
        (status = 422, description = "It ran too long, or took too much memory, and was ended."),
        (status = 429, description = "The key has used up its statements or their time; see \
                                      `Retry-After`."),
        (status = 500),
        (status = 503, description = "ClickHouse is away, or too many statements run at a time.",
         headers(("X-Unavailable"))),
    ),
)]
pub(crate) async fn sql(
    State(access): State<Access>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> web::Result<Response> {
    let wish: Wish = super::optional(body)?;
    let format = params::named::<Format>("format", wish.format.as_deref())?.unwrap_or_default();
    let Some(console) = &access.console else { return Err(missing(&access.sink)) };
    // What did not come through the gateway comes from this suite, and is one client.
    let who = headers.get(X_AUTH_PRINCIPAL).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let limits = access.suite.borrow().storage.clickhouse.sql.clone();
    let (reply, took) = console.run(who, &wish.query, &limits).await?;
    let truncated = reply.truncated.map(word);
    let body = super::blocking(move || written(&reply, format, took)).await?;
    let body = body.ok_or_else(|| {
        Problem::bad_request("the answer has another form: leave `FORMAT` out of the statement")
    })?;
    let mut response = ([(CONTENT_TYPE, format.media_type())], body).into_response();
    if let Some(limit) = truncated {
        response.headers_mut().insert(X_TRUNCATED, HeaderValue::from_static(limit));
    }
    Ok(response)
}

const fn word(limit: Limit) -> &'static str {
    match limit {
        Limit::Rows => "rows",
        Limit::Bytes => "bytes",
    }
}

/// Why there is nobody to run a statement.
fn missing(sink: &Sink) -> Problem {
    let detail = if sink.address.is_some() {
        "`storage.clickhouse.sql.user` is not set: see docs/clickhouse.md#sql-for-others"
    } else {
        "the store is the archive, which runs no SQL; DuckDB reads its files: see docs/archive.md"
    };
    Problem::conflict(detail)
}

/// The answer in the form that is wanted; `None` if the server wrote another than it was asked for.
fn written(reply: &Reply, format: Format, took: Duration) -> anyhow::Result<Option<Vec<u8>>> {
    // A text in the database may be anything.
    let text = String::from_utf8_lossy(&reply.text);
    let Some(Sheet { names, types, rows }) = Sheet::read(&text) else { return Ok(None) };
    match format {
        Format::Json => {
            let columns = names.into_iter().zip(types);
            let columns = columns.map(|(name, r#type)| Column { name, r#type }).collect();
            let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let truncated = reply.truncated.map(word);
            Ok(Some(serde_json::to_vec(&Answer { columns, rows, truncated, elapsed_ms })?))
        }
        Format::Jsonl => Ok(Some(sheet::objects(&names, &rows)?.into_bytes())),
        Format::Csv => Ok(Some(sheet::records(&names, &rows)?.into_bytes())),
    }
}
