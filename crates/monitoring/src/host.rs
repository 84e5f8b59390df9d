//! Looks at this host: disks and certificates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// What was found at one look.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Each watched directory with its disk, or why that is not known.
    pub disks: Vec<(PathBuf, Result<Disk, String>)>,
    /// Each watched certificate with when it expires, seconds since the epoch, or why that is not
    /// known.
    pub certificates: Vec<(PathBuf, Result<i64, String>)>,
}

impl Host {
    /// Nothing is known of anything, for this reason.
    #[must_use]
    pub fn unknown(disks: &[PathBuf], certificates: &[PathBuf], reason: &str) -> Self {
        let why = || reason.to_owned();
        Self {
            disks: disks.iter().map(|path| (path.clone(), Err(why()))).collect(),
            certificates: certificates.iter().map(|path| (path.clone(), Err(why()))).collect(),
        }
    }

    /// What could not be looked at, and why.
    #[must_use]
    pub fn unreadable(&self) -> Vec<String> {
        let disks = self.disks.iter().map(|(path, found)| ("disk", path, found.as_ref().err()));
        let certificates = self
            .certificates
            .iter()
            .map(|(path, found)| ("certificate", path, found.as_ref().err()));
        disks
            .chain(certificates)
            .filter_map(|(kind, path, error)| {
                Some(format!("{kind} {}: {}", path.display(), error?))
            })
            .collect()
    }
}

/// The disk of a directory, as `df` counts: what is kept back for root is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes in use.
    pub used: u64,
    /// Bytes left for us.
    pub free: u64,
}

impl Disk {
    /// The part that is in use, from 0 to 1.
    #[must_use]
    pub fn used_ratio(self) -> f64 {
        let whole = self.used.saturating_add(self.free);
        if whole == 0 { 0.0 } else { self.used as f64 / whole as f64 }
    }
}

/// Looks at everything; blocks, for as long as a disk does not answer.
#[must_use]
pub fn look(disks: &[PathBuf], certificates: &[PathBuf]) -> Host {
    Host {
        disks: disks.iter().map(|path| (path.clone(), disk(path))).collect(),
        certificates: certificates.iter().map(|path| (path.clone(), expiry(path))).collect(),
    }
}

fn disk(path: &Path) -> Result<Disk, String> {
    let found = nix::sys::statvfs::statvfs(path).map_err(|error| error.desc().to_owned())?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    let used = found.blocks().saturating_sub(found.blocks_free());
    Ok(Disk { used: bytes(used), free: bytes(found.blocks_available()) })
}

/// When the first certificate of a chain expires.
fn expiry(path: &Path) -> Result<i64, String> {
    let text = fs::read(path).map_err(|error: io::Error| error.to_string())?;
    let mut earliest = None;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        let end = parsed.validity().not_after.timestamp();
        earliest = Some(earliest.map_or(end, |known: i64| known.min(end)));
    }
    earliest.ok_or_else(|| "there is no certificate in it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_measured_as_df_does() {
        let directory = tempfile::tempdir().unwrap();
        let host = look(&[directory.path().to_owned(), "/not/there".into()], &[]);
        let disk = host.disks[0].1.clone().unwrap();
        assert!(disk.used + disk.free > 0 && (0.0..=1.0).contains(&disk.used_ratio()));
        assert_eq!(host.disks[1].1, Err("No such file or directory".to_owned()));
        assert_eq!(host.unreadable(), ["disk /not/there: No such file or directory"]);
        assert!((Disk { used: 3, free: 1 }.used_ratio() - 0.75).abs() < f64::EPSILON);
    }

    #[test]
    fn a_chain_expires_with_its_first_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = |year: i32| {
            let mut parameters =
                rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        let (chain, empty) = (directory.path().join("chain"), directory.path().join("empty"));
        fs::write(&chain, certificate(2040) + &certificate(2030)).unwrap();
        fs::write(&empty, "nothing").unwrap();
        let host = look(&[], &[chain, empty]);
        assert_eq!(host.certificates[0].1, Ok(1_893_456_000));
        assert_eq!(host.certificates[1].1, Err("there is no certificate in it".to_owned()));
    }

    #[test]
    fn while_a_disk_does_not_answer_nothing_is_known_and_that_is_said_of_each() {
        let host = Host::unknown(&["/data".into()], &["/crt".into()], "it is slow");
        assert_eq!(host.unreadable(), ["disk /data: it is slow", "certificate /crt: it is slow"]);
    }
}
