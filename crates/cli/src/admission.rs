//! The gateway's files that say who may come in: keys and users.

use std::path::Path;

/// Refuses a file whose directory is not there: it is the gateway's to make.
///
/// # Errors
///
/// What has to be done first.
pub(crate) fn check(file: &Path) -> anyhow::Result<()> {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.exists()) {
        anyhow::bail!(
            "there is no directory {}: it appears when the gateway first starts \
             (systemctl start marketprism-gateway), or name another file with --file",
            directory.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_said_to_be_the_gateways() {
        let directory = tempfile::tempdir().unwrap();
        check(&directory.path().join("keys.json")).unwrap();
        check(Path::new("keys.json")).unwrap();
        let missing = directory.path().join("gateway/keys.json");
        let error = check(&missing).unwrap_err().to_string();
        assert!(error.contains("systemctl start marketprism-gateway"), "{error}");
    }
}
