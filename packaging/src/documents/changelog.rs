//! The changelog in Debian's form, from CHANGELOG.md.
//!
//! Source: deb-changelog(5).

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::Date;

/// Widest line.
const COLUMNS: usize = 79;

/// Writes CHANGELOG.md as a Debian changelog: one entry per released version, and on top of them
/// what is unreleased, as the version being built.
///
/// `built` is the date of the version being built, in seconds since the Unix epoch; released ones
/// bear the date of their heading.
#[must_use]
pub fn changelog(
    markdown: &str,
    package_version: &str,
    release: &str,
    maintainer: &str,
    built: i64,
) -> String {
    let built = Timestamp::from_second(built).unwrap_or(Timestamp::UNIX_EPOCH);
    let (base, suffix) = split(package_version);
    let chapters = chapters(markdown);
    let is_current = |chapter: &Chapter<'_>| {
        chapter.version.is_none_or(|version| version.replace('-', "~") == base)
    };
    let (current, older): (Vec<_>, Vec<_>) = chapters.into_iter().partition(is_current);

    let mut changes = String::new();
    for chapter in &current {
        changes.push_str(&items(chapter.body));
    }
    if changes.is_empty() {
        changes.push_str("  * Nothing that users see.\n");
    }
    let mut out = entry(package_version, release, &changes, maintainer, built);
    for chapter in older {
        let version = chapter.version.unwrap_or_default().replace('-', "~");
        let date = chapter.date.and_then(|date| date.in_tz("UTC").ok());
        let date = date.map_or(built, |date| date.timestamp());
        let version = format!("{version}{suffix}");
        out.push('\n');
        out.push_str(&entry(&version, release, &items(chapter.body), maintainer, date));
    }
    out
}

/// The version of the suite and what the release of Debian adds to it: `0.1.0` and `~deb12`.
fn split(package_version: &str) -> (&str, &str) {
    let at = package_version.rfind("~deb").unwrap_or(package_version.len());
    package_version.split_at(at)
}

/// What CHANGELOG.md says about one version.
struct Chapter<'a> {
    /// None for what is unreleased.
    version: Option<&'a str>,
    date: Option<Date>,
    body: &'a str,
}

/// Reads `## Unreleased`, `## 0.2.0 - 2027-01-31` and `## [0.2.0] - 2027-01-31`.
fn chapters(markdown: &str) -> Vec<Chapter<'_>> {
    let mut found = Vec::new();
    for chapter in format_breaks(markdown) {
        let (heading, body) = chapter.split_once('\n').unwrap_or((chapter, ""));
        let heading = heading.trim();
        let is_unreleased = heading.trim_matches(['[', ']']).eq_ignore_ascii_case("unreleased");
        let mut words = heading.split([' ', '(', ')']).filter(|word| !word.is_empty());
        let version = words.next().map(|word| word.trim_matches(['[', ']', ',']));
        let date = words.find_map(|word| word.parse().ok());
        found.push(Chapter { version: version.filter(|_| !is_unreleased), date, body });
    }
    found
}

/// The text after each `## ` at the beginning of a line.
fn format_breaks(markdown: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = markdown.split("\n## ").collect();
    // What precedes the first heading is about the file.
    match parts.first().and_then(|first| first.strip_prefix("## ")) {
        Some(first) => parts[0] = first,
        None => drop(parts.remove(0)),
    }
    parts
}

/// The points of a chapter: under each `### Heading`, or by themselves.
fn items(body: &str) -> String {
    let mut out = String::new();
    let mut heading = None;
    let mut points: Vec<String> = Vec::new();
    let finish = |out: &mut String, heading: Option<&str>, points: &mut Vec<String>| {
        if points.is_empty() {
            return;
        }
        let bullet = match heading {
            Some(heading) => {
                wrapped(out, "  * ", &format!("{heading}:"));
                "    - "
            }
            None => "  * ",
        };
        for point in points.drain(..) {
            wrapped(out, bullet, &point);
        }
    };
    for line in body.lines() {
        if let Some(next) = line.strip_prefix("### ") {
            finish(&mut out, heading, &mut points);
            heading = Some(next.trim());
        } else if let Some(point) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
            points.push(plain(point));
        } else if let (Some(last), true) = (points.last_mut(), line.starts_with("  ")) {
            last.push(' ');
            last.push_str(&plain(line.trim()));
        } else if !line.trim().is_empty() {
            points.push(plain(line.trim()));
        }
    }
    finish(&mut out, heading, &mut points);
    out
}

/// The text without its marks; of a link only its words.
fn plain(markdown: &str) -> String {
    let mut out = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let words = link
            .split_once("](")
            .and_then(|(words, target)| Some((words, target.split_once(')')?.1)));
        let Some((words, after)) = words else { break };
        out.push_str(before);
        out.push_str(words);
        rest = after;
    }
    out.push_str(rest);
    out.replace(['`', '*'], "")
}

/// Adds a point, wrapped at words, its further lines below the first's text.
fn wrapped(out: &mut String, bullet: &str, text: &str) {
    let indent = " ".repeat(bullet.len());
    let mut line = bullet.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            push(out, &line);
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    push(out, &line);
}

fn entry(version: &str, release: &str, changes: &str, maintainer: &str, date: Timestamp) -> String {
    let date = date.strftime("%a, %d %b %Y %H:%M:%S +0000");
    format!(
        "marketprism ({version}) {release}; urgency=medium\n\n{changes}\n -- {maintainer}  {date}\n"
    )
}

fn push(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests;
