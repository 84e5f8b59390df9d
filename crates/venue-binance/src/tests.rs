//! What the tests of both families share: damage to frames, and the recordings outside the tree.

use proptest::prelude::*;
use std::io::Read as _;
use std::path::PathBuf;
use venue::conformance::Damage;
use venue::recording::{Record, Source, lines};

pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let byte = || {
        prop_oneof![
            any::<u8>(),
            proptest::sample::select(b"0123456789.,:\"{}[]-+eE\\ tfnu\n".as_slice()),
        ]
    };
    prop_oneof![
        (any::<usize>(), byte()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<usize>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<usize>().prop_map(Damage::Remove),
        any::<usize>().prop_map(Damage::Truncate),
        (any::<usize>(), 1_usize..40).prop_map(|(at, length)| Damage::Duplicate(at, length)),
    ]
}

pub(crate) fn frames() -> Option<PathBuf> {
    let folder = std::env::var_os("MARKETPRISM_FRAMES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: MARKETPRISM_FRAMES is not set");
    }
    folder
}

/// Looks at every frame of a recording, if there are recordings.
pub(crate) fn each_recorded(name: &str, mut look: impl FnMut(&[u8])) {
    let Some(folder) = frames() else { return };
    let path = folder.join("recordings").join(name).with_extension("tsv.gz");
    let mut text = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
    for line in lines(&text) {
        let record = Record::parse(line).unwrap();
        if record.source == Source::Ws {
            look(record.frame);
        }
    }
}
