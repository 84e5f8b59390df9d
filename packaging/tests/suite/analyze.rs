//! What systemd itself says about the files. Needs the package `systemd`, not a running systemd.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use packaging::Level;
use packaging::suite::SERVICES;
use packaging::tree::{File, Folder, files};
use tempfile::TempDir;

fn run(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}; apt-get install systemd"))
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The levels that the installed systemd can judge: a newer one's settings are unknown to it.
fn levels() -> impl Iterator<Item = Level> {
    let version = said(&run(Command::new("systemd-analyze").arg("--version")));
    let number = version.split_whitespace().nth(1).and_then(|word| word.parse::<u16>().ok());
    let installed = number.unwrap_or_else(|| panic!("no version in: {version}"));
    Level::ALL.into_iter().filter(move |level| level.number() <= installed)
}

/// A root with the suite's files, systemd's own units and stand-ins for the programs.
fn root(level: Level) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let host = ["/usr/lib/systemd/system", "/lib/systemd/system"].map(Path::new);
    let host = host.into_iter().find(|path| path.join("sysinit.target").exists()).unwrap();
    fs::create_dir_all(root.path().join("usr/lib/systemd")).unwrap();
    symlink("usr/lib", root.path().join("lib")).unwrap();
    let copied =
        run(Command::new("cp").arg("-a").arg(host).arg(root.path().join("usr/lib/systemd/")));
    assert!(copied.status.success(), "{}", said(&copied));
    for File { folder, name, contents } in files(level) {
        let folder = root.path().join(folder.installed());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), contents).unwrap();
    }
    let binaries = SERVICES.iter().map(|service| service.binary());
    let binaries = binaries.chain(["/usr/bin/marketprism".to_owned()]);
    for program in binaries.chain(["/usr/sbin/nats-server".to_owned(), "/bin/kill".to_owned()]) {
        let path = root.path().join(program.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy("/bin/true", path).unwrap();
    }
    root
}

fn with_root(program: &str, root: &Path) -> Command {
    let mut command = Command::new(program);
    let mut argument = std::ffi::OsString::from("--root=");
    argument.push(root);
    command.arg(argument);
    command
}

/// The names to verify: a template is judged through an instance.
fn names(level: Level) -> Vec<String> {
    let units = files(level).into_iter().filter(|file| file.folder == Folder::Units);
    units.map(|file| file.name.replace("@.", "@pair.")).collect()
}

#[test]
fn systemd_has_nothing_to_say_about_any_unit() {
    for level in levels() {
        let root = root(level);
        let all = files(level).into_iter().filter(|file| file.contents.contains("[Install]"));
        let all = all.map(|file| file.name);
        let enabled = run(with_root("systemctl", root.path()).arg("preset").args(all));
        assert!(enabled.status.success(), "{}", said(&enabled));
        let wants = root.path().join("etc/systemd/system/marketprism.target.wants");
        assert_eq!(fs::read_dir(wants).unwrap().count(), SERVICES.len() + 1, "and the socket");

        let mut command = with_root("systemd-analyze", root.path());
        let output = run(command.arg("--man=no").arg("verify").args(names(level)));
        assert_eq!(said(&output), "", "level {}", level.number());
        assert!(output.status.success());
    }
}

#[test]
fn a_setting_that_systemd_does_not_know_would_be_noticed() {
    let root = root(Level::V252);
    let unit = root.path().join("usr/lib/systemd/system/marketprism-storage.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("[Service]\n", "[Service]\nRestartForever=yes\n")).unwrap();

    let mut command = with_root("systemd-analyze", root.path());
    let output = run(command.arg("--man=no").arg("verify").arg("marketprism-storage.service"));

    assert!(said(&output).contains("RestartForever"), "{}", said(&output));
}

/// Exposure ×10 above which a unit fails; the project promises 1.3.
const EXPOSURE_MAX: &str = "--threshold=13";

#[test]
fn every_service_is_hardly_exposed() {
    for level in levels() {
        let root = root(level);
        for name in names(level).iter().filter(|name| name.ends_with(".service")) {
            let file = root.path().join("usr/lib/systemd/system").join(name.replace("pair", ""));
            let mut command = Command::new("systemd-analyze");
            let output = run(command
                .args(["security", "--no-pager", "--offline=yes", EXPOSURE_MAX])
                .arg(file));
            assert!(output.status.success(), "{name}: {}", said(&output));
        }
    }
}

#[test]
fn the_accounts_are_created_in_an_empty_root() {
    for level in levels() {
        let root = root(level);
        fs::create_dir_all(root.path().join("etc")).unwrap();

        let output = run(&mut with_root("systemd-sysusers", root.path()));

        assert!(output.status.success(), "{}", said(&output));
        let passwd = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
        let group = fs::read_to_string(root.path().join("etc/group")).unwrap();
        let line = group.lines().find(|line| line.starts_with("marketprism:")).unwrap();
        let gid = line.split(':').nth(2).unwrap();
        for service in SERVICES {
            let user =
                passwd.lines().find(|line| line.starts_with(&format!("{}:", service.unit())));
            assert_eq!(user.unwrap().split(':').nth(3), Some(gid), "{}", service.unit());
        }
    }
}
