//! Sizes of files and functions, and calls that a layer must not make.

use super::layers::{Crate, Layer};
use crate::run::root;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 500;

/// What the sources of values and rules must not contain, outside tests.
const IMPURE: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "tokio::",
];

/// What no source contains: paths of one machine, and forgotten work. Split, so that this list does
/// not find itself.
const NOWHERE: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Sources that no crate of the workspace has.
const BESIDE: &str = "fuzz/src";

/// One source file.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    lines: usize,
    is_test: bool,
    /// The longest function: its name and its lines.
    longest: (String, usize),
    text: String,
}

/// The sources by crate.
pub(crate) type Sizes = BTreeMap<String, Vec<Source>>;

/// Reads every source file.
pub(crate) fn measure(crates: &[Crate]) -> anyhow::Result<Sizes> {
    let mut sizes = Sizes::new();
    for member in crates {
        sizes.insert(member.name.clone(), read(&member.folder)?);
    }
    Ok(sizes)
}

/// The sources in a folder, by their paths.
fn read(folder: &Path) -> anyhow::Result<Vec<Source>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    files.iter().map(|path| source(path)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn source(path: &Path) -> anyhow::Result<Source> {
    let text = fs::read_to_string(path)?;
    let relative = path.strip_prefix(root()).unwrap_or(path).to_owned();
    let named = |part: &str| relative.iter().any(|component| component == part);
    Ok(Source {
        lines: text.lines().count(),
        is_test: named("tests.rs") || named("tests") || named("it") || named("benches"),
        longest: longest_function(&text),
        path: relative,
        text,
    })
}

/// The longest function by the indentation that rustfmt gives its first and last line.
fn longest_function(text: &str) -> (String, usize) {
    let lines: Vec<&str> = text.lines().collect();
    let mut longest = (String::new(), 0);
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| **line == end).map_or(1, |at| at + 1);
        // A signature may take several lines, and a trait's ends without a body.
        let signature = lines[start..].iter().find(|line| line.ends_with(['{', '}', ';']));
        let has_body = signature.is_some_and(|line| line.ends_with('{'));
        if has_body && length > longest.1 {
            longest = (name.to_owned(), length);
        }
    }
    longest
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualifiers =
        ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    let only_qualifiers = before.split_whitespace().all(|word| qualifiers.contains(&word));
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (only_qualifiers && end > 0).then(|| &after[..end])
}

/// What is too long, and what must not be there.
pub(crate) fn check(crates: &[Crate], sizes: &Sizes) -> anyhow::Result<Vec<String>> {
    let mut problems = unnamed(crates)?;
    for source in read(&root().join(BESIDE))? {
        problems.extend(faults(&source));
    }
    for member in crates {
        for source in &sizes[&member.name] {
            problems.extend(faults(source));
            if member.layer <= Layer::Rules && !source.is_test {
                problems.extend(impure_calls(source));
            }
        }
    }
    Ok(problems)
}

/// What no source may be or have, whatever it is for.
fn faults(source: &Source) -> Vec<String> {
    let place = source.path.display();
    let words = NOWHERE.iter().filter(|word| source.text.contains(**word));
    let mut problems: Vec<String> = words.map(|word| format!("{place}: contains {word}")).collect();
    if source.lines > FILE_LINES_MAX {
        problems.push(format!("{place}: {} lines, at most {FILE_LINES_MAX}", source.lines));
    }
    problems
}

/// The crates that ARCHITECTURE.md does not name.
fn unnamed(crates: &[Crate]) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let missing = crates.iter().filter(|member| !text.contains(&format!("`{}`", member.name)));
    Ok(missing.map(|member| format!("ARCHITECTURE.md does not name {}", member.name)).collect())
}

fn impure_calls(source: &Source) -> Vec<String> {
    let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut problems = Vec::new();
    for line in lines {
        for call in IMPURE.iter().filter(|call| line.contains(**call)) {
            problems.push(format!("{}: pure code names {call}", source.path.display()));
        }
    }
    problems
}

/// The crates by layer and size, the longest file and the longest function.
pub(crate) fn table(crates: &[Crate], sizes: &Sizes) -> Vec<String> {
    let mut rows: Vec<(Layer, &str, usize, usize, usize)> = crates
        .iter()
        .map(|member| {
            let sources = &sizes[&member.name];
            let lines = |test: bool| -> usize {
                sources
                    .iter()
                    .filter(|source| source.is_test == test)
                    .map(|source| source.lines)
                    .sum()
            };
            (member.layer, member.name.as_str(), sources.len(), lines(false), lines(true))
        })
        .collect();
    rows.sort();
    let mut out = vec![format!(
        "{:<8} {:<14} {:>5} {:>6} {:>6}",
        "layer", "crate", "files", "lines", "tests"
    )];
    for (layer, name, files, code, tests) in &rows {
        out.push(format!("{:<8} {name:<14} {files:>5} {code:>6} {tests:>6}", format!("{layer:?}")));
    }
    let total =
        |of: fn(&(Layer, &str, usize, usize, usize)) -> usize| rows.iter().map(of).sum::<usize>();
    out.push(format!(
        "{:<8} {:<14} {:>5} {:>6} {:>6}",
        "",
        "all",
        total(|r| r.2),
        total(|r| r.3),
        total(|r| r.4)
    ));
    let all = || sizes.values().flatten();
    if let Some(file) = all().max_by_key(|source| source.lines) {
        out.push(format!("longest file: {} ({} lines)", file.path.display(), file.lines));
    }
    if let Some(file) = all().max_by_key(|source| source.longest.1) {
        let (name, lines) = &file.longest;
        out.push(format!("longest function: {name} in {} ({lines} lines)", file.path.display()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_function_is_found_by_its_indentation() {
        let text = "fn a() {\n    1\n}\n\nimpl X {\n    pub(crate) async fn b() {\n        1;\n        2\n    }\n}\n";
        assert_eq!(longest_function(text), ("b".to_owned(), 4));
        assert_eq!(function_name("    // a fn in prose"), None);
        let declared =
            "trait T {\n    fn long(\n        a: u8,\n    ) -> u8;\n    fn b() {\n    }\n}\n";
        assert_eq!(longest_function(declared), ("b".to_owned(), 2));
    }
}
