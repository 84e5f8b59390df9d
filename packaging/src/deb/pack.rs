//! The inner archives: tar, compressed by xz.

use std::collections::BTreeMap;
use std::io;

use liblzma::write::XzEncoder;
use tar::{Builder, EntryType, Header};

use super::{Contents, Effort, File};

/// What an archive has under a path.
pub(super) struct Entry {
    pub(super) contents: Contents,
    mode: u32,
}

impl Entry {
    pub(super) fn text(text: String, mode: u32) -> Entry {
        Entry { contents: Contents::Bytes(text.into_bytes()), mode }
    }
}

/// Files by path, with every folder above them.
pub(super) fn tree(files: &[File]) -> BTreeMap<String, Entry> {
    let mut tree = BTreeMap::new();
    for file in files {
        for (end, _) in file.path.match_indices('/') {
            let folder = Entry { contents: Contents::Directory, mode: 0o755 };
            tree.entry(format!("./{}/", &file.path[..end])).or_insert(folder);
        }
        let suffix = if matches!(file.contents, Contents::Directory) { "/" } else { "" };
        let entry = Entry { contents: file.contents.clone(), mode: file.mode };
        tree.insert(format!("./{}{suffix}", file.path), entry);
    }
    tree
}

/// The archive of entries; equal entries give equal bytes.
pub(super) fn compressed(
    entries: &BTreeMap<String, Entry>,
    built: u64,
    effort: Effort,
) -> io::Result<Vec<u8>> {
    let level = match effort {
        Effort::Fast => 0,
        Effort::Best => 6,
    };
    let mut archive = Builder::new(XzEncoder::new(Vec::new(), level));
    add(&mut archive, "./", &Entry { contents: Contents::Directory, mode: 0o755 }, built)?;
    for (path, entry) in entries {
        add(&mut archive, path, entry, built)?;
    }
    archive.into_inner()?.finish()
}

fn add(
    archive: &mut Builder<impl io::Write>,
    path: &str,
    entry: &Entry,
    built: u64,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_mtime(built);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    // The library would leave the leading `./` out, which dpkg wants.
    let name = path.as_bytes();
    let field = &mut header.as_old_mut().name;
    field
        .get_mut(..name.len())
        .ok_or_else(|| io::Error::other(format!("`{path}` is longer than 100 characters")))?
        .copy_from_slice(name);
    let bytes: &[u8] = match &entry.contents {
        Contents::Bytes(bytes) => bytes,
        Contents::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_link_name(target)?;
            &[]
        }
        Contents::Directory => {
            header.set_entry_type(EntryType::Directory);
            &[]
        }
    };
    if matches!(entry.contents, Contents::Bytes(_)) {
        header.set_entry_type(EntryType::Regular);
    }
    header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
    header.set_cksum();
    archive.append(&header, bytes)
}
