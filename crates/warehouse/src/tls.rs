//! TLS towards the server: whom we trust.

use crate::Error;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::time::error::Elapsed;

/// The certification authorities of the host, where Debian's `ca-certificates` keeps them.
const HOST_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A client's side that trusts the certificates in `ca_file` and no others, or the host's.
pub(crate) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let remedy = if ca_file.is_some() {
        "storage.clickhouse.ca_file must be a PEM file with the server's authority"
    } else {
        "install the package ca-certificates, or set storage.clickhouse.ca_file"
    };
    let path = ca_file.unwrap_or(Path::new(HOST_ROOTS));
    let refused = |source: Box<dyn StdError + Send + Sync>| Error::Certificates {
        path: path.to_owned(),
        remedy,
        source,
    };
    let mut roots = RootCertStore::empty();
    let mut last = None;
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| refused(error.into()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(error.into()))?;
        if let Err(error) = roots.add(certificate) {
            last = Some(error);
        }
    }
    if roots.is_empty() {
        let none = || io::Error::other("it holds no certificate").into();
        return Err(refused(last.map_or_else(none, Into::into)));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// What helps against an error, if it is one of TLS.
pub(crate) fn remedy(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = of_tls(error) {
            return Some(found);
        }
        // An `io::Error` does not name what it was made of among its sources.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn of_tls(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    use rustls::CertificateError as Certificate;
    if error.is::<Elapsed>() {
        return Some(
            "nothing there answers TLS in time: HTTPS has a port of its own, by default 8443",
        );
    }
    let error = error.downcast_ref::<rustls::Error>()?;
    if matches!(error, rustls::Error::InvalidMessage(_)) {
        return Some("that port speaks no TLS: HTTPS has a port of its own, by default 8443");
    }
    let rustls::Error::InvalidCertificate(certificate) = error else { return None };
    let is_name = matches!(
        certificate,
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }
    );
    let is_age = matches!(certificate, Certificate::Expired | Certificate::ExpiredContext { .. });
    Some(if is_name {
        "storage.clickhouse.url must have the name that its certificate is for"
    } else if is_age {
        "its certificate has expired: renew it"
    } else {
        "name its authority, a PEM file, in storage.clickhouse.ca_file"
    })
}
