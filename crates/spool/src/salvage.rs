//! Reading a segment from a disk that cannot read all of it.

use nix::errno::Errno;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What is read at once of a file that cannot be read as a whole, in bytes: a page of memory, the
/// least that the kernel reads of a file.
const PIECE: usize = 4096;

/// Reads a file as a whole; `None` if the disk cannot.
pub(crate) fn whole(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_of_the_disk(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads those pieces of a file that the disk can read. Elsewhere there are zeros, in which no
/// record is found.
pub(crate) fn rest(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let (bytes, unread) = pieces(size, |piece, at| file.read_exact_at(piece, at))?;
    tracing::warn!(
        path = %path.display(),
        size,
        unread,
        "the disk cannot read all of a segment of the spool: what was in it is missing; `dmesg` says \
         which disk, look after it"
    );
    Ok(bytes)
}

/// Reads a file of this size piece by piece; returns how many bytes were not read as well.
///
/// The more pieces fail one after the other, the more behind them are left out, for a disk may take
/// half a minute for each.
fn pieces(
    size: usize,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<(Vec<u8>, usize)> {
    let mut bytes = vec![0; size];
    let (mut unread, mut failures, mut left_out, mut at) = (0, 0, 0_usize, 0);
    for piece in bytes.chunks_mut(PIECE) {
        let result = if left_out > 0 { Err(Errno::EIO.into()) } else { read(piece, at) };
        match result {
            Ok(()) => failures = 0,
            Err(error) if is_of_the_disk(&error) => {
                piece.fill(0);
                unread += piece.len();
                if left_out > 0 {
                    left_out -= 1;
                } else {
                    left_out = (1 << failures) - 1;
                    failures += 1;
                }
            }
            Err(error) => return Err(error),
        }
        at += piece.len() as u64;
    }
    Ok((bytes, unread))
}

/// Whether the disk could not read, or read what the file system knows to be wrong.
///
/// Source: read(2); errno names as XFS and ext4 use them, `EFSBADCRC` and `EFSCORRUPTED`.
fn is_of_the_disk(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::EIO, Errno::EBADMSG, Errno::EUCLEAN].iter().any(|&errno| code == Some(errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;

    /// A file of `size` ones whose pieces `bad` cannot be read, and how often one was tried.
    fn file(size: usize, bad: &[usize], errno: Errno) -> (io::Result<(Vec<u8>, usize)>, usize) {
        let mut tried = 0;
        let read = pieces(size, |piece, at| {
            tried += 1;
            piece.fill(1);
            if bad.contains(&(usize::try_from(at).unwrap() / PIECE)) {
                return Err(errno.into());
            }
            Ok(())
        });
        (read, tried)
    }

    #[test]
    fn zeros_stand_where_the_disk_cannot_read() {
        let size = 2 * PIECE + 10;
        let mut bytes = vec![1; size];
        bytes[PIECE..2 * PIECE].fill(0);
        for errno in [Errno::EIO, Errno::EBADMSG, Errno::EUCLEAN] {
            let (read, _) = file(size, &[1], errno);
            assert_eq!(read.unwrap(), (bytes.clone(), PIECE));
        }
        let (read, _) = file(size, &[2], Errno::EIO);
        assert_eq!(read.unwrap().1, 10, "the last piece is shorter");
    }

    #[test]
    fn a_disk_that_reads_nothing_is_not_tried_for_each_piece() {
        let all: Vec<usize> = (0..255).collect();
        let (read, tried) = file(255 * PIECE, &all, Errno::EIO);
        assert_eq!((read.unwrap().1, tried), (255 * PIECE, 8));
        let (read, tried) = file(100 * PIECE, &[3, 40, 41, 90], Errno::EIO);
        assert_eq!((read.unwrap().1, tried), (5 * PIECE, 99), "one behind two is left out");
    }

    #[test]
    fn records_beside_a_hole_are_found() {
        let (mut segment, payload) = (Vec::new(), [b'x'; PIECE / 2]);
        for note in 0..8 {
            let at = segment.len() as u64;
            format::encode(1, at, &[note], &payload, &mut segment).unwrap();
        }
        let (bytes, _) = pieces(segment.len(), |piece, at| {
            let at = usize::try_from(at).unwrap();
            piece.copy_from_slice(&segment[at..at + piece.len()]);
            if at == PIECE { Err(Errno::EIO.into()) } else { Ok(()) }
        })
        .unwrap();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(record) = format::find(1, &bytes, at) {
            at = record.end();
            found.push(bytes[record.note][0]);
        }
        assert_eq!(found, [0, 4, 5, 6, 7], "those that have a byte of the hole are gone");
    }

    #[test]
    fn what_is_not_of_the_disk_is_an_error() {
        let (content, _) = file(PIECE, &[0], Errno::ENOMEM);
        assert_eq!(content.unwrap_err().raw_os_error(), Some(Errno::ENOMEM as i32));
        assert!(whole(Path::new("/nonexistent")).is_err());
    }
}
