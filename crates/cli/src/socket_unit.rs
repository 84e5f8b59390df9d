//! What a systemd socket unit listens on, read from the unit's files.
//!
//! The gateway is handed its socket, so an address in the configuration that differs from the
//! unit's would be believed by everyone but the gateway.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use settings::{Invalid, Suite};

/// Where systemd looks for units, the winner first (systemd.unit(5), "Unit File Load Path").
const DIRECTORIES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// Returns every `ListenStream=` of a unit, drop-ins applied; `None` if it is not installed.
///
/// # Errors
///
/// If a file of the unit exists and cannot be read.
pub(crate) fn addresses(root: &Path, unit: &str) -> anyhow::Result<Option<Vec<String>>> {
    let mut main = None;
    let mut drop_ins: Vec<(String, String)> = Vec::new();
    for directory in DIRECTORIES.map(|directory| root.join(directory)) {
        if main.is_none() {
            main = read(&directory.join(unit))?;
        }
        for (name, text) in read_drop_ins(&directory.join(format!("{unit}.d")))? {
            // A drop-in hides those of the same name in directories that come later.
            if drop_ins.iter().all(|(known, _)| *known != name) {
                drop_ins.push((name, text));
            }
        }
    }
    let Some(main) = main else { return Ok(None) };
    drop_ins.sort();
    let mut addresses = Vec::new();
    for text in std::iter::once(&main).chain(drop_ins.iter().map(|(_, text)| text)) {
        for line in text.lines() {
            match line.trim().strip_prefix("ListenStream=").map(str::trim) {
                Some("") => addresses.clear(),
                Some(address) => addresses.push(address.to_owned()),
                None => {}
            }
        }
    }
    Ok(Some(addresses))
}

/// Says what is wrong if the gateway's socket unit listens elsewhere than the configuration says.
pub(crate) fn contradiction(suite: &Suite, listening: Option<&[String]>) -> Option<Invalid> {
    let listening = listening?;
    let wanted = suite.gateway.listen;
    if listening.iter().any(|address| is_same(address, wanted)) {
        return None;
    }
    let message = format!(
        "is {wanted}, but marketprism-gateway.socket listens on {}: change that one as well \
         (systemctl edit marketprism-gateway.socket)",
        if listening.is_empty() { "nothing".to_owned() } else { listening.join(" and ") }
    );
    Some(Invalid::new("gateway.listen", message))
}

/// A bare port listens on every address (systemd.socket(5), `ListenStream=`).
fn is_same(address: &str, wanted: SocketAddr) -> bool {
    match address.parse::<u16>() {
        Ok(port) => wanted.ip().is_unspecified() && wanted.port() == port,
        Err(_) => address.parse() == Ok(wanted),
    }
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read_drop_ins(directory: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", directory.display()));
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".conf") {
            continue;
        }
        if let Some(text) = read(&entry.path())? {
            files.push((name, text));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "x.socket";

    fn written(files: &[(&str, &str)]) -> Option<Vec<String>> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        addresses(root.path(), UNIT).unwrap()
    }

    #[test]
    fn a_drop_in_replaces_the_address() {
        let main = ("usr/lib/systemd/system/x.socket", "[Socket]\nListenStream=127.0.0.1:8080\n");
        assert_eq!(written(&[]), None);
        assert_eq!(written(&[main]).unwrap(), ["127.0.0.1:8080"]);
        let drop_in = (
            "etc/systemd/system/x.socket.d/override.conf",
            "[Socket]\nListenStream=\nListenStream=127.0.0.1:9000\n",
        );
        assert_eq!(written(&[main, drop_in]).unwrap(), ["127.0.0.1:9000"]);
        let masked = ("etc/systemd/system/x.socket", "[Socket]\nListenStream=8080\n");
        assert_eq!(written(&[main, masked]).unwrap(), ["8080"]);
    }

    #[test]
    fn another_address_in_the_file_is_refused() {
        let mut suite = Suite::default();
        let unit = |text: &str| Some(vec![text.to_owned()]);
        assert_eq!(contradiction(&suite, None), None);
        assert_eq!(contradiction(&suite, unit("127.0.0.1:8080").as_deref()), None);
        let fault = contradiction(&suite, unit("8080").as_deref()).unwrap();
        assert_eq!(fault.key, "gateway.listen");
        suite.gateway.listen = "[::]:8080".parse().unwrap();
        assert_eq!(contradiction(&suite, unit("8080").as_deref()), None);
    }
}
