//! Packages and repositories as dpkg and apt read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use packaging::deb::{Contents, Effort, File, Package};
use packaging::repository::{self, Signer, Suite};

/// 2026-01-01.
const BUILT: i64 = 1_767_225_600;

fn file(path: &str, mode: u32, text: &str) -> File {
    let contents = Contents::Bytes(text.as_bytes().to_vec());
    File { path: path.to_owned(), mode, contents, conffile: path.starts_with("etc/") }
}

fn package(version: &str) -> Package {
    let control = [
        ("Package", "sample"),
        ("Version", version),
        ("Architecture", "amd64"),
        ("Maintainer", "Someone <someone@example.com>"),
        ("Description", "one line\n and another"),
    ];
    let deep = format!("usr/share/sample/{}", "f".repeat(70));
    let link = Contents::Link("sample".to_owned());
    Package {
        control: control.into_iter().map(|(key, value)| (key, value.to_owned())).collect(),
        scripts: vec![("postinst", "#!/bin/sh\nset -e\n".to_owned())],
        files: vec![
            file("usr/bin/sample", 0o755, &format!("#!/bin/sh\necho {version}\n")),
            file("etc/sample.conf", 0o644, "as shipped\n"),
            file(&deep, 0o644, "deep\n"),
            File { path: "usr/bin/also".into(), mode: 0o777, contents: link, conffile: false },
        ],
    }
}

fn written(folder: &Path, version: &str) -> PathBuf {
    let package = package(version);
    let path = folder.join(package.file_name());
    fs::write(&path, package.write(BUILT, Effort::Fast).unwrap()).unwrap();
    path
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap()
}

fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{complaint}");
    text
}

#[test]
fn dpkg_reads_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "1.0");
    let path = path.to_str().unwrap();
    assert!(path.ends_with("/sample_1.0_amd64.deb"));
    assert_eq!(succeed("dpkg-deb", &["--field", path, "Version"]).trim(), "1.0");
    let description = succeed("dpkg-deb", &["--field", path, "Description"]);
    assert_eq!(description, "one line\n and another\n");
    let listed = succeed("dpkg-deb", &["--contents", path]);
    assert!(listed.lines().all(|line| line.contains("root/root")), "{listed}");
    assert!(listed.lines().all(|line| line.contains("2026-01-01")), "{listed}");
    for expected in ["-rwxr-xr-x", "./usr/bin/also -> sample", &"f".repeat(70), "./usr/share/"] {
        assert!(listed.contains(expected), "{expected}: {listed}");
    }
    assert_eq!(succeed("dpkg-deb", &["--info", path, "conffiles"]), "/etc/sample.conf\n");

    // The checksums are those of what is installed.
    let root = folder.path().join("root");
    succeed("dpkg-deb", &["--extract", path, root.to_str().unwrap()]);
    fs::write(root.join("sums"), succeed("dpkg-deb", &["--info", path, "md5sums"])).unwrap();
    let check = format!("cd {} && md5sum --check --strict sums", root.display());
    assert_eq!(succeed("sh", &["-c", &check]).lines().count(), 2);
}

#[test]
fn the_same_package_is_the_same_bytes() {
    let bytes = |effort| package("1.0").write(BUILT, effort).unwrap();
    assert_eq!(bytes(Effort::Fast), bytes(Effort::Fast));
    assert_eq!(bytes(Effort::Best), bytes(Effort::Best));
    assert_ne!(bytes(Effort::Fast), package("1.0").write(BUILT + 1, Effort::Fast).unwrap());
}

#[test]
fn a_path_that_does_not_fit_into_a_plain_header_is_refused() {
    let mut long = package("1.0");
    long.files.push(file(&format!("usr/{}", "x".repeat(100)), 0o644, ""));
    let error = long.write(BUILT, Effort::Fast).unwrap_err().to_string();
    assert!(error.contains("longer than 100 characters"), "{error}");
}

/// A repository with one package, and the sources line that leads to it.
fn repository(folder: &Path) -> PathBuf {
    let out = folder.join("repository");
    let packages = vec![written(folder, "1.0"), written(folder, "1.1")];
    let suite = Suite { codename: "bookworm".to_owned(), packages };
    let signer = Signer::in_home(&folder.join("key"), None).unwrap();
    repository::write(&out, None, &[suite], BUILT, &signer).unwrap();
    out
}

/// Runs apt-get with a state of its own.
fn apt(folder: &Path, arguments: &[&str]) -> Output {
    let state = folder.join("apt");
    for place in ["state/lists/partial", "cache/archives/partial", "etc/sources.list.d", "log"] {
        fs::create_dir_all(state.join(place)).unwrap();
    }
    fs::write(state.join("status"), "").unwrap();
    let sources = folder.join("repository/marketprism-bookworm.sources");
    fs::copy(sources, state.join("etc/sources.list.d/sample.sources")).unwrap();
    let settings = [
        format!("Dir::State={}/state", state.display()),
        format!("Dir::State::status={}/status", state.display()),
        format!("Dir::Cache={}/cache", state.display()),
        format!("Dir::Etc={}/etc", state.display()),
        format!("Dir::Log={}/log", state.display()),
        "APT::Sandbox::User=root".to_owned(),
        "APT::Architecture=amd64".to_owned(),
    ];
    let mut words: Vec<&str> = Vec::new();
    for setting in &settings {
        words.extend(["-o", setting]);
    }
    words.extend(arguments);
    run("apt-get", &words)
}

#[test]
fn apt_trusts_the_repository_and_takes_the_newest_package() {
    let folder = tempfile::tempdir().unwrap();
    repository(folder.path());
    let update = apt(folder.path(), &["update"]);
    let said = [update.stdout, update.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(update.status.success() && !said.contains("W:") && !said.contains("E:"), "{said}");
    let simulated = apt(folder.path(), &["install", "--simulate", "sample"]);
    let said = String::from_utf8_lossy(&simulated.stdout);
    assert!(said.contains("Inst sample (1.1 "), "{said}");
    let download = apt(folder.path(), &["install", "--yes", "--download-only", "sample"]);
    assert!(download.status.success(), "{}", String::from_utf8_lossy(&download.stderr));
}

#[test]
fn apt_refuses_what_was_changed_after_signing() {
    let folder = tempfile::tempdir().unwrap();
    let out = repository(folder.path());
    let release = out.join("dists/bookworm/InRelease");
    let text = fs::read_to_string(&release).unwrap();
    fs::write(&release, text.replacen("Suite:", "Label: changed\nSuite:", 1)).unwrap();
    fs::remove_file(out.join("dists/bookworm/Release.gpg")).unwrap();
    let update = apt(folder.path(), &["update"]);
    let said = [update.stdout, update.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // In the words of gpgv, or of sqv on Debian 13.
    assert!(said.contains("BADSIG") || said.contains("has been manipulated"), "{said}");

    // An index that is not the signed one.
    let out = repository(folder.path());
    for path in ["Packages", "Packages.xz"] {
        fs::write(out.join("dists/bookworm/main/binary-amd64").join(path), "").unwrap();
    }
    for entry in fs::read_dir(out.join("dists/bookworm/main/binary-amd64/by-hash/SHA256")).unwrap()
    {
        fs::write(entry.unwrap().path(), "").unwrap();
    }
    fs::remove_dir_all(folder.path().join("apt")).unwrap();
    assert!(!apt(folder.path(), &["update"]).status.success(), "an index without its signature");
}

#[test]
fn a_key_is_made_once_and_nobody_else_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("key");
    let first = Signer::in_home(&home, None).unwrap().public_key().unwrap();
    assert_eq!(Signer::in_home(&home, None).unwrap().public_key().unwrap(), first);
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
}
