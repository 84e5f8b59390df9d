//! JSON-RPC 2.0: what is said to the venue, and its answers (<https://www.jsonrpc.org/specification>).

use crate::fields::{object, required};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use venue::{FrameType, Granted, ParseError, Reject, Request, pack};

/// Channels in one call, at most
/// (<https://docs.deribit.com/api-reference/subscription-management/public-subscribe>).
pub(crate) const CHANNELS_MAX: usize = 500;

/// Bytes in one frame; beyond 32 KiB the venue answers "request entity too large".
pub(crate) const FRAME_BYTES_MAX: usize = 32 * 1024;

/// Seconds between heartbeats. The shortest that the venue allows
/// (<https://docs.deribit.com/api-reference/session-management/public-set_heartbeat>).
pub(crate) const HEARTBEAT_SECONDS: u64 = 10;

/// The code for calls that are too frequent.
///
/// Source: <https://docs.deribit.com/articles/errors>.
const TOO_MANY_REQUESTS: i64 = 10_028;

/// Asks for heartbeats: a connection without any is closed when it has been idle for a minute.
pub(crate) fn set_heartbeat(next_id: &mut u64) -> Request {
    let (params, id) = (format!(r#"{{"interval":{HEARTBEAT_SECONDS}}}"#), Some(*next_id));
    Request { frame: call("public/set_heartbeat", &params, next_id), id, joins: Vec::new() }
}

/// Answers a test request, within the interval of the heartbeats.
pub(crate) fn test(next_id: &mut u64) -> Request {
    Request { frame: call("public/test", "{}", next_id), id: None, joins: Vec::new() }
}

/// The calls that join channels.
pub(crate) fn subscribe(channels: &[String], next_id: &mut u64) -> Vec<Request> {
    subscriptions("public/subscribe", channels, next_id)
        .map(|(request, joins)| Request { joins, ..request })
        .collect()
}

/// The calls that leave channels.
pub(crate) fn unsubscribe(channels: &[String], next_id: &mut u64) -> Vec<Request> {
    subscriptions("public/unsubscribe", channels, next_id).map(|(request, _)| request).collect()
}

/// Packs channels into as few calls as the limits allow, each with its channels. The venue answers
/// with a list of those that it accepted: one that it does not know is absent.
fn subscriptions(
    method: &str,
    channels: &[String],
    next_id: &mut u64,
) -> impl Iterator<Item = (Request, Vec<String>)> {
    // The braces, the keys and the longest id.
    let overhead = method.len() + 80;
    let quoted =
        channels.iter().map(|channel| serde_json::Value::from(channel.as_str()).to_string());
    let mut rest = channels;
    pack(quoted, overhead, FRAME_BYTES_MAX, CHANNELS_MAX).into_iter().map(move |batch| {
        let params = format!(r#"{{"channels":[{}]}}"#, batch.join(","));
        let id = Some(*next_id);
        let frame = call(method, &params, next_id);
        let (these, others) = rest.split_at(batch.len());
        rest = others;
        (Request { frame, id, joins: Vec::new() }, these.to_vec())
    })
}

fn call(method: &str, params: &str, next_id: &mut u64) -> String {
    let id = *next_id;
    *next_id += 1;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

#[derive(Deserialize)]
struct Refusal<'a> {
    code: Option<i64>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What `public/test` answers.
#[derive(Deserialize)]
struct Version {
    version: Option<IgnoredAny>,
}

/// An answer, and the channels that it lists.
pub(crate) struct Answer<'a> {
    pub(crate) frame_type: FrameType,
    pub(crate) channels: Option<Vec<Cow<'a, str>>>,
}

/// Reads the answer to one of the calls above.
pub(crate) fn answer<'a>(
    id: Option<&RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&RawValue>,
) -> Result<Answer<'a>, ParseError> {
    let id = id.and_then(|id| id.get().parse().ok());
    let plain = |frame_type| Ok(Answer { frame_type, channels: None });
    if let Some(error) = error {
        let (code, message) = refusal(error)?;
        let too_often = code == TOO_MANY_REQUESTS;
        return plain(FrameType::Refused { id, code, message, too_often });
    }
    let Some(result) = result else {
        return Err(ParseError::new(Reject::UnknownType, "neither a notification nor an answer"));
    };
    let result = result.get();
    if result == "\"ok\"" {
        return plain(FrameType::Accepted { id, granted: Granted::All });
    }
    if let Ok(channels) = serde_json::from_str::<Vec<Cow<'_, str>>>(result) {
        let names = channels.iter().map(|channel| channel.clone().into_owned()).collect();
        let frame_type = FrameType::Accepted { id, granted: Granted::Only(names) };
        return Ok(Answer { frame_type, channels: Some(channels) });
    }
    match object(result.as_bytes()) {
        Ok(Version { version: Some(_) }) => plain(FrameType::Alive),
        Ok(Version { version: None }) | Err(_) => {
            Err(ParseError::new(Reject::UnknownType, format_args!("result {result}")))
        }
    }
}

/// An error's code, and its words with what they are about.
pub(crate) fn refusal(error: &RawValue) -> Result<(i64, String), ParseError> {
    let refusal: Refusal<'_> = object(error.get().as_bytes())?;
    let mut message = required(refusal.message, "error.message")?.into_owned();
    if let Some(data) = refusal.data {
        message = format!("{message}: {}", data.get());
    }
    Ok((required(refusal.code, "error.code")?, message))
}
