//! Whom we trust.

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The certification authorities of the host, where Debian's `ca-certificates` keeps them.
const HOST_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why the trust anchors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is missing, unreadable or not PEM.
    #[error("read the certificates in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The file holds no certificate, or one that is none.
    #[error("no usable certificate in {}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, if the file held anything.
        #[source]
        source: Option<rustls::Error>,
    },
    /// The cryptography provider does not support the protocol versions we ask for.
    #[error("set up TLS")]
    Setup(#[source] rustls::Error),
}

/// The trust anchors of a connection: the host's, or those of one file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificates in `ca_file` and no others, or the host's if it is `None`.
    ///
    /// A host without `ca-certificates` trusts nobody: plain connections work, a TLS handshake
    /// fails and says so.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a given file cannot be read or holds no certificate.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let roots = match ca_file {
            Some(path) => read(path)?,
            None => read(Path::new(HOST_ROOTS)).unwrap_or_else(|error| {
                tracing::warn!(
                    error = %error,
                    "no certification authority is trusted, install the package ca-certificates"
                );
                RootCertStore::empty()
            }),
        };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// The configuration of the client, for other clients of rustls.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// Whether a connection failed because nobody that is trusted has issued the other end's
/// certificate, or only somebody of the same name: whoever asked can name the authority then.
#[must_use]
pub fn is_issuer_unknown(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) = error.downcast_ref::<rustls::Error>()
        {
            return true;
        }
        // What an I/O error wraps is not its source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => {
                let inner: &(dyn Error + 'static) = inner;
                Some(inner)
            }
            None => error.source(),
        };
    }
    false
}

fn read(path: &Path) -> Result<RootCertStore, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    let mut refused = None;
    for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
        if let Err(error) = roots.add(certificate.map_err(failed)?) {
            refused = Some(error);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Unusable { path: path.to_owned(), source: refused });
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_issuer_is_found_however_deep_it_lies() {
        let refused = rustls::Error::InvalidCertificate;
        let unknown = refused(CertificateError::UnknownIssuer);
        assert!(is_issuer_unknown(&unknown));
        assert!(is_issuer_unknown(&refused(CertificateError::BadSignature)));
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, unknown);
        assert!(is_issuer_unknown(&io::Error::other(wrapped)));
        assert!(!is_issuer_unknown(&io::Error::other(refused(CertificateError::Expired))));
        assert!(!is_issuer_unknown(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
