//! Ring 3: a real directory.

use std::io::Read as _;

use tempfile::TempDir;

use super::*;

struct Place {
    configuration: TempDir,
    state: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            configuration: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        place.write("services.yaml", "gateway: {}\n");
        fs::create_dir(place.configuration.path().join("services.d")).unwrap();
        place.write("services.d/10-mine.yaml", "bus: {}\n");
        place.write("admin.key", "s3cret\n");
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.configuration.path().join(name), text).unwrap();
    }

    fn copy(&self, keep: usize, second: i64) -> Copied {
        let now = Timestamp::from_second(1_790_000_000 + second).unwrap();
        copy(self.configuration.path(), self.state.path(), keep, now).unwrap()
    }

    fn count(&self) -> usize {
        fs::read_dir(self.state.path().join(FOLDER)).unwrap().count()
    }
}

/// The names and contents of what is in a copy.
fn unpacked(file: &Path) -> Vec<(String, String)> {
    let plain = zstd::stream::decode_all(File::open(file).unwrap()).unwrap();
    let mut archive = tar::Archive::new(plain.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    entries.collect()
}

#[test]
fn a_copy_has_the_configuration_and_no_secret() {
    let place = Place::new();
    let copied = place.copy(3, 0);
    let expected = [("services.d/10-mine.yaml", "bus: {}\n"), ("services.yaml", "gateway: {}\n")];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(unpacked(&copied.file), expected);
    assert_eq!(copied.left_out, [PathBuf::from("admin.key")]);
    let plain = zstd::stream::decode_all(File::open(&copied.file).unwrap()).unwrap();
    assert!(!String::from_utf8_lossy(&plain).contains("s3cret"));
}

#[test]
fn what_has_not_changed_is_not_copied_again() {
    let place = Place::new();
    let first = place.copy(3, 0);
    let second = place.copy(3, 1);
    assert!(!first.unchanged && second.unchanged);
    assert_eq!((first.file, place.count()), (second.file, 1));
}

#[test]
fn the_newest_copies_are_kept() {
    let place = Place::new();
    let mut kept = Vec::new();
    for second in 0..5 {
        place.write("services.yaml", &format!("# {second}\n"));
        let copied = place.copy(2, second);
        assert_eq!(copied.removed, usize::from(second >= 2));
        kept.push(copied.file);
    }
    assert_eq!(place.count(), 2);
    assert!(kept[3].exists() && kept[4].exists());
    assert_eq!(unpacked(&kept[4])[1].1, "# 4\n");
}

#[test]
fn a_directory_without_a_configuration_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let refused = copy(empty.path(), state.path(), 3, now).unwrap_err();
    assert!(matches!(refused, BackupError::Nothing(_)), "{refused}");
    let away = copy(Path::new("/nonexistent"), state.path(), 3, now).unwrap_err();
    assert_eq!(away.to_string(), "cannot read /nonexistent");
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}
