//! The outer archive: a magic line, then members with a header of 60 characters each.
//!
//! Source: deb(5), ar(5).

use std::io;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Puts members into an archive, all with one date.
pub(super) fn archive(members: &[(&str, Vec<u8>)], built: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (name, contents) in members {
        let length = contents.len();
        let header = format!("{name:<16}{built:<12}{0:<6}{0:<6}{1:<8}{length:<10}`\n", 0, 100_644);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(contents);
        if length % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Takes an archive apart: names and contents.
///
/// # Errors
///
/// It is not an archive, or is cut off.
pub fn members(archive: &[u8]) -> io::Result<Vec<(String, &[u8])>> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "not a Debian package");
    let mut rest = archive.strip_prefix(MAGIC).ok_or_else(broken)?;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(HEADER).ok_or_else(broken)?;
        let header = std::str::from_utf8(header).map_err(|_| broken())?;
        let length: usize = header[48..58].trim().parse().map_err(|_| broken())?;
        let (contents, after) = after.split_at_checked(length).ok_or_else(broken)?;
        let name = header[..16].trim_end().trim_end_matches('/');
        members.push((name.to_owned(), contents));
        rest = after.get(length % 2..).unwrap_or_default();
    }
    Ok(members)
}
