//! One request, as it is counted and logged when it is over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use settings::AccessLog;

use crate::access::Admitted;
use crate::backends::Pass;
use crate::body::{End, Ended, Progress};
use crate::breaker::Outcome;
use crate::metrics::Metrics;
use crate::proxy::Timeouts;
use crate::rate::Standing;
use crate::request_id::RequestId;
use crate::routes::Route;

/// What is logged and counted about a request when it is over.
pub(crate) struct Visit {
    pub(crate) metrics: Metrics,
    pub(crate) route: &'static Route,
    pub(crate) timeouts: Timeouts,
    pub(crate) started: Instant,
    /// Which requests are logged.
    pub(crate) log: AccessLog,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) id: RequestId,
    pub(crate) caller: Option<IpAddr>,
    pub(crate) admitted: Option<Admitted>,
    /// What is left of the limit that is nearest.
    pub(crate) standing: Option<Standing>,
    /// Whether what the client sends is encrypted.
    pub(crate) is_encrypted: bool,
    pub(crate) status: StatusCode,
    pub(crate) upload: Option<Arc<Progress>>,
    /// The leave of a backend that has begun to answer.
    pub(crate) pass: Option<Pass>,
}

impl Ended for Visit {
    fn ended(self, sent: u64, end: End) {
        // The answer to HEAD has a body that is never sent.
        let end = if self.method == Method::HEAD { End::Complete } else { end };
        let is_complete = end == End::Complete;
        if let Some(pass) = self.pass {
            pass.settle(match end {
                End::Complete => Outcome::Success,
                End::Broken => Outcome::Failure,
                End::Abandoned => Outcome::Unknown,
            });
        }
        let received = self.upload.as_ref().map_or(0, |progress| progress.bytes());
        self.metrics.finished(self.route, received, sent, is_complete);
        let key = self.admitted.as_ref().map(|admitted| &admitted.principal);
        // Queries are left out: they are long, and people put secrets into them.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = %self.id,
                    method = %self.method,
                    path = %self.path,
                    route = self.route.pattern,
                    status = self.status.as_u16(),
                    sent,
                    received,
                    elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    client = self.caller.map(tracing::field::display),
                    key = key.map(tracing::field::display),
                    is_complete,
                    "request"
                )
            };
        }
        if is_noted(self.log, self.status, is_complete) {
            log!(info);
        } else {
            log!(debug);
        }
    }
}

/// Whether a request is logged for everybody, and not for whoever debugs alone.
fn is_noted(log: AccessLog, status: StatusCode, is_complete: bool) -> bool {
    match log {
        AccessLog::All => true,
        AccessLog::Errors => status.as_u16() >= 400 || !is_complete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requests_are_noted_or_only_those_that_went_wrong() {
        for (status, is_complete, is_error) in [
            (StatusCode::OK, true, false),
            (StatusCode::SWITCHING_PROTOCOLS, true, false),
            (StatusCode::NOT_MODIFIED, true, false),
            (StatusCode::OK, false, true),
            (StatusCode::FORBIDDEN, true, true),
            (StatusCode::BAD_GATEWAY, true, true),
        ] {
            assert!(is_noted(AccessLog::All, status, is_complete), "{status}");
            assert_eq!(is_noted(AccessLog::Errors, status, is_complete), is_error, "{status}");
        }
        assert_eq!(AccessLog::default(), AccessLog::Errors);
    }
}
