//! Ring 3: servers on loopback that the clients of this crate are tried against.

use crate::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use units::UnixNanos;

/// A name that no resolver knows (RFC 6761 §6.2): who connects to it has left it to a proxy.
pub(crate) const NOWHERE: &str = "venue.test";

/// A clock that stands still.
pub(crate) fn noon() -> UnixNanos {
    UnixNanos::new(1_700_000_000_000_000_000)
}

pub(crate) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A certification authority of this test, and a server that it vouches for.
pub(crate) struct Authority {
    pub(crate) file: NamedTempFile,
    pub(crate) acceptor: TlsAcceptor,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1", NOWHERE].map(str::to_owned).to_vec();
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
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { file, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// A client's side that trusts this authority and no other.
    pub(crate) fn trusted(&self) -> Tls {
        Tls::new(Some(self.file.path())).unwrap()
    }
}
