//! The newest messages of a stream, read and left where they are.

use crate::api::Api;
use crate::dead_letters::unavailable;
use crate::publish::RETRY_AFTER;
use axum::extract::State;
use bus::{Bus, RequestError, StoredMessage};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Path, Problem, Query};

/// Messages of an answer, unless asked for otherwise.
const LAST: usize = 1;

/// Messages of an answer at most.
const LAST_MAX: usize = 100;

/// Bytes of the messages of an answer at most, but for a single larger one.
const BYTES_MAX: usize = 1 << 20;

/// Places looked at for an answer: many messages of a stream may have been removed.
const LOOKED_AT_MAX: usize = 1_000;

/// Peeks at a time: each may ask NATS a thousand times, over the connection by which the streams
/// are looked after.
pub(crate) const PEEKS_MAX: usize = 4;

/// How many messages are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// So many messages from the end, fewer if they are large; 1 if nothing is said.
    #[param(minimum = 1, maximum = 100)]
    last: Option<usize>,
}

/// One message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamMessage {
    /// Its place in the stream.
    seq: u64,
    /// When it was stored, in nanoseconds since the Unix epoch.
    #[schema(value_type = openapi::Nanos)]
    time: i64,
    subject: String,
    /// The block's id; `null` if it has none.
    block: Option<String>,
    /// How long it is.
    bytes: usize,
    /// What it says, an event a line; what is not UTF-8 in it is replaced.
    text: String,
}

impl StreamMessage {
    fn of(message: &StoredMessage) -> Self {
        Self {
            seq: message.seq,
            time: i64::try_from(message.time.as_nanosecond()).unwrap_or(i64::MAX),
            subject: message.subject.clone(),
            block: message.header(wire::header::MSG_ID).map(str::to_owned),
            bytes: message.payload.len(),
            text: String::from_utf8_lossy(&message.payload).into_owned(),
        }
    }
}

/// The newest messages of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamMessages {
    /// The oldest of them first.
    data: Vec<StreamMessage>,
}

/// The newest messages of a stream, which stay in it.
#[utoipa::path(
    get,
    path = "/api/v1/broker/streams/{name}/messages",
    operation_id = "broker_stream_messages",
    params(("name" = String, Path, description = "The stream's name."), Params),
    responses(
        (status = 200, description = "The messages.", body = StreamMessages),
        (status = 400),
        (status = 404, description = "No such stream is declared."),
        (status = 503, description = "NATS is away, or too many peek at a time.",
         headers(("X-Unavailable"))),
    ),
)]
pub(crate) async fn messages(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(params): Query<Params>,
) -> web::Result<Json<StreamMessages>> {
    let last = params.last.unwrap_or(LAST);
    if !(1..=LAST_MAX).contains(&last) {
        return Err(Problem::bad_request(format!("last must be 1 to {LAST_MAX}")));
    }
    let mut declared = wire::STREAMS.iter().map(|stream| stream.name).chain([wire::DEAD_LETTERS]);
    let Some(stream) = declared.find(|declared| *declared == name) else {
        return Err(Problem::not_found(format!("no stream `{name}` is declared")));
    };
    let busy = |_| Problem::resource_unavailable("too many peek at a time", Some(RETRY_AFTER));
    let _turn = api.peeks.try_acquire().map_err(busy)?;
    let mut data = newest(&api.bus, stream, last).await.map_err(|error| unavailable(&error))?;
    data.reverse();
    Ok(Json(StreamMessages { data }))
}

/// The newest messages, the newest first.
async fn newest(bus: &Bus, stream: &str, last: usize) -> Result<Vec<StreamMessage>, RequestError> {
    let state = bus.stream_info(stream).await?.state;
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    if state.messages == 0 {
        return Ok(found);
    }
    for seq in (state.first_seq..=state.last_seq).rev().take(LOOKED_AT_MAX) {
        // One that was removed, perhaps meanwhile.
        let Some(message) = bus.stored(stream, seq).await? else { continue };
        bytes = bytes.saturating_add(message.payload.len());
        if !found.is_empty() && bytes > BYTES_MAX {
            break;
        }
        found.push(StreamMessage::of(&message));
        if found.len() >= last {
            break;
        }
    }
    Ok(found)
}
