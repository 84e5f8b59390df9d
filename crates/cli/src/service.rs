//! Asks a service over its HTTP interface, as the services ask one another.

use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use settings::{Credentials, Endpoint};

/// Where the installation keeps the token that services show one another.
const CREDENTIALS: &str = "/etc/credstore";
/// Largest answer of the storage that is read.
const STORAGE_ANSWER_BYTES_MAX: usize = 64 << 20;
/// Largest answer of the others that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where the storage is, and what it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The storage's HTTP interface [default: as configured on this host].
    #[arg(long, value_name = "URL")]
    pub(crate) storage: Option<Endpoint>,
    /// A file with the token that services show one another; - is stdin [default: the credential
    /// in /etc/credstore, if there is one].
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Target {
    /// Aims at what was named, else at the address where the storage of this host listens.
    pub(crate) fn storage(&self, listen: SocketAddr) -> anyhow::Result<Service> {
        let (endpoint, token) = (self.storage.as_ref(), self.token_file.as_deref());
        Service::new("storage", endpoint, token, listen, STORAGE_ANSWER_BYTES_MAX)
    }
}

/// Where the collector is, and what it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct CollectorTarget {
    /// The collector's HTTP interface [default: as configured on this host].
    #[arg(long, value_name = "URL")]
    pub(crate) collector: Option<Endpoint>,
    /// A file with the token that services show one another; - is stdin [default: the credential
    /// in /etc/credstore, if there is one].
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl CollectorTarget {
    /// Aims at what was named, else at the address where the collector of this host listens.
    pub(crate) fn collector(&self, listen: SocketAddr) -> anyhow::Result<Service> {
        let (endpoint, token) = (self.collector.as_ref(), self.token_file.as_deref());
        Service::new("collector", endpoint, token, listen, ANSWER_BYTES_MAX)
    }
}

/// Where the broker is, and what it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct BrokerTarget {
    /// The broker's HTTP interface [default: as configured on this host].
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Option<Endpoint>,
    /// A file with the token that services show one another; - is stdin [default: the credential
    /// in /etc/credstore, if there is one].
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl BrokerTarget {
    /// Aims at what was named, else at the address where the broker of this host listens.
    pub(crate) fn broker(&self, listen: SocketAddr) -> anyhow::Result<Service> {
        let (endpoint, token) = (self.broker.as_ref(), self.token_file.as_deref());
        Service::new("broker", endpoint, token, listen, ANSWER_BYTES_MAX)
    }
}

/// A service's HTTP interface.
pub(crate) struct Service {
    name: &'static str,
    base: String,
    token: Option<SecretString>,
    client: Client<HttpConnector, Full<Bytes>>,
    answer_bytes_max: usize,
}

impl Service {
    /// Aims at the endpoint, else at the address where the service of this host listens, and shows
    /// it the token of that file, else the installation's.
    pub(crate) fn new(
        name: &'static str,
        endpoint: Option<&Endpoint>,
        token_file: Option<&Path>,
        listen: SocketAddr,
        answer_bytes_max: usize,
    ) -> anyhow::Result<Self> {
        let base = match endpoint {
            Some(endpoint) => endpoint.to_string(),
            None => format!("http://{}", reachable(listen)),
        };
        if !base.starts_with("http://") {
            bail!("{base} must begin with http://");
        }
        let token = match token_file {
            Some(path) => Some(read_token(path)?),
            // Not root: without it the service says whether it wants one.
            None => {
                Credentials::at(PathBuf::from(CREDENTIALS)).get("internal-token").ok().flatten()
            }
        };
        let base = base.trim_end_matches('/').to_owned();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { name, base, token, client, answer_bytes_max })
    }

    /// Posts a document and reads the answer.
    ///
    /// # Errors
    ///
    /// If there is no answer within this time, or it is anything but 200 or 202.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
        within: Duration,
    ) -> anyhow::Result<T> {
        self.ask(Method::POST, path, Some(serde_json::to_vec(document)?), within).await
    }

    /// Sends a request, with a JSON document or without a body, and reads the answer.
    ///
    /// # Errors
    ///
    /// As [`Service::post`].
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        document: Option<Vec<u8>>,
        within: Duration,
    ) -> anyhow::Result<T> {
        let Self { name, base, .. } = self;
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        if document.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose_secret()));
        }
        let request = request.body(Full::new(Bytes::from(document.unwrap_or_default())))?;
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), self.answer_bytes_max).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(within, exchange)
            .await
            .with_context(|| format!("no answer within {} s", within.as_secs()))?
            .with_context(|| format!("ask the {name} at {base}: is marketprism-{name} running?"))?;
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => {
                // Nothing to say is a value too.
                let body: &[u8] = if body.is_empty() { b"null" } else { &body };
                serde_json::from_slice(body).with_context(|| format!("read the {name}'s answer"))
            }
            StatusCode::UNAUTHORIZED => bail!(
                "the {name} wants the token of the credential marketprism.internal-token: run \
                 this as root, or give --token-file"
            ),
            status => bail!("{}", reason(status, &body)),
        }
    }
}

/// What the service says is wrong.
fn reason(status: StatusCode, body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = document["detail"].as_str().or_else(|| document.as_str());
    said.map_or_else(|| format!("answered {status}"), str::to_owned)
}

pub(crate) fn read_token(path: &Path) -> anyhow::Result<SecretString> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.with_context(|| format!("read the token in {}", path.display()))?;
    Ok(SecretString::from(text.trim()))
}

/// The address where a service listens; the wildcard address means this host.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// A server that answers one request, for tests, and hands out what it was sent.
#[cfg(test)]
pub(crate) mod testing {
    use super::{Endpoint, Target};
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    pub(crate) fn answer(status: &str, body: &str) -> (Target, JoinHandle<(String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let served = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0);
            }
            let length = head.to_lowercase();
            let length =
                length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
            (head, String::from_utf8(body).unwrap())
        });
        let endpoint: Endpoint = url.parse().unwrap();
        (Target { storage: Some(endpoint), token_file: None }, served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn ask(target: &Target) -> anyhow::Result<serde_json::Value> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 1));
        target.storage(listen)?.post("/there", &serde_json::json!({"a": 1}), PATIENCE).await
    }

    #[tokio::test]
    async fn a_service_is_shown_the_token_and_the_document() {
        let (mut target, served) = testing::answer("200 OK", "{\"b\": 2}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        target.token_file = Some(file.path().to_owned());
        assert_eq!(ask(&target).await.unwrap(), serde_json::json!({"b": 2}));
        let (head, body) = served.join().unwrap();
        assert!(head.starts_with("POST /there HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer s3cret\r\n"), "{head}");
        assert_eq!(body, "{\"a\":1}");
    }

    #[tokio::test]
    async fn what_a_service_refuses_is_told_in_its_words() {
        for (status, body, expected) in [
            (
                "409 Conflict",
                "{\"detail\": \"days are being moved already\"}",
                "being moved already",
            ),
            ("502 Bad Gateway", "<html>", "answered 502 Bad Gateway"),
            ("401 Unauthorized", "{}", "run this as root"),
        ] {
            let (target, served) = testing::answer(status, body);
            let error = ask(&target).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            served.join().unwrap();
        }
        let nobody = Target { storage: None, token_file: None };
        let error = ask(&nobody).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:1: is marketprism-storage running?"), "{error}");
    }
}
