//! Ring 1.

use std::fs;

use secrecy::ExposeSecret as _;

use super::Credentials;

#[test]
fn a_secret_is_read_without_the_end_of_its_line() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("marketprism.internal-token"), "s3cret\n").unwrap();
    let credentials = Credentials::at(directory.path().to_owned());
    let secret = credentials.get("internal-token").unwrap().unwrap();
    assert_eq!(secret.expose_secret(), "s3cret");
}

#[test]
fn a_secret_that_is_not_there_is_none_and_an_empty_one_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = Credentials::at(directory.path().to_owned());
    assert!(credentials.get("internal-token").unwrap().is_none());
    assert!(Credentials::default().get("internal-token").unwrap().is_none());
    fs::write(directory.path().join("marketprism.internal-token"), "\n").unwrap();
    assert!(credentials.get("internal-token").is_err());
}
