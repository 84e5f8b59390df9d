//! Runs the ClickHouse engine out of a shared library, as a process of its own.
//!
//! `clickhouse-engine LIBRARY ARGUMENTS…` is `clickhouse local ARGUMENTS…`. It ends with its
//! standard input, so that the engine does not outlive a test that was killed.

use anyhow::{Context as _, bail};
use libloading::{Library, Symbol};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Read as _;
use std::process::Command;

/// The library's entry: the `main` of clickhouse-local, answering with a result or null.
type Main = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args();
    let library = arguments.nth(1).context("usage: clickhouse-engine LIBRARY ARGUMENTS...")?;
    std::thread::spawn(end_with_stdin);
    let arguments = std::iter::once("clickhouse".to_owned()).chain(arguments);
    let arguments: Vec<CString> = arguments.map(CString::new).collect::<Result<_, _>>()?;
    if run(&library, arguments)? {
        Ok(())
    } else {
        bail!("the engine has failed; its reason is above")
    }
}

#[expect(
    unsafe_code,
    reason = "the engine is published only as a C library; this program does nothing but run it, \
              and ends when it returns"
)]
fn run(library: &str, arguments: Vec<CString>) -> anyhow::Result<bool> {
    // Owned by the engine from here on: it may change them, as a `main` may.
    let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    let count = c_int::try_from(pointers.len())?;
    pointers.push(std::ptr::null_mut());
    // SAFETY: loading runs the library's initialisers, which expect nothing of us.
    let library = unsafe { Library::new(library) }.with_context(|| format!("load {library}"))?;
    // SAFETY: the library exports this function with this signature, and `count` pointers to
    // strings that end with a zero, then a null pointer, are what a `main` takes.
    let result = unsafe {
        let main: Symbol<'_, Main> = library.get(b"query_stable\0")?;
        main(count, pointers.as_mut_ptr())
    };
    Ok(!result.is_null())
}

/// Kills this process when whoever started it has closed our standard input, or is gone.
fn end_with_stdin() {
    let mut byte = [0];
    while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
    // Leaving through `exit` would run the engine's finalisers beside its running threads.
    let pid = std::process::id().to_string();
    drop(Command::new("/bin/sh").args(["-c", "kill -s KILL \"$0\"", &pid]).status());
}
