//! Frames that are no data: confirmations, refusals, notices.

use crate::fields::Field;
use crate::general::Envelope;
use serde_json::value::RawValue;
use venue::{FrameType, Granted, ParseError, Reject};

/// Requests are too frequent.
///
/// Source: <https://www.okx.com/docs-v5/en/#error-code-websocket>.
const TOO_OFTEN: i64 = 60_014;

/// The notice that the service is about to be upgraded: this connection ends in a minute.
///
/// Source: <https://www.okx.com/docs-v5/en/#overview-websocket-notification>.
const UPGRADE: &str = "64008";

/// Reads the frame of an event.
pub(crate) fn read(event: &str, envelope: &Envelope<'_>) -> Result<FrameType, ParseError> {
    let id = envelope.id.and_then(request);
    let code = text(&envelope.code);
    match event {
        // One confirmation comes for each stream.
        "subscribe" | "unsubscribe" => {
            let granted = envelope.stream().map_or(Granted::All, Granted::One);
            Ok(FrameType::Accepted { id, granted })
        }
        "error" => {
            // A refusal is one even if its code cannot be read.
            let code = code.parse().unwrap_or(0);
            let (message, too_often) = (text(&envelope.msg).to_owned(), code == TOO_OFTEN);
            Ok(FrameType::Refused { id, code, message, too_often })
        }
        "notice" if code == UPGRADE => Ok(FrameType::Closing),
        other => {
            let detail = format_args!("event {other:?} with code {code:?}");
            Err(ParseError::new(Reject::UnknownType, detail))
        }
    }
}

fn text<'a>(field: &'a Field<'_>) -> &'a str {
    field.as_ref().map_or("", |text| &*text.0)
}

/// The number of a request, which comes back as the text that we sent.
fn request(id: &RawValue) -> Option<u64> {
    id.get().trim_matches('"').parse().ok()
}
