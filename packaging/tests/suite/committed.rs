//! The files under `systemd/` are what the description renders, and are explained.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use packaging::{Level, tree};

use crate::parsed::units;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn read_tree(root: &Path, below: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let path = below.join(entry.unwrap().file_name());
        if root.join(&path).is_dir() {
            read_tree(root, &path, files);
        } else {
            files.insert(path.clone(), fs::read_to_string(root.join(&path)).unwrap());
        }
    }
}

#[test]
fn rendering_again_changes_nothing() {
    let mut found = BTreeMap::new();
    read_tree(&committed(), Path::new(""), &mut found);
    found.remove(Path::new("README.md"));
    let rendered: BTreeMap<PathBuf, String> = tree::committed().into_iter().collect();

    let names = |files: &BTreeMap<PathBuf, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&rendered), "render again: cargo xtask units");
    for (path, text) in rendered {
        assert_eq!(found[&path], text, "{}: render again: cargo xtask units", path.display());
    }
}

#[test]
fn the_committed_tree_gives_every_level_back() {
    let tree: BTreeMap<PathBuf, String> = tree::committed().into_iter().collect();
    for (path, text) in tree::units(Level::V257) {
        let folder = path.parent().unwrap().to_string_lossy().into_owned();
        let own = Path::new(&format!("{folder}-257")).join(path.file_name().unwrap());
        assert_eq!(tree.get(&own).unwrap_or_else(|| &tree[&path]), &text, "{}", path.display());
    }
}

#[test]
fn writing_removes_what_is_rendered_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let stale = directory.path().join("units/marketprism-retired.service");
    fs::create_dir_all(stale.parent().unwrap()).unwrap();
    fs::write(&stale, "").unwrap();
    fs::write(directory.path().join("README.md"), "kept").unwrap();

    tree::write(directory.path(), &tree::committed()).unwrap();

    assert!(!stale.exists());
    assert!(directory.path().join("README.md").exists());
    assert!(directory.path().join("units/marketprism.target").exists());
}

#[test]
fn every_setting_has_its_reason_in_the_readme() {
    let readme = fs::read_to_string(committed().join("README.md")).unwrap();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    let plain = ["Description", "Documentation"];
    for level in Level::ALL {
        let units = units(level);
        let keys: BTreeSet<&str> = units.values().flat_map(|unit| unit.keys()).collect();
        for key in keys.into_iter().filter(|key| !plain.contains(key)) {
            let explained = rows.iter().any(|row| row.contains(&format!("`{key}=")));
            assert!(explained, "{key}= has no row in systemd/README.md");
        }
    }
}
