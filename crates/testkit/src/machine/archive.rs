//! Where Debian's archive is, taken from the host's own apt.

use std::fs;
use std::process::Command;

use anyhow::Context as _;

use super::Release;

/// The settings of apt that decide how the archive is reached, not what is installed from it.
const SETTINGS: [&str; 5] = [
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::http::Proxy-Auto-Detect",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
];

/// The host's sources of Debian's archive, as one-line sources of `release`.
///
/// Empty where the host is not Debian or has never fetched an index: mmdebstrap then knows the archive.
pub(super) fn sources(release: Release) -> anyhow::Result<Vec<String>> {
    let os = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let codename = os.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(codename) = codename else { return Ok(Vec::new()) };
    let format = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
    let targets = apt("apt-get", &["indextargets", "--format", format, "Created-By: Packages"])?;
    let mut sources: Vec<String> =
        targets.lines().filter_map(|line| source(line, codename, release.codename())).collect();
    sources.sort();
    sources.dedup();
    Ok(sources)
}

/// One line of `apt-get indextargets` as a source of another release of Debian.
fn source(target: &str, from: &str, to: &str) -> Option<String> {
    let [origin, uri, suite, component] = *target.split('|').collect::<Vec<_>>() else {
        return None;
    };
    let rest = suite.strip_prefix(from)?;
    let stable = ["", "-updates", "-security"].contains(&rest);
    (origin == "Debian" && stable && component == "main")
        .then(|| format!("deb {uri} {to}{rest} {component}"))
}

/// The host's settings for reaching the archive, in the syntax of apt.conf.
pub(super) fn settings() -> anyhow::Result<Vec<String>> {
    let dump = apt("apt-config", &[&["dump"], &SETTINGS[..]].concat())?;
    let set = |line: &&str| line.ends_with("\";") && !line.ends_with(" \"\";");
    Ok(dump.lines().filter(set).map(str::to_owned).collect())
}

fn apt(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run {program}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn a_source_of_the_host_becomes_one_of_the_wanted_release() {
        let debian = "Debian|http://mirror.example/debian/|bookworm-updates|main";
        let made = source(debian, "bookworm", "trixie");
        assert_eq!(made.as_deref(), Some("deb http://mirror.example/debian/ trixie-updates main"));
    }

    #[test]
    fn sources_that_are_not_debians_are_left_out() {
        for target in [
            "Docker|https://docker.example/|bookworm|stable",
            "Debian|http://mirror.example/debian/|bookworm-backports|main",
            "Debian|http://mirror.example/debian/|sid|main",
            "Debian|http://mirror.example/debian/|bookworm|non-free",
        ] {
            assert_eq!(source(target, "bookworm", "trixie"), None, "{target}");
        }
    }
}
