//! One request, as it is counted and logged when it is over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};

use crate::access::Admitted;
use crate::body::{Ended, Progress};
use crate::metrics::Metrics;
use crate::rate::Standing;
use crate::request_id::RequestId;
use crate::routes::Route;

/// What is logged and counted about a request when it is over.
pub(crate) struct Visit {
    pub(crate) metrics: Metrics,
    pub(crate) route: &'static Route,
    pub(crate) started: Instant,
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
}

impl Ended for Visit {
    fn ended(self, sent: u64, is_complete: bool) {
        // The answer to HEAD has a body that is never sent.
        let is_complete = is_complete || self.method == Method::HEAD;
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
        if self.status.as_u16() >= 400 || !is_complete {
            log!(info);
        } else {
            log!(debug);
        }
    }
}
