//! What the gateway answers itself, for its description: [`crate::gate`] serves every path alike.
#![expect(dead_code, reason = "these describe what is served elsewhere")]

use utoipa::ToSchema;

use crate::backends::BreakerDocument;
use crate::checks::Seen;
use crate::login::{Login, Renewal};
use crate::pages::{Stats, Status};

/// The backends.
#[derive(ToSchema)]
struct Services {
    services: Vec<Service>,
}

/// A backend as checks see it, and as requests do.
#[derive(ToSchema)]
struct Service {
    #[serde(flatten)]
    seen: Seen,
    breaker: BreakerDocument,
}

/// What a login gives.
#[derive(ToSchema)]
struct Tokens {
    /// `Bearer`.
    token_type: String,
    /// Shown with every request.
    access_token: String,
    /// How long it is good, in seconds.
    expires_in: u64,
    /// Good once, for new ones.
    refresh_token: String,
    /// How long it is good, in seconds.
    refresh_expires_in: u64,
    user: String,
    /// What the user may do: `read`, `write` and `admin`.
    scopes: Vec<String>,
}

/// The gateway's own state.
#[utoipa::path(
    get,
    path = "/_gateway/status",
    operation_id = "gateway_status",
    responses((status = 200, description = "How it does.", body = Status)),
)]
pub(super) fn status() {}

/// The backends as the gateway sees them.
#[utoipa::path(
    get,
    path = "/_gateway/services",
    operation_id = "gateway_services",
    responses((status = 200, description = "How they do.", body = Services)),
)]
pub(super) fn services() {}

/// What has passed the gateway since it was started.
#[utoipa::path(
    get,
    path = "/_gateway/stats",
    operation_id = "gateway_stats",
    responses((status = 200, description = "Counts and latencies by route.", body = Stats)),
)]
pub(super) fn stats() {}

/// The live stream: makes a WebSocket of the connection.
///
/// What is said over it is in `docs/gateway.md`.
#[utoipa::path(
    get,
    path = "/ws/v1/stream",
    operation_id = "live_stream",
    responses(
        (status = 101, description = "The connection is a WebSocket from now on."),
        (status = 426, description = "The request does not ask for a WebSocket."),
        (status = 429, description = "There were too many requests, or the key has as many \
                                      streams open as it may."),
        (status = 503, description = "There are as many live streams as the gateway may have."),
    ),
)]
pub(super) fn stream() {}

/// A user and a password for tokens.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    operation_id = "log_in",
    request_body = Login,
    responses(
        (status = 200, description = "The tokens.", body = Tokens),
        (status = 400),
        (status = 401, description = "The user or the password is wrong."),
        (status = 413),
        (status = 429),
        (status = 500),
        (status = 503, description = "Too many log in at once."),
    ),
)]
pub(super) fn login() {}

/// An old token for new ones.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    operation_id = "refresh_tokens",
    request_body = Renewal,
    responses(
        (status = 200, description = "The tokens.", body = Tokens),
        (status = 400),
        (status = 401, description = "The token is not good, or not any more."),
        (status = 413),
        (status = 429),
    ),
)]
pub(super) fn refresh() {}

/// An end to all tokens of a login, and to its live streams.
#[utoipa::path(
    post,
    path = "/api/v1/auth/logout",
    operation_id = "log_out",
    request_body = Renewal,
    responses(
        (status = 204, description = "The tokens are good no more."),
        (status = 400),
        (status = 401, description = "The token is none of the gateway's."),
        (status = 413),
        (status = 429),
        (status = 500, description = "They are good no more until the gateway starts again: that \
                                      could not be written down."),
    ),
)]
pub(super) fn logout() {}
