//! What a service says of itself, over its own HTTP interface on this host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer that is read; a service's metrics are about 50 kB.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Whether a service is ready.
#[derive(Debug)]
pub(super) enum Readiness {
    Ready,
    /// It answers, and says what is missing.
    NotReady(String),
    /// It does not answer.
    Unreachable(String),
}

/// One service's HTTP interface.
pub(super) struct Probe {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Probe {
    /// Aims at the address where a service listens; the wildcard address means this host.
    pub(super) fn new(mut address: SocketAddr) -> Probe {
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Probe { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Asks `/ready`.
    pub(super) async fn readiness(&self) -> Readiness {
        match self.get("/ready").await {
            Ok((StatusCode::OK, _)) => Readiness::Ready,
            Ok((status, body)) => Readiness::NotReady(reason(status, &body)),
            Err(error) => Readiness::Unreachable(error.root_cause().to_string()),
        }
    }

    /// Reads a counter from `/metrics`, summed over its labels; `None` if there is none.
    pub(super) async fn counter(&self, name: &str) -> Option<f64> {
        let (status, body) = self.get("/metrics").await.ok()?;
        let text = std::str::from_utf8(&body).ok().filter(|_| status == StatusCode::OK)?;
        sum(text, name)
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let uri: Uri = format!("http://{}{path}", self.address).parse()?;
        let request = Request::get(uri).body(Empty::new())?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?;
            Ok((status, body.to_bytes()))
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

/// Names what is missing: the reasons that `/ready` gives, else its status.
fn reason(status: StatusCode, body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let reasons = document["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<&str> = reasons.filter_map(serde_json::Value::as_str).collect();
    if reasons.is_empty() { format!("answered {status}") } else { reasons.join("; ") }
}

/// Adds up a metric's samples of the text exposition.
fn sum(exposition: &str, name: &str) -> Option<f64> {
    let samples = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once("} ")?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split(' ').next()?.parse::<f64>().ok()
    });
    samples.reduce(|total, value| total + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_a_service_are_told() {
        let body = br#"{"ready":false,"reasons":["bus: no route, for 3 s","disk: full"]}"#;
        let told = reason(StatusCode::SERVICE_UNAVAILABLE, body);
        assert_eq!(told, "bus: no route, for 3 s; disk: full");
        assert_eq!(reason(StatusCode::NOT_FOUND, b"<html>"), "answered 404 Not Found");
    }

    #[test]
    fn a_counter_is_summed_over_its_labels() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"} 9\"} 3 1700.0\n\
                    a_total_more 50\nb_total 7\n# EOF\n";
        assert_eq!(sum(text, "a_total"), Some(5.0));
        assert_eq!(sum(text, "b_total"), Some(7.0));
        assert_eq!(sum(text, "c_total"), None);
    }
}
