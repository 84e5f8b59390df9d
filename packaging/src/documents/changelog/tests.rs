use super::*;
use std::process::Command;

const MAINTAINER: &str = "Some developers <some@example.org>";
const BUILT: i64 = 1_767_225_600;

const MARKDOWN: &str = "\
# Changelog

About it.

## Unreleased

### Added

- `one`: see [the page](docs/page.md), with a text that is long enough to be wrapped in the \
middle of it, twice.

### Fixed

- two
  goes on

## 0.2.0-rc.1 - 2026-03-01

- three

## [0.1.0] - 2026-02-01

- four
";

#[test]
fn every_version_has_its_entry() {
    let expected = "\
marketprism (0.3.0~deb12) bookworm; urgency=medium

  * Added:
    - one: see the page, with a text that is long enough to be wrapped in the
      middle of it, twice.
  * Fixed:
    - two goes on

 -- Some developers <some@example.org>  Thu, 01 Jan 2026 00:00:00 +0000

marketprism (0.2.0~rc.1~deb12) bookworm; urgency=medium

  * three

 -- Some developers <some@example.org>  Sun, 01 Mar 2026 00:00:00 +0000

marketprism (0.1.0~deb12) bookworm; urgency=medium

  * four

 -- Some developers <some@example.org>  Sun, 01 Feb 2026 00:00:00 +0000
";
    assert_eq!(changelog(MARKDOWN, "0.3.0~deb12", "bookworm", MAINTAINER, BUILT), expected);
}

#[test]
fn a_version_that_is_released_already_has_one_entry() {
    let text = changelog(MARKDOWN, "0.1.0~deb13", "trixie", MAINTAINER, BUILT);
    assert_eq!(text.matches("(0.1.0~deb13) trixie").count(), 1, "{text}");
    let empty = changelog("# Changelog\n", "0.1.0~deb13", "trixie", MAINTAINER, BUILT);
    assert!(empty.contains("\n  * Nothing that users see.\n"), "{empty}");
}

#[test]
fn dpkg_reads_it() {
    let own = include_str!("../../../../CHANGELOG.md");
    for (markdown, entries) in [(MARKDOWN, 3), (own, 1)] {
        let text = changelog(markdown, "0.3.0~deb12", "bookworm", MAINTAINER, BUILT);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let run =
            Command::new("dpkg-parsechangelog").arg("--all").arg("-l").arg(file.path()).output();
        let Ok(output) = run else {
            return eprintln!("skipped: dpkg-parsechangelog is in the package dpkg-dev");
        };
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && complaint.is_empty(), "{complaint}\n{text}");
        assert!(said.contains("Version: 0.3.0~deb12\n"), "{said}");
        assert_eq!(text.matches("\n -- ").count(), entries);
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
    }
}
