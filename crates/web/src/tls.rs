//! HTTPS from certificate files that are read again when they are replaced.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why HTTPS cannot be served with two files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of its kind.
    #[error("cannot read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file is empty of certificates.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The two do not belong together, or are of a make that is not supported.
    #[error("the private key does not fit the certificate")]
    Unfit(#[source] rustls::Error),
}

/// A certificate and its key, in force until the files hold others that can be used.
pub struct Tls(Mutex<State>);

struct State {
    config: Arc<ServerConfig>,
    /// The certificate chain and its private key.
    files: [PathBuf; 2],
    /// As they were when they were read; `None` if these were not.
    seen: Option<[Stamp; 2]>,
}

/// Identifies one state of a file; `None` if it cannot be looked at.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Every connection of this kind carries it, as an extension of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encrypted;

impl Tls {
    /// Reads the certificate chain and its private key, both PEM.
    ///
    /// # Errors
    ///
    /// [`TlsError`], naming the file.
    pub fn load(certificate: &Path, private_key: &Path) -> Result<Tls, TlsError> {
        let files = [certificate.to_owned(), private_key.to_owned()];
        let seen = Some(stamps(&files));
        let config = Arc::new(read(&files)?);
        Ok(Tls(Mutex::new(State { config, files, seen })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Replaced as a whole: a panic in between leaves nothing that could not be.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by other files from now on, if these are others, and does what [`Tls::refresh`] does.
    ///
    /// # Errors
    ///
    /// [`TlsError`], naming the file.
    pub fn follow(&self, certificate: &Path, private_key: &Path) -> Result<bool, TlsError> {
        let mut state = self.state();
        if state.files.each_ref().map(PathBuf::as_path) != [certificate, private_key] {
            state.files = [certificate.to_owned(), private_key.to_owned()];
            state.seen = None;
        }
        drop(state);
        self.refresh()
    }

    /// Reads the files again if they are others than last time; says whether they were.
    ///
    /// Connections that are open stay as they are. Files that cannot be used leave those before
    /// them in force, and are looked at again the next time: one may have been replaced before the
    /// other.
    ///
    /// # Errors
    ///
    /// [`TlsError`], naming the file.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let files = self.state().files.clone();
        let seen = Some(stamps(&files));
        if self.state().seen == seen {
            return Ok(false);
        }
        let config = Arc::new(read(&files)?);
        let mut state = self.state();
        // Unless others were named meanwhile.
        let is_read = state.files == files;
        if is_read {
            *state = State { config, files, seen };
        }
        Ok(is_read)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.state().config))
    }
}

fn stamps(files: &[PathBuf; 2]) -> [Stamp; 2] {
    files.each_ref().map(|path| stamp(path))
}

fn stamp(path: &Path) -> Stamp {
    let meta: io::Result<fs::Metadata> = fs::metadata(path);
    meta.ok().map(|meta| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

fn read([certificate, private_key]: &[PathBuf; 2]) -> Result<ServerConfig, TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(failed(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.clone() });
    }
    let key = PrivateKeyDer::from_pem_file(private_key).map_err(failed(private_key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
