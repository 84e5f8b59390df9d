//! Ring 1: the file survives what happens to files.

use std::os::unix::fs::PermissionsExt as _;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::key::{Label, Scope, Scopes};

fn mint(path: &Path, label: &str) -> String {
    update(path, |ring| {
        let scopes = Scopes::new([Scope::Read]).unwrap();
        let minted = ring.mint(label.parse().unwrap(), scopes, None, Timestamp::UNIX_EPOCH);
        Ok::<_, Error>(minted.unwrap().expose().to_owned())
    })
    .unwrap()
}

fn refusal(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    fs::write(&path, text).unwrap();
    let error = load(&path).unwrap_err().to_string();
    error.replace(&path.display().to_string(), "keys.json")
}

#[test]
fn an_absent_file_holds_no_keys_and_the_first_key_creates_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    assert!(load(&path).unwrap().is_empty());
    let text = mint(&path, "first");
    assert!(load(&path).unwrap().check(&text, Timestamp::UNIX_EPOCH).is_ok());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn every_replacement_changes_the_stamp() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let mut seen = vec![Stamp::of(&path).unwrap()];
    for label in ["a", "b"] {
        mint(&path, label);
        seen.push(Stamp::of(&path).unwrap());
    }
    assert_ne!(seen[0], seen[1]);
    assert_ne!(seen[1], seen[2]);
    assert_eq!(seen[2], Stamp::of(&path).unwrap());
}

#[test]
fn a_failed_change_and_a_leftover_harm_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    mint(&path, "kept");
    fs::write(directory.path().join("keys.json.new"), "half a fi").unwrap();
    let failed: Result<(), Error> = update(&path, |ring| {
        ring.revoke("").map_err(|_| failed("revoke in", &path)(io::ErrorKind::Other.into()))?;
        Ok(())
    });
    assert!(failed.is_err());
    mint(&path, "second");
    assert_eq!(load(&path).unwrap().len(), 2);
}

#[test]
fn concurrent_changes_lose_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for key in 0..5 {
                    mint(path, &format!("{thread}-{key}"));
                }
            });
        }
    });
    assert_eq!(load(&path).unwrap().len(), 20);
}

#[test]
fn root_writes_a_file_that_the_directorys_owner_can_read() {
    let directory = tempfile::tempdir().unwrap();
    // Only root can give the directory to somebody else; as anyone else there is nothing to see.
    if std::os::unix::fs::chown(directory.path(), Some(4242), Some(4243)).is_err() {
        eprintln!("not root: skipped");
        return;
    }
    let path = directory.path().join("keys.json");
    mint(&path, "given");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (4242, 4243));
}

#[test]
fn a_damaged_file_is_refused_with_its_line() {
    let record = r#"{"id":"0123456789ab","label":"x","scopes":["read"],"sha256":"SHA","created":"2026-01-01T00:00:00Z"}"#
        .replace("SHA", &"0".repeat(64));
    let file = |keys: &str| format!("{{\"version\": 1,\n\"keys\": [\n{keys}\n]}}");
    let cases = [
        (String::new(), "keys.json:1: EOF while parsing a value"),
        (
            "{\"version\": 2,\n\"keys\": []}".to_owned(),
            "keys.json:1: version 2 of the key file is not known to this program",
        ),
        (
            file(&record.replace("label", "lable")),
            "keys.json:3: unknown field `lable`, expected one of `id`, `label`, `scopes`, `sha256`, `created`, `expires`",
        ),
        (file(&format!("{record},\n{record}")), "keys.json:5: the id 0123456789ab is there twice"),
        (file(&record.replace("\"read\"", "")), "keys.json:3: a key needs at least one scope"),
        (
            file(&record.replace("0123456789ab", "0123456789AB")),
            "keys.json:3: expected 12 lowercase hexadecimal digits",
        ),
        (
            file(&record.replace("\"x\"", "\"\\u001b[2J\"")),
            "keys.json:3: a label has 1 to 64 characters and no control characters",
        ),
        (file(&record.replace("2026-01-01T", "yesterday ")), "keys.json:3:"),
    ];
    for (text, expected) in cases {
        let message = refusal(&text);
        assert!(message.starts_with(expected), "{message}\nis not\n{expected}");
    }
    assert_eq!(
        serde_json::from_str::<Document>(&file(&record)).unwrap().keys.len(),
        1,
        "the undamaged record is fine"
    );
}

fn any_scopes() -> impl Strategy<Value = Scopes> {
    proptest::sample::subsequence(vec![Scope::Read, Scope::Write, Scope::Admin], 1..=3)
        .prop_map(|list| Scopes::new(list).unwrap())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        records in proptest::collection::vec(
            ("[^\\p{Cc}]{1,64}", any_scopes(), proptest::option::of(0_i64..4_000_000_000)), 0..5),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.json");
        let mut expected = Ring::default();
        update(&path, |ring| {
            for (label, scopes, expires) in records {
                let expires = expires.map(|second| Timestamp::from_second(second).unwrap());
                let label = Label::try_from(label).unwrap();
                ring.mint(label, scopes, expires, Timestamp::UNIX_EPOCH).unwrap();
            }
            expected = ring.clone();
            Ok::<(), Error>(())
        })
        .unwrap();
        prop_assert_eq!(load(&path).unwrap(), expected);
    }
}
