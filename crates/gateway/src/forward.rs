//! A request's way to its backend: cache, breaker, one repetition where it is safe, headers.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use hyper::body::Body as _;
use web::X_AUTH_PRINCIPAL;

use crate::backends::Pass;
use crate::body::{Progress, Upload};
use crate::breaker::Outcome;
use crate::cache::{self, Answer, CacheKey, Kept};
use crate::caller::Caller;
use crate::gate::{Gate, Routing};
use crate::headers;
use crate::proxy::Failure;
use crate::refusal::Refusal;
use crate::routes::{BOOKS, Backend, SQL};
use crate::visit::Visit;

impl Gate {
    /// Sends a request to its backend and returns the answer as the client gets it.
    pub(crate) async fn forward(
        &self,
        routing: &Routing,
        backend: Backend,
        caller: &Caller,
        visit: &mut Visit,
        request: Request,
    ) -> Result<Response, Refusal> {
        let (mut parts, body) = request.into_parts();
        let switch = self.switch(routing, visit, &mut parts, &body)?;
        let path = parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let base = &routing.bases[backend.index()].0;
        let uri = base.join(&path).map_err(|_| {
            Refusal::new(StatusCode::BAD_REQUEST, "the request's target is not a path")
        })?;
        let kept = CacheKey::of(&parts.method, &uri, &parts.headers)
            .filter(|_| routing.cache_bytes > 0 && body.is_end_stream() && switch.is_none());
        if let Some(answer) = kept.as_ref().and_then(|key| self.recall(key)) {
            return Ok(answer);
        }
        let mut headers =
            headers::to_backend(parts.headers, caller, &visit.id, self.token.as_ref());
        // Before they are copied: a copy has no room for another.
        headers.insert(HOST, base.host());
        name_principal(visit, &mut headers);
        if switch.is_some() {
            headers::name_websocket(&mut headers);
        }
        let (upload, progress) = Upload::new(body);
        visit.upload = Some(Arc::clone(&progress));
        let method = parts.method;
        let mut response = if may_be_repeated(&method, &progress) {
            let head = (method.clone(), uri, headers);
            // The copy is kept: what is sent has more room, and lends it to the answer's headers.
            let copy = head.clone();
            let sent = self.send_safely(routing, backend, visit, head, &copy).await;
            if visit.route.pattern == BOOKS {
                Box::pin(self.or_elsewhere(routing, visit, &path, &copy, sent)).await?
            } else {
                sent?
            }
        } else {
            let head = (method.clone(), uri, headers);
            let pass = self.pass(routing, backend)?;
            let to = (backend, base);
            let sent = self.proxy.send(visit.timeouts.answer, to, head, (upload, progress)).await;
            settle(visit, pass, sent).map_err(Failure::into_refusal)?
        };
        let status = response.status();
        headers::to_client(response.headers_mut(), &method, status);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Box::pin(self.join(backend, visit, switch, response)).await;
        }
        Ok(match kept {
            Some(key) => self.keep(key, response, routing.cache_bytes),
            None => response,
        })
    }

    fn recall(&self, key: &CacheKey) -> Option<Response> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let Answer { headers, body } = cache.get(key, Instant::now())?;
        drop(cache);
        self.metrics.recalled();
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = headers;
        Some(response)
    }

    /// Keeps an answer once it has passed as a whole, if it says that it may be kept.
    fn keep(&self, key: CacheKey, response: Response, bytes_max: usize) -> Response {
        let Some(fresh) = cache::freshness(response.status(), response.headers()) else {
            return response;
        };
        let Ok(place) = Arc::clone(&self.copies).try_acquire_owned() else { return response };
        let (cache, headers) = (Arc::clone(&self.cache), response.headers().clone());
        let came = Instant::now();
        response.map(|body| {
            Body::new(Kept::new(body, place, move |body| {
                let answer = Answer { headers, body };
                let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
                // Its time began when its head came.
                cache.put(key, answer, fresh, bytes_max, came);
            }))
        })
    }

    /// Sends a request that changes nothing, and its copy if the backend broke off.
    async fn send_safely(
        &self,
        routing: &Routing,
        backend: Backend,
        visit: &mut Visit,
        head: (Method, Uri, HeaderMap),
        copy: &(Method, Uri, HeaderMap),
    ) -> Result<Response, Refusal> {
        let pass = self.pass(routing, backend)?;
        self.backends.earn(backend);
        let to = (backend, &routing.bases[backend.index()].0);
        let sent = self.proxy.send(visit.timeouts.answer, to, head, Upload::nothing()).await;
        let failure = match settle(visit, pass, sent) {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let Failure::Backend { may_help: true, .. } = failure else {
            return Err(failure.into_refusal());
        };
        if !self.backends.spend(backend) {
            return Err(failure.into_refusal());
        }
        // The breaker may have opened by the first attempt: then that one's failure is the answer.
        let Ok(pass) = self.backends.admit(backend, &routing.breaker) else {
            return Err(failure.into_refusal());
        };
        let sent =
            self.proxy.send(visit.timeouts.answer, to, copy.clone(), Upload::nothing()).await;
        settle(visit, pass, sent).map_err(Failure::into_refusal)
    }

    fn pass(&self, routing: &Routing, backend: Backend) -> Result<Pass, Refusal> {
        self.backends.admit(backend, &routing.breaker).map_err(|wait: Duration| {
            let detail = format!("{} fails and is left alone for a while", backend.name());
            Refusal::unavailable(detail, wait)
        })
    }
}

/// Says whose statement it is, where each has a share of them.
fn name_principal(visit: &Visit, headers: &mut HeaderMap) {
    if visit.route.pattern == SQL
        && let Some(admitted) = &visit.admitted
    {
        let name = HeaderValue::try_from(admitted.principal.to_string());
        headers.insert(X_AUTH_PRINCIPAL, name.expect("a key's id and a user's name fit a header"));
    }
}

/// Whether a request may be sent twice: it changes nothing (RFC 9110 §9.2.1), and has no body that
/// has been sent already.
fn may_be_repeated(method: &Method, progress: &Progress) -> bool {
    (method == Method::GET || method == Method::HEAD) && progress.is_complete()
}

/// Whether an answer says that the backend fails. One about what was asked for alone, such as a
/// book that is not in step, is the answer of a backend that works.
fn is_failure(response: &Response) -> bool {
    response.status().is_server_error() && !web::is_of_resource(response.headers())
}

/// Tells the breaker what became of a request. Of a backend that has begun to answer it is told
/// when the answer is over, which it may not live to see.
pub(crate) fn settle(
    visit: &mut Visit,
    pass: Pass,
    sent: Result<Response, Failure>,
) -> Result<Response, Failure> {
    if sent.as_ref().is_ok_and(|response| response.status().is_success()) {
        visit.pass = Some(pass);
        return sent;
    }
    pass.settle(match &sent {
        Ok(response) if is_failure(response) => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(Failure::Backend { .. }) => Outcome::Failure,
        Err(Failure::Client(_)) => Outcome::Unknown,
    });
    sent
}
