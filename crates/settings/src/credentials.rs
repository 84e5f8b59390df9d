//! Secrets, handed over by systemd.

use std::fs;
use std::io;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::Error;

/// The secrets systemd put into this service's credentials directory.
///
/// A name without its prefix stands for the file `marketprism.<name>`. On some versions of systemd
/// the files belong to root and are readable through an ACL, so owner and mode are not looked at.
///
/// Source: <https://systemd.io/CREDENTIALS/>, read 2026-11-20.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    directory: Option<PathBuf>,
}

impl Credentials {
    /// Those of this process, as `$CREDENTIALS_DIRECTORY` says; none if it is not set.
    #[must_use]
    pub fn from_env() -> Self {
        Self { directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) }
    }

    /// Those of a directory.
    #[must_use]
    pub fn at(directory: PathBuf) -> Self {
        Self { directory: Some(directory) }
    }

    /// The secret of that name, without the end of its line; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Credential`] if it is there and cannot be read, is empty, or is not text.
    pub fn get(&self, name: &str) -> Result<Option<SecretString>, Error> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.join(format!("marketprism.{name}"));
        let failed = |source| Error::Credential { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => {
                let secret = text.trim_end_matches(['\r', '\n']);
                if secret.is_empty() {
                    return Err(failed(io::Error::other("it is empty")));
                }
                Ok(Some(SecretString::from(secret)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests;
