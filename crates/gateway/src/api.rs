//! The description of everything that passes the gateway.
//!
//! What the services behind it describe is in files beside their sources, held equal to them by
//! their tests; so the document is whole whether or not they are there.

mod own;

use http::Method;
use openapi::{Document, Operation};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::routes::{Backend, Route, Target};

/// What the services describe.
const BEHIND: [(Backend, &str); 5] = [
    (Backend::Collector, include_str!("../../collector/openapi.json")),
    (Backend::Storage, include_str!("../../storage/openapi.json")),
    (Backend::Monitoring, include_str!("../../monitoring/openapi.json")),
    (Backend::Scheduler, include_str!("../../scheduler/openapi.json")),
    (Backend::Broker, include_str!("../../broker/openapi.json")),
];

/// What every answer of the gateway carries.
const CARRIED: [&str; 3] = ["RateLimit", "RateLimit-Policy", "X-Request-Id"];

const ABOUT: &str = "One door to the suite: it asks who is there, and hands requests over to the \
                     services behind it.";

/// What the gateway answers itself, beside the dashboard.
#[derive(OpenApi)]
#[openapi(paths(
    own::status,
    own::services,
    own::stats,
    own::stream,
    own::login,
    own::refresh,
    own::logout
))]
struct Own;

/// Describes what the gateway answers, and what passes it by the route table.
pub(crate) fn describe() -> Document {
    let mut document = Document::new("gateway", ABOUT, Own::openapi());
    document.schemes(&schemes());
    document.each(|path, _, operation| guard(path, operation));
    for (backend, text) in BEHIND {
        let mut behind = Document::read(text).expect("a test holds it equal to what was written");
        behind.retain(|path| target(path) == Target::Backend(backend));
        behind.each(hand_over);
        document.merge(behind);
    }
    document.each(|_, _, operation| operation.carry(&CARRIED));
    document
}

/// Who answers at a path whose parameters have some value.
fn target(path: &str) -> Target {
    line(path).target
}

/// The line of the route table for a path whose parameters have some value.
fn line(path: &str) -> &'static Route {
    Route::of(&path.replace(['{', '}'], ""))
}

/// How whoever asks can say who it is.
fn schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, made by `marketprism keys create`, or the token of a user \
                            who has logged in.",
        },
        "key": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key.",
        },
    })
}

/// Says who may ask for what the gateway answers itself.
fn guard(path: &str, operation: &mut Operation<'_>) {
    match target(path) {
        Target::Status | Target::Services | Target::Stats => {
            operation.secure(json!([{"bearer": []}, {"key": []}, {}]));
            operation.remark("Needs the scope `admin`, or a client on this host.");
            refuse(operation);
        }
        Target::Stream => {
            operation.secure(json!([{"bearer": []}, {"key": []}]));
            operation.remark("Needs the scope `read`.");
            refuse(operation);
        }
        Target::Login
        | Target::Refresh
        | Target::Logout
        | Target::Home
        | Target::Nowhere
        | Target::Backend(_) => {
            operation.secure(json!([]));
        }
    }
}

/// Adds what the gateway says in a service's place.
fn hand_over(path: &str, method: &str, operation: &mut Operation<'_>) {
    let asks = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
        .expect("the methods of a description are those of HTTP");
    let scope = line(path).scope(&asks);
    operation.secure(json!([{"bearer": []}, {"key": []}]));
    operation.remark(&format!("Needs the scope `{scope}`."));
    refuse(operation);
    operation.refusal(502, "The service behind the gateway broke off before its answer.");
    operation.refusal(503, "The service behind the gateway cannot be reached.");
    operation.refusal(504, "The service behind the gateway did not answer in time.");
    if path.contains('{') {
        operation.refusal(404, "There is no such path.");
    }
    if operation.has_body() {
        operation.refusal(400, "The body broke off.");
        operation.refusal(408, "The body did not come in time.");
        operation.refusal(413, "The body is larger than `gateway.body_max`.");
    }
}

/// Adds what is said to whoever may not ask, or not so often.
fn refuse(operation: &mut Operation<'_>) {
    operation.refusal(401, "The request shows no key or token, or one that is not good.");
    operation.refusal(403, "The key or the user does not have the scope.");
    operation.refusal(429, "Too many requests, or too many wrong keys; see `Retry-After`.");
}

#[cfg(test)]
mod tests;
