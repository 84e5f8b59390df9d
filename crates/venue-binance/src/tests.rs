//! What the tests of both families share: damage to frames, and the recordings outside the tree.

use proptest::prelude::*;
use std::io::Read as _;
use std::path::PathBuf;
use venue::recording::{Record, Source, lines};

/// What a damaged connection or a hostile peer might do to a frame.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Truncate(usize),
    Duplicate(usize, usize),
}

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

pub(crate) fn damaged(frame: &str, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = frame.as_bytes().to_vec();
    for damage in damages {
        let within = |at: &usize| at % bytes.len().max(1);
        match damage {
            _ if bytes.is_empty() => {}
            Damage::Replace(at, byte) => {
                let at = within(at);
                bytes[at] = *byte;
            }
            Damage::Insert(at, byte) => bytes.insert(within(at), *byte),
            Damage::Remove(at) => {
                bytes.remove(within(at));
            }
            Damage::Truncate(at) => bytes.truncate(within(at)),
            Damage::Duplicate(at, length) => {
                let at = within(at);
                let end = (at + length).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
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
