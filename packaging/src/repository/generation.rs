//! What the last publication leaves to the next one.
//!
//! A client that has the last `InRelease` still fetches its indexes, by their checksums, and the
//! packages that they name. They stay for one more publication, and then go.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::put;

/// Copies the indexes and packages of the repository at `old` that `new` does not have.
pub(super) fn keep_last(old: &Path, new: &Path, codename: &str) -> anyhow::Result<()> {
    let dist = Path::new("dists").join(codename);
    let Ok(release) = fs::read_to_string(old.join(&dist).join("Release")) else { return Ok(()) };
    for (sum, name) in sums(&release) {
        let Some((folder, file)) = name.rsplit_once('/') else { continue };
        let index = dist.join(folder);
        carry(old, new, &index.join("by-hash/SHA256").join(sum))?;
        if file == "Packages" {
            let text = fs::read_to_string(old.join(&index).join(file)).unwrap_or_default();
            for path in text.lines().filter_map(|line| line.strip_prefix("Filename: ")) {
                carry(old, new, Path::new(path))?;
            }
        }
    }
    Ok(())
}

/// The checksums and names under `SHA256:`, by lines of checksum, size and name.
fn sums(release: &str) -> impl Iterator<Item = (&str, &str)> {
    let listed = release.lines().skip_while(|line| *line != "SHA256:").skip(1);
    listed.take_while(|line| line.starts_with(' ')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.nth(1)?))
    })
}

fn carry(old: &Path, new: &Path, path: &Path) -> anyhow::Result<()> {
    let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain || new.join(path).exists() {
        return Ok(());
    }
    // What is not there any more cannot be asked for.
    let Ok(bytes) = fs::read(old.join(path)) else { return Ok(()) };
    put(&new.join(path), &bytes).with_context(|| format!("keep {}", path.display()))
}
