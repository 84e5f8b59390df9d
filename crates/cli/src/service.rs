//! Asks a service over its HTTP interface, as the services ask one another.

use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use net::Tls;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use settings::{Credentials, Endpoint};
use tokio::time::timeout;

/// Where the installation keeps the token that services show one another.
const CREDENTIALS: &str = "/etc/credstore";
/// Largest answer of the storage that is read.
const STORAGE_ANSWER_BYTES_MAX: usize = 64 << 20;
/// Largest answer of the others that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What the other end is shown, and how it is known to be the right one.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Access {
    /// A file with the token that services show one another, or with an API key for a gateway; -
    /// is stdin [default: the credential in /etc/credstore, if there is one; nothing over https].
    #[arg(long, global = true, visible_alias = "key-file", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A file with the certificates to trust over https, in place of the host's.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[cfg(test)]
impl Access {
    /// What is in this file is shown.
    pub(crate) fn of(token_file: &Path) -> Self {
        Self { token_file: Some(token_file.to_owned()), ca_file: None }
    }
}

/// Where the storage is, and what it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The storage's HTTP interface, or a gateway's [default: as configured on this host].
    #[arg(long, visible_alias = "gateway", value_name = "URL")]
    pub(crate) storage: Option<Endpoint>,
    #[command(flatten)]
    pub(crate) access: Access,
}

impl Target {
    /// Aims at what was named, else at the address where the storage of this host listens.
    pub(crate) fn storage(&self, listen: SocketAddr) -> anyhow::Result<Service> {
        Service::new(
            "storage",
            self.storage.as_ref(),
            &self.access,
            listen,
            STORAGE_ANSWER_BYTES_MAX,
        )
    }
}

/// Where the collector is, and what it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct CollectorTarget {
    /// The collector's HTTP interface, or a gateway's [default: as configured on this host].
    #[arg(long, visible_alias = "gateway", value_name = "URL")]
    pub(crate) collector: Option<Endpoint>,
    #[command(flatten)]
    pub(crate) access: Access,
}

impl CollectorTarget {
    /// Aims at what was named, else at the address where the collector of this host listens.
    pub(crate) fn collector(&self, listen: SocketAddr) -> anyhow::Result<Service> {
        Service::new("collector", self.collector.as_ref(), &self.access, listen, ANSWER_BYTES_MAX)
    }
}

/// Where the broker is, and what it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct BrokerTarget {
    /// The broker's HTTP interface, or a gateway's [default: as configured on this host].
    #[arg(long, global = true, visible_alias = "gateway", value_name = "URL")]
    pub(crate) broker: Option<Endpoint>,
    #[command(flatten)]
    pub(crate) access: Access,
}

impl BrokerTarget {
    /// Aims at what was named, else at the address where the broker of this host listens.
    pub(crate) fn broker(&self, listen: SocketAddr) -> anyhow::Result<Service> {
        Service::new("broker", self.broker.as_ref(), &self.access, listen, ANSWER_BYTES_MAX)
    }
}

/// A service's HTTP interface.
pub(crate) struct Service {
    name: &'static str,
    base: String,
    token: Option<SecretString>,
    transport: Transport,
    answer_bytes_max: usize,
}

/// How requests travel.
enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Secure(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Transport {
    /// Over TLS, to whom the certificates in the file vouch for, else those of the host.
    fn secure(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let tls = Tls::new(ca_file).context("cannot tell whom to trust")?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*tls.config()).clone())
            .https_only()
            .enable_http1()
            .build();
        Ok(Self::Secure(Client::builder(TokioExecutor::new()).build(connector)))
    }

    fn plain() -> Self {
        Self::Plain(Client::builder(TokioExecutor::new()).build_http())
    }

    fn request(&self, request: Request<Full<Bytes>>) -> ResponseFuture {
        match self {
            Self::Plain(client) => client.request(request),
            Self::Secure(client) => client.request(request),
        }
    }
}

impl Service {
    /// Aims at the endpoint, else at the address where the service of this host listens, and shows
    /// it the token of the file, else the installation's.
    pub(crate) fn new(
        name: &'static str,
        endpoint: Option<&Endpoint>,
        access: &Access,
        listen: SocketAddr,
        answer_bytes_max: usize,
    ) -> anyhow::Result<Self> {
        let base = match endpoint {
            Some(endpoint) => endpoint.to_string(),
            None => format!("http://{}", reachable(listen)),
        };
        let is_secure = base.starts_with("https://");
        if !is_secure && !base.starts_with("http://") {
            bail!("{base} must begin with http:// or https://");
        }
        let token = match &access.token_file {
            Some(path) => Some(read_token(path)?),
            // Over HTTPS it is a gateway, which wants a key: the token is not shown around.
            None if is_secure => None,
            // Not root: without it the service says whether it wants one.
            None => {
                Credentials::at(PathBuf::from(CREDENTIALS)).get("internal-token").ok().flatten()
            }
        };
        let base = base.trim_end_matches('/').to_owned();
        let transport = if is_secure {
            Transport::secure(access.ca_file.as_deref())?
        } else {
            Transport::plain()
        };
        Ok(Self { name, base, token, transport, answer_bytes_max })
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
        let request = self.request(method, path, document)?;
        let exchange = async {
            let response = self.transport.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), self.answer_bytes_max).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let (status, body) = timeout(within, exchange)
            .await
            .with_context(|| format!("no answer within {} s", within.as_secs()))?
            .map_err(|error| self.unreached(error))?;
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => {
                // Nothing to say is a value too.
                let body: &[u8] = if body.is_empty() { b"null" } else { &body };
                let answer = serde_json::from_slice(body);
                answer.with_context(|| format!("read the {}'s answer", self.name))
            }
            status => Err(self.refused(status, &body)),
        }
    }

    /// Sends a `GET` and hands its answer on as it comes.
    ///
    /// # Errors
    ///
    /// If nothing comes for so long, the answer is anything but 200 or breaks off, or what `take`
    /// says.
    pub(crate) async fn download(
        &self,
        path: &str,
        silence_max: Duration,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let silent = || format!("nothing came for {} s", silence_max.as_secs());
        let request = self.transport.request(self.request(Method::GET, path, None)?);
        let response = timeout(silence_max, request).await.with_context(silent)?;
        let response = response.map_err(|error| self.unreached(error.into()))?;
        let (status, mut body) = (response.status(), response.into_body());
        if status != StatusCode::OK {
            let body = timeout(silence_max, Limited::new(body, ANSWER_BYTES_MAX).collect());
            let body = body.await.with_context(silent)?.map_err(anyhow::Error::from_boxed)?;
            return Err(self.refused(status, &body.to_bytes()));
        }
        while let Some(frame) = timeout(silence_max, body.frame()).await.with_context(silent)? {
            let frame = frame.context("the answer breaks off")?;
            if let Some(data) = frame.data_ref() {
                take(data)?;
            }
        }
        Ok(())
    }

    /// A request with a JSON document, or without a body.
    fn request(
        &self,
        method: Method,
        path: &str,
        document: Option<Vec<u8>>,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if document.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose_secret()));
        }
        Ok(request.body(Full::new(Bytes::from(document.unwrap_or_default())))?)
    }

    /// What the service says is wrong, and what helps.
    fn refused(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        match status {
            StatusCode::UNAUTHORIZED => anyhow!(
                "the {} wants the token of the credential marketprism.internal-token: run this as \
                 root, or give --token-file; a gateway wants an API key: give it with --key-file",
                self.name
            ),
            status => anyhow!("{}", reason(status, body)),
        }
    }

    /// Why there is no answer, and what helps.
    fn unreached(&self, error: anyhow::Error) -> anyhow::Error {
        let Self { name, base, transport, .. } = self;
        match transport {
            Transport::Secure(_) if net::is_issuer_unknown(error.as_ref()) => {
                error.context(distrusted(base))
            }
            Transport::Secure(_) => {
                error.context(format!("ask the gateway at {base}: does it serve HTTPS there?"))
            }
            Transport::Plain(_) => {
                error.context(format!("ask the {name} at {base}: is marketprism-{name} running?"))
            }
        }
    }
}

/// What helps against a certificate that nobody vouches for.
pub(crate) fn distrusted(url: &str) -> String {
    format!(
        "{url} shows a certificate of an authority that is not trusted here: give that \
         authority's with --ca-file, or add it to those of the host (update-ca-certificates)"
    )
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
    use super::{Access, Endpoint, Target};
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
        (Target { storage: Some(endpoint), access: Access::default() }, served)
    }
}

#[cfg(test)]
mod tests;
