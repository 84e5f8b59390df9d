//! What a program needs of the host's libraries, as Debian's packages and versions.
//!
//! Source: deb-symbols(5); the symbols files of libc6 and libgcc-s1, whose versions are those of the
//! symbols: `GLIBC_2.34` came with glibc 2.34, `GCC_4.2.0` with libgcc 4.2.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _};
use object::{Architecture, Endianness, Object as _};

/// The libraries of glibc.
const GLIBC: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

type Program<'data> = ElfFile64<'data>;

/// The packages that a program depends on, such as `libc6 (>= 2.34)`.
///
/// # Errors
///
/// It is not a 64-bit program for Linux, or needs a library that no package is known for.
pub fn library_dependencies(program: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut oldest: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for library in needed(program)? {
        match library.as_str() {
            name if GLIBC.contains(&name) => oldest.entry("libc6").or_default(),
            "libgcc_s.so.1" => oldest.entry("libgcc-s1").or_default(),
            other => bail!(
                "it needs {other}, and no package is known for that: link it statically, or name \
                 its package in packaging/src/elf.rs"
            ),
        };
    }
    for version in versions(program)? {
        let (package, number) = match version.split_once('_') {
            Some(("GLIBC", number)) => ("libc6", number),
            Some(("GCC", number)) => ("libgcc-s1", number),
            _ => continue,
        };
        let Ok(number) = number.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>() else {
            continue;
        };
        let most = oldest.entry(package).or_default();
        *most = std::mem::take(most).max(number);
    }
    Ok(oldest.iter().map(|(package, version)| requirement(package, version)).collect())
}

fn requirement(package: &str, version: &[u32]) -> String {
    // `GCC_4.2.0` is 4.2 in Debian's versions.
    let version = version.strip_suffix(&[0]).filter(|rest| rest.len() > 1).unwrap_or(version);
    let version: Vec<String> = version.iter().map(u32::to_string).collect();
    if version.is_empty() {
        package.to_owned()
    } else {
        format!("{package} (>= {})", version.join("."))
    }
}

/// Debian's name for the processor that a program runs on.
///
/// # Errors
///
/// It is not a program, or for a processor that no packages are made for.
pub fn architecture(program: &[u8]) -> anyhow::Result<&'static str> {
    let processor = parse(program)?.architecture();
    let known = [(Architecture::X86_64, "amd64"), (Architecture::Aarch64, "arm64")];
    let found = known.into_iter().find(|(known, _)| *known == processor);
    let (_, name) = found.with_context(|| format!("no packages are made for {processor:?}"))?;
    Ok(name)
}

fn parse(program: &[u8]) -> anyhow::Result<Program<'_>> {
    Program::parse(program).context("not a 64-bit program for Linux")
}

/// The libraries that the loader is told to load.
fn needed(program: &[u8]) -> anyhow::Result<Vec<String>> {
    parse(program)?;
    let header = FileHeader64::<Endianness>::parse(program)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, program)?;
    let mut names = Vec::new();
    if let Some((entries, strings)) = sections.dynamic(endian, program)? {
        let strings = sections.strings(endian, program, strings)?;
        for entry in entries {
            if entry.tag(endian) == DT_NEEDED {
                let name = entry.string(endian, strings).context("read the name of a library")?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(names)
}

/// The versions of symbols that it asks those libraries for.
fn versions(program: &[u8]) -> anyhow::Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(program)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, program)?;
    let mut names = Vec::new();
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, program)? {
        let strings = sections.strings(endian, program, link)?;
        while let Some((_, mut of_library)) = needs.next()? {
            while let Some(version) = of_library.next()? {
                let name = version.name(endian, strings)?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(names)
}
