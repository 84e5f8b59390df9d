//! Several collectors, and which of them has a book.
//!
//! Of a redundant pair either has it, of shards one. The first one configured is asked first; its
//! answer stands if no other has the book either. Each has a breaker of its own.

use axum::response::Response;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::body::Upload;
use crate::forward::settle;
use crate::gate::{Gate, Routing};
use crate::refusal::Refusal;
use crate::visit::Visit;

impl Gate {
    /// Asks the further collectors for a book that the first does not have or cannot give.
    pub(crate) async fn or_elsewhere(
        &self,
        routing: &Routing,
        visit: &mut Visit,
        path: &PathAndQuery,
        (method, _, headers): &(Method, Uri, HeaderMap),
        first: Result<Response, Refusal>,
    ) -> Result<Response, Refusal> {
        if has_it(&first) {
            return first;
        }
        for (backend, base) in routing.collectors().skip(1) {
            let Ok(uri) = base.join(path) else { continue };
            let Ok(pass) = self.backends.admit(backend, &routing.breaker) else { continue };
            let head = (method.clone(), uri, headers.clone());
            let to = (backend, base);
            let sent = self.proxy.send(visit.timeouts.answer, to, head, Upload::nothing()).await;
            if let Ok(response) = settle(visit, pass, sent)
                && response.status().is_success()
            {
                return Ok(response);
            }
        }
        first
    }
}

/// Whether a collector answered for good: one that does not record the instrument says 404, and one
/// whose book is out of step 503.
fn has_it(answer: &Result<Response, Refusal>) -> bool {
    const NOT_HERE: [StatusCode; 2] = [StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE];
    answer.as_ref().is_ok_and(|response| !NOT_HERE.contains(&response.status()))
}
