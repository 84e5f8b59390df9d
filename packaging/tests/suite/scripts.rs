//! Maintainer scripts are shell that a shell accepts, with every place filled in.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use packaging::packages;

/// The scripts of all packages, by package and name.
fn scripts() -> BTreeMap<String, String> {
    packages::scripts().into_iter().filter(|(name, _)| !name.ends_with("triggers")).collect()
}

/// What a program says about a script given on its standard input.
fn complaint(program: &str, arguments: &[&str], script: &str) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_place_is_filled_in() {
    let scripts = scripts();
    assert!(scripts.len() >= 21, "{:?}", scripts.keys());
    for (name, text) in scripts {
        assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{name}");
        // `@` stands in names of instances, and nowhere else.
        let left = text.replace("@*.service", "");
        assert!(!left.contains('@'), "{name}:\n{text}");
        assert!(!text.contains("\n\n\n"), "{name}:\n{text}");
    }
}

#[test]
fn shells_accept_every_script() {
    for (name, text) in scripts() {
        assert_eq!(complaint("sh", &["-n"], &text).unwrap(), "", "{name}:\n{text}");
    }
}

#[test]
fn shellcheck_finds_nothing() {
    // SC2043: a list that is written here may have one word.
    let arguments = ["--shell=dash", "--exclude=SC2043", "-"];
    for (name, text) in scripts() {
        let Some(said) = complaint("shellcheck", &arguments, &text) else {
            // Installed by `cargo xtask test`; without it the shell itself has judged.
            return;
        };
        assert_eq!(said, "", "{name}:\n{text}");
    }
}

#[test]
fn an_upgrade_restarts_in_the_order_of_the_suite_and_never_a_socket() {
    let scripts = scripts();
    let common = &scripts["marketprism-common/postinst"];
    let order = "for name in monitoring nats broker storage collector gateway scheduler; do";
    assert!(common.contains(order), "{common}");
    assert!(!common.contains(".socket"), "{common}");
    for (name, text) in &scripts {
        assert!(!text.contains("deb-systemd-invoke restart"), "{name}");
        assert!(!text.contains("deb-systemd-invoke start"), "{name}");
    }
    let gateway = &scripts["marketprism-gateway/prerm"];
    let stop = "stop 'marketprism-gateway.socket' 'marketprism-gateway.service'";
    assert!(gateway.contains(stop), "{gateway}");
}
