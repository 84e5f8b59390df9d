//! TLS: a terminator in front of the server, as a proxy or the server's own listener would be.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Takes TLS off connections and hands them on; ends on drop.
struct Terminator {
    /// The certificate of the authority that vouches for it.
    authority: NamedTempFile,
    port: u16,
    _tasks: JoinSet<()>,
}

impl Terminator {
    /// One whose certificate is for these names, in front of `url`.
    async fn start(names: &[&str], url: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let authority = NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), issuer.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = url.trim_start_matches("http://").to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, address) = (acceptor.clone(), address.clone());
                connections.spawn(async move {
                    // A client that does not trust us hangs up.
                    let Ok(mut client) = acceptor.accept(stream).await else { return };
                    let mut server = TcpStream::connect(address).await.unwrap();
                    copy_bidirectional(&mut client, &mut server).await.unwrap_or_default();
                });
            }
        });
        Self { authority, port, _tasks: tasks }
    }

    fn settings(&self) -> settings::ClickHouse {
        trusting(self.authority.path())
    }
}

fn trusting(ca_file: &Path) -> settings::ClickHouse {
    settings::ClickHouse {
        ca_file: Some(ca_file.to_owned()),
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(20),
        ..Default::default()
    }
}

/// The error of a server that cannot be spoken to, with its causes.
async fn trouble(settings: &settings::ClickHouse, url: &str) -> String {
    let warehouse = Warehouse::new(settings, url, None).unwrap();
    let error = warehouse.probe().await.unwrap_err();
    assert!(error.is_remote(), "it is waited for: {error}");
    telemetry::Chain(&error).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_stored_and_read_over_tls() {
    let rig = Rig::start();
    let front = Terminator::start(&["127.0.0.1", "localhost"], &rig.server.url()).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", front.port);
        let warehouse = Warehouse::new(&front.settings(), &url, None).unwrap();
        let mut table = warehouse.table(Kind::Trade, rig.dir.path()).unwrap();
        let mut cut = Cut::new(Kind::Trade);
        cut.block(1, host, b"");
        cut.push(&trade("BTC-USDT", 1)).unwrap();
        cut.push(&trade("BTC-USDT", u64::from(front.port))).unwrap();
        table.append(cut).await.unwrap();
    }
    let sql = "SELECT count() FROM marketprism.stored_trade";
    assert_eq!(rig.numbers(sql).await, [2], "the second host found them stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_is_sent_nothing_and_told_with_what_helps() {
    let rig = Rig::start();
    let front = Terminator::start(&["127.0.0.1"], &rig.server.url()).await;
    let url = format!("https://127.0.0.1:{}", front.port);
    let other = Terminator::start(&["127.0.0.1"], &rig.server.url()).await;
    let text = trouble(&other.settings(), &url).await;
    assert!(text.contains("storage.clickhouse.ca_file"), "{text}");
    assert!(text.contains("invalid peer certificate"), "{text}");
    let name = format!("https://localhost:{}", front.port);
    let text = trouble(&front.settings(), &name).await;
    assert!(text.contains("must have the name that its certificate is for"), "{text}");
}

/// ClickHouse does either, by what random bytes the handshake has: where there is white space among
/// them, it waits for the rest of a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_no_tls_is_told_whether_it_answers_or_not() {
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap_or_default();
        });
        let authority = rcgen::generate_simple_self_signed([]).unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.cert.pem()).unwrap();
        let connect_timeout = Duration::from_millis(if answer.is_empty() { 100 } else { 20_000 });
        let settings = settings::ClickHouse { connect_timeout, ..trusting(file.path()) };
        let text = trouble(&settings, &url).await;
        let found = if answer.is_empty() { "answers TLS in time" } else { "speaks no TLS" };
        assert!(text.contains(found), "{text}");
    }
}

#[test]
fn a_certificate_file_that_cannot_be_used_is_named_at_start() {
    let refused = |settings: &settings::ClickHouse| {
        let error = Warehouse::new(settings, "https://db:8443", None).unwrap_err();
        telemetry::Chain(&error).to_string()
    };
    let text = refused(&trusting(Path::new("/nonexistent/ca.pem")));
    assert!(text.contains("/nonexistent/ca.pem"), "{text}");
    assert!(text.contains("must be a PEM file"), "{text}");
    let empty = NamedTempFile::new().unwrap();
    let settings = trusting(empty.path());
    assert!(refused(&settings).contains("holds no certificate"), "{}", refused(&settings));
    Warehouse::new(&settings, "http://db:8123", None).unwrap();
    let error = Warehouse::new(&settings, "ftp://db", None).unwrap_err().to_string();
    assert!(error.contains("http:// or https://"), "{error}");
}
