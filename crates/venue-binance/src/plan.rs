//! The requests that join and leave streams.

use venue::{Request, pack};

/// Packs streams into as few requests as the frame limit allows.
pub(crate) fn requests(
    method: &str,
    streams: &[String],
    next_id: &mut u64,
    bytes_max: usize,
) -> Vec<Request> {
    // The brackets, the keys and the longest id.
    let overhead = method.len() + 60;
    let quoted = streams.iter().map(|stream| serde_json::Value::from(stream.as_str()).to_string());
    let requests = pack(quoted, overhead, bytes_max, usize::MAX).into_iter().map(|batch| {
        let params = batch.join(",");
        let frame = format!(r#"{{"method":"{method}","params":[{params}],"id":{next_id}}}"#);
        *next_id += 1;
        Request { frame, confirmations: 1 }
    });
    requests.collect()
}
