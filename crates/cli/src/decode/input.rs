//! Recordings as lines, whatever they are compressed with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

/// The longest line: several times Binance's instrument list, the largest answer there is.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Bytes read from a file at once.
const READ_BYTES: usize = 1 << 18;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Opens a file, or standard input for `-`, and looks at its first bytes for its compression.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        decompress(BufReader::with_capacity(READ_BYTES, io::stdin()))
    } else {
        decompress(BufReader::with_capacity(READ_BYTES, File::open(path)?))
    }
}

fn decompress(mut reader: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    let start = reader.fill_buf()?;
    if start.starts_with(GZIP_MAGIC) {
        let plain = flate2::bufread::MultiGzDecoder::new(reader);
        return Ok(Box::new(BufReader::with_capacity(READ_BYTES, plain)));
    }
    if start.starts_with(ZSTD_MAGIC) {
        let plain = zstd::stream::read::Decoder::with_buffer(reader)?;
        return Ok(Box::new(BufReader::with_capacity(READ_BYTES, plain)));
    }
    Ok(Box::new(reader))
}

/// Reads the next line into `line`, without its line break; false at the end.
///
/// # Errors
///
/// What reading fails with, or a line longer than [`LINE_BYTES_MAX`].
pub(crate) fn next_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    reader.take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    if line.is_empty() {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 == LINE_BYTES_MAX {
        let text = format!("line of more than {LINE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(true)
}
