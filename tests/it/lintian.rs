//! The packages as Debian's own checker sees them, and as bytes.

use std::process::Command;

use testkit::machine::Release;

use crate::fixture::{VERSION, built, programs};

/// Needs lintian, which `cargo xtask test` installs.
#[test]
fn lintian_has_nothing_to_say() {
    for release in Release::ALL {
        let folder = built(release, VERSION);
        let mut lintian = Command::new("sh");
        let script = "exec lintian --allow-root -EI --pedantic --tag-display-limit 0 \"$1\"/*.deb";
        lintian.args(["-c", script, "sh"]).arg(&folder).env("LC_ALL", "C.UTF-8");
        let output = lintian.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        // Which strings of a program look like misspelt words changes with every build.
        let moot = "unused-override spelling-error-in-binary";
        let tags =
            |line: &&str| !line.starts_with("N:") && !line.is_empty() && !line.contains(moot);
        let tags: Vec<&str> = said.lines().filter(tags).collect();
        assert!(output.status.success() && tags.is_empty(), "{said}{complaint}");
    }
}

/// The same programs give the same packages, wherever and whenever they are written.
#[test]
fn packages_are_the_same_byte_for_byte() {
    let once = built(Release::Bookworm, VERSION);
    let folder = std::env::temp_dir().join(format!("packages-{}", std::process::id()));
    let deb = Command::new(programs().join("marketprism-packaging"))
        .args(["deb", "--effort", "fast", "--built", testkit::packages::BUILT])
        .args(["--release", "bookworm", "--programs"])
        .arg(programs())
        .arg("--out")
        .arg(&folder)
        .output()
        .unwrap();
    assert!(deb.status.success(), "{}", String::from_utf8_lossy(&deb.stderr));
    let mut compared = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let other = once.join(path.file_name().unwrap());
        let (ours, theirs) = (std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap());
        assert!(ours == theirs, "{} differs from {}", path.display(), other.display());
        testkit::progress(format_args!("{} bytes: {}", ours.len(), path.display()));
        compared += 1;
    }
    assert_eq!(compared, testkit::packages::SUITE.len());
    std::fs::remove_dir_all(&folder).unwrap();
}
