//! Answers of the hot store.

use super::{Access, json, params};
use crate::hot::desk::Question;
use archive::StreamKey;
use axum::extract::State;
use axum::response::Response;
use model::Kind;
use serde::Deserialize;
use tokio::sync::oneshot;
use web::Problem;

/// Trades, or levels of a book, if nothing else is asked for.
const LIMIT_DEFAULT: usize = 20;
/// More than anybody reads; what is kept may be less.
const LIMIT_MAX: usize = 10_000;

/// The parameters of a question.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    /// Trades wanted, or levels of a book.
    limit: Option<String>,
    /// The same for books, as the collector calls it.
    depth: Option<String>,
}

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
    let limit = asked.depth.as_deref().or(asked.limit.as_deref());
    let limit = params::limit(limit, LIMIT_DEFAULT, LIMIT_MAX)?;
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
