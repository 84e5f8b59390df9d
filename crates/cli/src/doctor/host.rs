//! What of the host the services rely on: its credentials and its clock.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use zbus::{Connection, OwnedVariant};

use crate::check::Trouble;
use crate::status::SERVICES;

/// How long the system bus may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What makes credentials that are missing.
const REMAKE: &str = "sudo dpkg-reconfigure marketprism-common makes it anew, or copy that of \
                      another host of the suite; then sudo marketprism restart";

/// Looks at the credentials of the services whose units are installed below `root`. Only root sees
/// them, and without a unit nobody wants any.
pub(super) fn credentials(root: &Path) -> Vec<Trouble> {
    let is_installed = |service: &&str| {
        root.join(format!("usr/lib/systemd/system/marketprism-{service}.service")).exists()
    };
    let installed: Vec<&str> = SERVICES.into_iter().filter(is_installed).collect();
    if installed.is_empty() {
        return Vec::new();
    }
    let own = installed.iter().map(|service| format!("nats-{service}"));
    ["internal-token".to_owned()]
        .into_iter()
        .chain(own)
        .filter_map(|name| credential(root, &name))
        .collect()
}

fn credential(root: &Path, name: &str) -> Option<Trouble> {
    let file = root.join(format!("etc/credstore/marketprism.{name}"));
    let shown = file.display();
    let trouble = |text, fix: String| Some(Trouble { check: "credentials", text, fix: Some(fix) });
    match fs::metadata(&file) {
        Ok(found) if found.len() == 0 => trouble(format!("{shown} is empty"), REMAKE.to_owned()),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let mode = found.permissions().mode() & 0o777;
            let text = format!("{shown} may be read by others than root: its mode is {mode:04o}");
            trouble(text, format!("sudo chmod 0600 {shown}, and a new one if somebody did"))
        }
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let encrypted = root.join(format!("etc/credstore.encrypted/marketprism.{name}"));
            if encrypted.exists() {
                return None;
            }
            trouble(format!("{shown} is missing"), REMAKE.to_owned())
        }
        // Others than root are not told whether it is there.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => {
            trouble(format!("{shown} cannot be looked at: {error}"), "look at the disk".to_owned())
        }
    }
}

/// Whether systemd says that the host's clock follows another; `None` without systemd.
///
/// Source: org.freedesktop.timedate1(5), `NTPSynchronized`.
pub(super) async fn synchronised() -> Option<bool> {
    tokio::time::timeout(TIMEOUT, ask()).await.ok()?
}

async fn ask() -> Option<bool> {
    let connection = Connection::system().await.ok()?;
    let reply = connection
        .call_method(
            Some("org.freedesktop.timedate1"),
            "/org/freedesktop/timedate1",
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &("org.freedesktop.timedate1", "NTPSynchronized"),
        )
        .await
        .ok()?;
    let value = reply.body().deserialize::<OwnedVariant>().ok()?;
    bool::try_from(&value).ok()
}

/// Times of receipt are the host's.
pub(super) fn clock(synchronised: Option<bool>) -> Option<Trouble> {
    (synchronised == Some(false)).then(|| Trouble {
        check: "clock",
        text: "the clock follows no time server, so that times of receipt and lags are wrong"
            .to_owned(),
        fix: Some(
            "sudo timedatectl set-ntp true, with systemd-timesyncd or chrony installed; \
             timedatectl timesync-status shows the server"
                .to_owned(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(services: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in ["usr/lib/systemd/system", "etc/credstore", "etc/credstore.encrypted"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for service in services {
            let unit = format!("usr/lib/systemd/system/marketprism-{service}.service");
            fs::write(root.path().join(unit), "").unwrap();
        }
        root
    }

    fn write(root: &Path, name: &str, text: &str, mode: u32) {
        let file = root.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn credentials_that_are_missing_empty_or_open_are_found_with_a_remedy() {
        let root = host(&["collector", "scheduler", "storage"]);
        write(root.path(), "etc/credstore/marketprism.internal-token", "t", 0o644);
        write(root.path(), "etc/credstore/marketprism.nats-collector", "", 0o600);
        write(root.path(), "etc/credstore.encrypted/marketprism.nats-storage", "x", 0o600);
        let troubles = credentials(root.path());
        let told: Vec<&str> = troubles.iter().map(|trouble| trouble.text.as_str()).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        for (told, file, what) in [
            (told[0], "marketprism.internal-token", "read by others than root: its mode is 0644"),
            (told[1], "marketprism.nats-collector", "is empty"),
            (told[2], "marketprism.nats-scheduler", "is missing"),
        ] {
            assert!(told.contains(file) && told.ends_with(what), "{told}");
        }
        assert!(troubles.iter().all(|trouble| trouble.fix.is_some()), "{troubles:?}");
        assert!(troubles[0].fix.as_deref().unwrap().starts_with("sudo chmod 0600 "));
    }

    #[test]
    fn credentials_that_only_root_can_read_are_well_and_without_units_none_are_wanted() {
        let root = host(&["storage"]);
        write(root.path(), "etc/credstore/marketprism.internal-token", "t", 0o600);
        write(root.path(), "etc/credstore/marketprism.nats-storage", "t", 0o400);
        assert!(credentials(root.path()).is_empty());
        assert!(credentials(host(&[]).path()).is_empty());
    }

    #[test]
    fn a_clock_that_follows_nobody_is_told_and_one_that_is_not_known_is_not() {
        assert!(clock(Some(true)).is_none() && clock(None).is_none());
        let trouble = clock(Some(false)).unwrap();
        assert!(trouble.fix.unwrap().contains("timedatectl set-ntp true"));
    }
}
