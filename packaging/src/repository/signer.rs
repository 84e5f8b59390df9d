//! Signing, by gpg in a folder of its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// Whose key is made on the spot.
const OWNER: &str = "MarketPrism package repository";

/// A key to sign with. The agent that gpg started for it ends with the value.
#[derive(Debug)]
pub struct Signer {
    home: PathBuf,
    fingerprint: String,
}

impl Signer {
    /// Takes a key in a folder of gpg's, by its id or the first; makes one if there is none.
    ///
    /// # Errors
    ///
    /// gpg is missing (the error has the apt line) or fails, or has no such key.
    pub fn in_home(home: &Path, key: Option<&str>) -> anyhow::Result<Signer> {
        fs::create_dir_all(home).with_context(|| format!("create {}", home.display()))?;
        fs::set_permissions(home, fs::Permissions::from_mode(0o700))?;
        let home = fs::canonicalize(home)?;
        let mut signer = Signer { home, fingerprint: String::new() };
        if let Some(found) = signer.secret_key(key)? {
            signer.fingerprint = found;
            return Ok(signer);
        }
        ensure!(key.is_none(), "{} has no secret key {}", signer.home.display(), key.unwrap_or(""));
        // Ed25519 with modern digests: apt refuses keys that were signed with SHA-1.
        signer.gpg(
            &["--passphrase", "", "--quick-generate-key", OWNER, "ed25519", "sign", "never"],
            b"",
        )?;
        signer.fingerprint = signer.secret_key(None)?.context("gpg made no key")?;
        Ok(signer)
    }

    /// The public key, as text.
    ///
    /// # Errors
    ///
    /// gpg fails.
    pub fn public_key(&self) -> anyhow::Result<String> {
        let key = self.gpg(&["--armor", "--export", &self.fingerprint], b"")?;
        String::from_utf8(key).context("gpg exported a key that is not text")
    }

    /// A text with its signature around it.
    ///
    /// # Errors
    ///
    /// gpg fails.
    pub(super) fn clear_sign(&self, text: &str) -> anyhow::Result<Vec<u8>> {
        self.gpg(&["--local-user", &self.fingerprint, "--clear-sign"], text.as_bytes())
    }

    /// The signature of a text.
    ///
    /// # Errors
    ///
    /// gpg fails.
    pub(super) fn detached(&self, text: &str) -> anyhow::Result<Vec<u8>> {
        let sign = ["--local-user", &self.fingerprint, "--armor", "--detach-sign"];
        self.gpg(&sign, text.as_bytes())
    }

    /// The fingerprint of a secret key, by its id or the first.
    fn secret_key(&self, key: Option<&str>) -> anyhow::Result<Option<String>> {
        let listed = self.gpg(&["--with-colons", "--list-secret-keys"], b"")?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let prints = listed.lines().filter_map(|line| line.strip_prefix("fpr:"));
        let mut prints = prints.filter_map(|line| line.split(':').rfind(|field| !field.is_empty()));
        let wanted = |print: &&str| key.is_none_or(|key| print.ends_with(key));
        Ok(prints.find(wanted).map(str::to_owned))
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--batch", "--quiet", "--no-tty", "--digest-algo", "SHA512"])
            .args(["--pinentry-mode", "loopback"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run gpg: apt-get install gpg gpg-agent")?;
        let mut pipe = child.stdin.take().context("a pipe was asked for")?;
        pipe.write_all(input).context("write to gpg")?;
        drop(pipe);
        let output = child.wait_with_output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "gpg {}: {complaint}", arguments.join(" "));
        Ok(output.stdout)
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let kill = ["--kill", "all"];
        let ended = Command::new("gpgconf").arg("--homedir").arg(&self.home).args(kill).status();
        // An agent that cannot be told ends by itself when its folder is gone.
        ended.map(drop).unwrap_or_default();
    }
}
