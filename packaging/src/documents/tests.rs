//! What holds for every page, whatever it says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::*;
use crate::suite::SERVICES;

fn all() -> Vec<Page> {
    pages("0.1.0", "2026-01-01")
}

fn page(name: &str) -> String {
    let found = all().into_iter().find(|page| page.name == name);
    found.unwrap_or_else(|| panic!("no page {name}")).text
}

/// A page as `man` shows it on a terminal of 80 columns; `None` if there is no `man`.
fn shown(page: &Page) -> Option<(String, String)> {
    let mut child = Command::new("man")
        .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-"])
        .env("MANWIDTH", "80")
        .env("MANPAGER", "cat")
        .env("GROFF_NO_SGR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(page.text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // A stressed letter is written over itself.
    let mut plain = String::new();
    for letter in text(&output.stdout).chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    Some((plain, text(&output.stderr)))
}

#[test]
fn man_shows_every_page_without_a_complaint() {
    for page in all() {
        let Some((text, complaint)) = shown(&page) else {
            return eprintln!("skipped: man is in the package man-db");
        };
        assert_eq!(complaint, "", "{}", page.name);
        let mut between = text.split('@').skip(1);
        let is_place = |part: &str| {
            !part.is_empty() && part.chars().all(|letter| letter == '_' || letter.is_uppercase())
        };
        assert_eq!(between.find(|part| is_place(part)), None, "{}", page.name);
        let wide = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{}", page.name);
    }
}

#[test]
fn every_program_and_every_subcommand_has_its_page() {
    let names: BTreeSet<String> = all().into_iter().map(|page| page.name).collect();
    assert_eq!(names.len(), all().len(), "two pages of one name");
    for name in [
        "marketprism.1",
        "marketprism-status.1",
        "marketprism-keys-create.1",
        "marketprism-sim.1",
        "marketprism-sim-serve.1",
        "marketprism.7",
        "services.yaml.5",
        "marketprism-nats-render.8",
    ] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    for service in SERVICES {
        assert!(names.contains(&format!("{}.8", service.unit())), "{names:?}");
    }
}

#[test]
fn pages_refer_to_pages_that_exist() {
    let pages = all();
    let known: BTreeSet<&str> = pages.iter().map(|page| page.name.as_str()).collect();
    for page in &pages {
        let text = page.text.replace("\\fB", "").replace("\\fR", "").replace("\\-", "-");
        let words = text.split(|letter: char| letter.is_whitespace() || ",;:".contains(letter));
        for word in words.filter(|word| word.starts_with("marketprism") && word.contains('(')) {
            let (name, rest) = word.split_once('(').unwrap();
            let file = format!("{name}.{}", rest.trim_end_matches(['.', ')']));
            assert!(known.contains(file.as_str()), "{}: {word}", page.name);
        }
    }
}

#[test]
fn a_page_has_a_name_that_whatis_finds() {
    for page in all() {
        let name = page.name.rsplit_once('.').unwrap().0;
        let line = page.text.lines().skip_while(|line| *line != ".SH \"NAME\"").nth(1).unwrap();
        let (found, summary) = line.split_once(" \\- ").unwrap();
        assert_eq!(found, name);
        assert!(!summary.is_empty() && !summary.ends_with('.'), "{line}");
    }
}

#[test]
fn the_same_input_gives_the_same_pages() {
    assert_eq!(all(), all());
    for page in all() {
        assert!(page.text.contains("\"2026\\-01\\-01\" \"MarketPrism 0.1.0\""), "{}", page.name);
    }
}

#[test]
fn a_service_page_says_port_files_and_credentials() {
    let page = page("marketprism-collector.8").replace("\\-", "-");
    for expected in [
        "port 8081",
        "/var/lib/marketprism/collector/",
        "/run/marketprism-collector/",
        "marketprism-collector@.service",
        "marketprism.internal-token",
        "marketprism.nats-collector",
        "marketprism.proxy-collector",
        "SIGHUP",
        "STATE_DIRECTORY",
        "--state-directory",
    ] {
        assert!(page.contains(expected), "{expected} in:\n{page}");
    }
    assert!(!page.contains(".socket"), "{page}");
}

/// The dotted paths of everything in a document; what is in a list by its bare name.
fn paths(prefix: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                found.push(path.clone());
                // What a job sends, and the labels of a series, are the other service's to describe.
                if name != "body" && name != "labels" {
                    paths(&path, member, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths("", item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_key_of_the_configuration_is_described() {
    let page = page("services.yaml.5").replace("\\-", "-");
    let mut keys = Vec::new();
    paths("", &serde_json::to_value(settings::Suite::default()).unwrap(), &mut keys);
    assert!(keys.len() > 100, "{keys:?}");
    for key in keys {
        let heading = format!(".SH \"{}\"\n", key.to_uppercase());
        // What is shown as it stands in the file has its own name there.
        let last = format!("\n{}: ", key.rsplit('.').next().unwrap());
        let term = format!("\\fB{key}\\fR\n");
        let places = [format!("{key}:"), heading, last, term];
        let bare = page.replace("\n- ", "\n").replace("\n  ", "\n");
        assert!(places.iter().any(|place| bare.contains(place)), "{key}");
    }
}

#[test]
fn every_shell_has_its_completions() {
    let completions = completions();
    assert_eq!(completions.len(), 6);
    for (path, script) in &completions {
        assert!(path.starts_with("usr/share/") && script.contains("marketprism"), "{path}");
        let shells = [("bash-completion", "bash"), ("zsh", "zsh"), ("fish", "fish")];
        let shell = shells.iter().find(|(folder, _)| path.contains(folder)).unwrap().1;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        match Command::new(shell).arg("-n").arg(file.path()).output() {
            Ok(output) => assert!(output.status.success(), "{path}: {output:?}"),
            Err(_) => eprintln!("skipped {path}: no {shell}"),
        }
    }
    let (_, bash) = &completions[0];
    assert!(bash.contains("--config") && bash.contains("doctor"), "{bash}");
}
