use super::*;
use serde_json::{Value, json};

fn package(name: &str, license: &str, kind: &str, is_ours: bool) -> Value {
    let source = if is_ours { Value::Null } else { json!("registry+x") };
    json!({
        "id": name, "name": name, "version": "1.0.0", "license": license, "license_file": null,
        "source": source, "targets": [{ "kind": [kind] }],
    })
}

fn node(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
    let dependencies: Vec<Value> = dependencies
        .iter()
        .map(|(name, kind)| json!({ "pkg": name, "dep_kinds": [{ "kind": kind, "target": null }] }))
        .collect();
    json!({ "id": name, "deps": dependencies })
}

fn metadata() -> String {
    let packages = [
        package("cli", "Apache-2.0", "lib", true),
        package("other", "Apache-2.0", "lib", true),
        package("direct", "MIT/Apache-2.0", "lib", false),
        package("deep", "ISC", "lib", false),
        package("macros", "MIT", "proc-macro", false),
        package("under-macros", "MIT", "lib", false),
        package("for-tests", "MIT", "lib", false),
        package("for-building", "MIT", "lib", false),
        package("elsewhere", "MIT", "lib", false),
    ];
    let nodes = [
        node(
            "cli",
            &[
                ("direct", None),
                ("macros", None),
                ("for-tests", Some("dev")),
                ("for-building", Some("build")),
            ],
        ),
        node("other", &[("elsewhere", None)]),
        node("direct", &[("deep", None), ("cli", Some("dev"))]),
        node("deep", &[]),
        node("macros", &[("under-macros", None)]),
    ];
    json!({ "packages": packages, "resolve": { "nodes": nodes } }).to_string()
}

fn linked(name: &str, license: &str) -> LinkedCrate {
    let [name, version, license] = [name, "1.0.0", license].map(str::to_owned);
    LinkedCrate { name, version, license }
}

#[test]
fn what_a_program_needs_to_run_is_linked() {
    let found = linked_crates(&metadata(), &["cli"]).unwrap();
    assert_eq!(found, [linked("deep", "ISC"), linked("direct", "MIT OR Apache-2.0")]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let refused = |text: &str| format!("{:#}", linked_crates(text, &["nobody"]).unwrap_err());
    assert!(refused("{}").contains("read the answer of cargo metadata"));
    assert_eq!(refused(&metadata()), "no package nobody in the workspace");
    assert!(refused(r#"{"packages":[],"resolve":null}"#).contains("--no-deps"));
}

#[test]
fn the_copyright_file_is_made_of_paragraphs() {
    let text = copyright(&[linked("deep", "ISC")]);
    let paragraphs: Vec<&str> = text.trim_end().split("\n\n").collect();
    let beginnings =
        ["Format: https://www.debian.org/doc/", "Files: *\n", "License: Apache-2.0\n "];
    assert_eq!(paragraphs.len(), beginnings.len(), "{text}");
    for (paragraph, beginning) in paragraphs.iter().zip(beginnings) {
        assert!(paragraph.starts_with(beginning), "{text}");
        for line in paragraph.lines() {
            assert!(line.starts_with(' ') || line.contains(':'), "{line}");
            assert!(line.len() <= 100, "{line}");
        }
    }
    assert!(text.contains("\n  deep 1.0.0: ISC\n"), "{text}");
    assert!(text.contains("/usr/share/common-licenses/Apache-2.0"), "{text}");
    assert!(!copyright(&[]).contains("Comment:"));
}
