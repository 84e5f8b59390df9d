//! Publishing by hand: answered with success only after the server has taken it.

use crate::api::Api;
use axum::extract::State;
use bus::{PublishError, RequestError};
use bytes::Bytes;
use model::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use telemetry::Chain;
use utoipa::ToSchema;
use web::{Body, Json, Problem};
use wire::{Decoder, DurableSubject};

/// When to try again after NATS could not take a message.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Longest message id, in bytes.
const MESSAGE_ID_MAX: usize = 256;

/// What is to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Publication)]
pub(crate) struct Request {
    /// `md.<kind>.<venue>.<market>.<symbol>` for one event at once and unstored, or
    /// `mdb.<kind>.<venue>.<market>` for a block that is stored.
    #[schema(pattern = r"^(md|mdb)\.[^\s*>]+$")]
    subject: String,
    /// The events, as on the bus; each must belong to the subject.
    #[schema(value_type = Vec<openapi::Event>, min_items = 1)]
    events: Vec<Box<RawValue>>,
    /// On the durable lane: the same id within two minutes is stored once.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    message_id: Option<String>,
}

/// What the server has taken.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "lane", rename_all = "lowercase")]
pub(crate) enum Published {
    /// The server has passed it on to whoever listens at the moment.
    Live,
    /// The server has stored it.
    Durable {
        /// The stream.
        stream: String,
        /// Its place in the stream.
        stream_seq: u64,
        /// Whether a message of this id was there already.
        duplicate: bool,
    },
}

/// Publishes events by hand; it is answered once the server has taken them.
#[utoipa::path(
    post,
    path = "/api/v1/broker/publish",
    operation_id = "broker_publish",
    request_body = Request,
    responses(
        (status = 200, description = "The server has taken them.", body = Published),
        (status = 400),
        (status = 413, description = "The events are more than a message may have."),
        (status = 415),
        (status = 503, description = "NATS is away, or the stream is full."),
    ),
)]
pub(crate) async fn handle(
    State(api): State<Api>,
    Body(request): Body<Request>,
) -> web::Result<Json<Published>> {
    let published = match target(&request.subject)? {
        Target::Durable(subject) => {
            let payload = block(subject, &request.events)?;
            let id = message_id(request.message_id.as_deref())?;
            let ack =
                api.bus.publish_durable(subject, id, payload).await.map_err(durable_problem)?;
            Published::Durable {
                stream: ack.stream,
                stream_seq: ack.stream_seq,
                duplicate: ack.duplicate,
            }
        }
        Target::Live => {
            let payload = message(&request.subject, &request.events)?;
            let sent = api.bus.publish_live_confirmed(request.subject, payload).await;
            sent.map_err(|error| live_problem(&error))?;
            Published::Live
        }
    };
    api.metrics.published();
    Ok(Json(published))
}

enum Target {
    Durable(DurableSubject),
    Live,
}

/// Only the suite's own two lanes are written to.
fn target(subject: &str) -> web::Result<Target> {
    match subject.split_once('.') {
        Some((wire::LIVE_ROOT, _)) => Ok(Target::Live),
        _ => match subject.parse() {
            Ok(subject) => Ok(Target::Durable(subject)),
            Err(error) => Err(Problem::bad_request(format!(
                "{error}; live events go to md.<kind>.<venue>.<market>.<symbol>"
            ))),
        },
    }
}

fn message_id(id: Option<&str>) -> web::Result<Option<&str>> {
    match id {
        Some(id) if id.is_empty() || id.len() > MESSAGE_ID_MAX || id.contains(char::is_control) => {
            Err(Problem::bad_request(format!(
                "message_id must have 1 to {MESSAGE_ID_MAX} bytes and no control characters"
            )))
        }
        id => Ok(id),
    }
}

/// A block of the events, encoded as collectors do.
fn block(subject: DurableSubject, events: &[Box<RawValue>]) -> web::Result<Bytes> {
    let mut payload = Vec::new();
    for event in decode(events)? {
        if DurableSubject::of(event.kind(), &event.instrument) != subject {
            return Err(foreign(&event, &subject.to_string()));
        }
        wire::encode(&event, &mut payload);
        payload.push(b'\n');
    }
    bounded(payload)
}

/// The one event of a live message.
fn message(subject: &str, events: &[Box<RawValue>]) -> web::Result<Bytes> {
    let events = decode(events)?;
    let [event] = events.as_slice() else {
        return Err(Problem::bad_request("a live message is exactly one event"));
    };
    if wire::live_subject(event.kind(), &event.instrument) != subject {
        return Err(foreign(event, subject));
    }
    let mut payload = Vec::new();
    wire::encode(event, &mut payload);
    bounded(payload)
}

fn decode(events: &[Box<RawValue>]) -> web::Result<Vec<Event>> {
    if events.is_empty() {
        return Err(Problem::bad_request("events is empty"));
    }
    let mut decoder = Decoder::new();
    let mut decoded = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        decoded.push(
            decoder.decode(event.get().as_bytes()).map_err(|error| {
                Problem::bad_request(format!("events[{at}]: {}", Chain(&error)))
            })?,
        );
    }
    Ok(decoded)
}

fn foreign(event: &Event, subject: &str) -> Problem {
    Problem::bad_request(format!(
        "an event of kind {} and instrument {} does not belong to `{subject}`",
        event.kind(),
        event.instrument
    ))
}

fn bounded(payload: Vec<u8>) -> web::Result<Bytes> {
    if payload.len() > wire::EVENT_BYTES_MAX {
        return Err(Problem::too_large(format!(
            "{} bytes are more than a message may have, {}",
            payload.len(),
            wire::EVENT_BYTES_MAX
        )));
    }
    Ok(Bytes::from(payload))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(crate) fn durable_problem(error: PublishError) -> Problem {
    let detail = Chain(&error).to_string();
    match error {
        PublishError::Refused(_) => Problem::bad_request(detail),
        PublishError::Ambiguous(_) => Problem::unavailable(
            format!("{detail}; with a message_id it can be repeated without harm"),
            Some(RETRY_AFTER),
        ),
        PublishError::NotConnected(_)
        | PublishError::NotReady { .. }
        | PublishError::Full(_)
        | PublishError::Unavailable(_)
        | PublishError::Forbidden(_) => Problem::unavailable(detail, Some(RETRY_AFTER)),
    }
}

fn live_problem(error: &RequestError) -> Problem {
    Problem::unavailable(Chain(error).to_string(), Some(RETRY_AFTER))
}
