//! A real ClickHouse for tests.
//!
//! The engine is the library of a published package, which `npm` fetches once into the workspace's
//! `target/clickhouse`. A program of ours loads it and lets it listen: `clickhouse local` can, since
//! 26.5 (<https://github.com/ClickHouse/ClickHouse/pull/101143>).

use crate::ports::free_address;
use crate::process::{Process, answers_ok};
use anyhow::{Context as _, ensure};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What it is called.
const NAME: &str = "ClickHouse";
/// The package and its version; the tag `latest` is older and cannot listen.
const PACKAGE: &str = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1";
/// The library inside it, 566 MB.
const LIBRARY: &str = "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so";
/// What makes it a server: it listens, then is busy until it is killed.
const SERVE: &str = "SELECT sleepEachRow(1) FROM numbers(1000000000) \
                     SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 \
                     FORMAT Null";

/// A running ClickHouse of its own, killed and removed on drop.
///
/// It has the user `default` without a password, listens on loopback only, and speaks HTTP.
/// The directory is kept if the test panics, and named on stderr.
pub struct ClickHouse {
    engine: Engine,
    process: Process,
    listen: Listen,
}

/// Where a server listens, on one address.
#[derive(Debug, Clone, Copy)]
pub struct Listen {
    /// For HTTP.
    pub http: SocketAddr,
    /// For its own protocol, if it is to speak it.
    pub native: Option<SocketAddr>,
}

/// The engine, ready to be started.
#[derive(Debug, Clone)]
pub struct Engine {
    launcher: PathBuf,
    library: PathBuf,
}

impl Engine {
    /// The engine, fetched if need be, and its launcher, which was built into this folder.
    ///
    /// # Errors
    ///
    /// The engine cannot be fetched.
    pub fn beside(programs: &Path) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Ok(Self { launcher: programs.join("clickhouse-engine"), library: library(&root)? })
    }

    /// The engine, fetched if need be, and its launcher, built in the profile of the running test.
    ///
    /// # Errors
    ///
    /// One of them cannot be had.
    pub fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Ok(Self { library: library(&root)?, launcher: launcher(&root)? })
    }

    /// What `clickhouse local` answers to a query, which may read files, as tabs and lines.
    ///
    /// # Errors
    ///
    /// The engine refuses it; the error has its words.
    pub fn query(&self, query: &str) -> anyhow::Result<String> {
        let directory = tempfile::tempdir()?;
        // The library keeps what it would print.
        let answer = directory.path().join("answer");
        let outfile = format!("{query} INTO OUTFILE '{}' FORMAT TSV", answer.display());
        let mut command = Command::new(&self.launcher);
        command.arg(&self.library).arg(format!("--query={outfile}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start the engine")?;
        // It would end with its standard input before it has answered.
        let held = child.stdin.take();
        let output = child.wait_with_output()?;
        drop(held);
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{query}: {}: {complaint}", output.status);
        fs::read_to_string(answer).with_context(|| format!("{query}: no answer: {complaint}"))
    }

    /// Has a server on this directory never merge parts, so that a row that was inserted twice
    /// stays twice.
    ///
    /// # Errors
    ///
    /// The configuration cannot be written.
    pub fn hold_merges(directory: &Path) -> anyhow::Result<()> {
        let settings = [
            ("max_bytes_to_merge_at_max_space_in_pool", 1),
            ("max_bytes_to_merge_at_min_space_in_pool", 1),
            ("parts_to_delay_insert", 100_000),
            ("parts_to_throw_insert", 100_000),
        ];
        configure(directory, &settings)
    }

    /// Has a server on this directory keep what parts were merged from for eight minutes, as a
    /// server does that is installed; the engine alone removes it at once.
    ///
    /// # Errors
    ///
    /// The configuration cannot be written.
    pub fn keep_sources(directory: &Path) -> anyhow::Result<()> {
        configure(directory, &[("old_parts_lifetime", 480)])
    }

    /// What starts a server on the data of this directory; it ends with its standard input.
    #[must_use]
    pub fn command(&self, directory: &Path, listen: Listen) -> Command {
        let config = config_path(directory);
        let config = config.exists().then(|| format!("--config-file={}", config.display()));
        let mut command = Command::new(&self.launcher);
        command
            .arg(&self.library)
            .args(config)
            .arg(format!("--path={}", directory.join("data").display()))
            .arg(format!("--listen_host={}", listen.http.ip()))
            .arg(format!("--http_port={}", listen.http.port()))
            .stdin(Stdio::piped());
        let native = listen.native.map_or("", |native| {
            command.arg(format!("--tcp_port={}", native.port()));
            "SYSTEM START LISTEN TCP; "
        });
        command.arg(format!("--query=SYSTEM START LISTEN HTTP; {native}{SERVE}"));
        command
    }
}

/// Writes settings of all tables of a server on this directory.
fn configure(directory: &Path, settings: &[(&str, u32)]) -> anyhow::Result<()> {
    let settings: String =
        settings.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let text = format!("<clickhouse><merge_tree>{settings}</merge_tree></clickhouse>");
    Ok(fs::write(config_path(directory), text)?)
}

/// Empties the marks of a part, as a disk that was full left them: the server counts it as good, and
/// cannot read it once it has forgotten what it knows of it (`SYSTEM DROP MARK CACHE`).
///
/// # Errors
///
/// The folder cannot be read, or there are no marks in it.
pub fn empty_the_marks(part: &Path) -> anyhow::Result<()> {
    let mut count = 0;
    for entry in fs::read_dir(part).with_context(|| part.display().to_string())? {
        let file = entry?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| extension.contains("mrk")) {
            fs::write(file, "")?;
            count += 1;
        }
    }
    ensure!(count > 0, "no marks in {}", part.display());
    Ok(())
}

impl ClickHouse {
    /// Starts a server without any table.
    ///
    /// # Errors
    ///
    /// The engine is not there and cannot be fetched, or it does not become ready.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_in(Process::new(NAME)?, false)
    }

    /// Starts a server that speaks its own protocol as well.
    ///
    /// # Errors
    ///
    /// As [`ClickHouse::start`].
    pub fn start_with_native() -> anyhow::Result<Self> {
        Self::start_in(Process::new(NAME)?, true)
    }

    /// Starts a server that has one more user, with a password; both are letters and digits. The
    /// user may do everything, or what the grants say, such as `SELECT ON marketprism.*`.
    ///
    /// The engine has no place for users that statements make, but those of its configuration have
    /// grants like those of any server.
    ///
    /// # Errors
    ///
    /// As [`ClickHouse::start`].
    pub fn start_with_user(name: &str, password: &str, grants: &[&str]) -> anyhow::Result<Self> {
        let process = Process::new(NAME)?;
        let users = process.directory().join("users.xml");
        let user = |name: &str, password: &str, grants: &str| {
            format!(
                "<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks>\
                 <profile>default</profile><quota>default</quota>{grants}</{name}>"
            )
        };
        let grant = |grant: &&str| format!("<query>GRANT {grant}</query>");
        let queries: String = grants.iter().map(grant).collect();
        let grants =
            if grants.is_empty() { queries } else { format!("<grants>{queries}</grants>") };
        // The engine's own session is that of `default`, and has no password to give.
        let both = user("default", "", "") + &user(name, password, &grants);
        let text = format!(
            "<clickhouse><profiles><default/></profiles><users>{both}</users>\
             <quotas><default/></quotas></clickhouse>"
        );
        fs::write(&users, text)?;
        let config =
            format!("<clickhouse><users_config>{}</users_config></clickhouse>", users.display());
        fs::write(config_path(process.directory()), config)?;
        Self::start_in(process, false)
    }

    fn start_in(mut process: Process, native: bool) -> anyhow::Result<Self> {
        let engine = Engine::find()?;
        let native = native.then(free_address).transpose()?;
        let listen = Listen { http: free_address()?, native };
        // Its standard input is held by the child's handle: when we are gone, the engine ends.
        let command = engine.command(process.directory(), listen);
        process.start(command, || answers(listen.http))?;
        Ok(Self { engine, process, listen })
    }

    /// The URL of its HTTP interface.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen.http)
    }

    /// Where it listens.
    #[must_use]
    pub const fn listen(&self) -> Listen {
        self.listen
    }

    /// What it has written so far.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        self.process.log()
    }

    /// Ends the server as a power cut of the process would: `SIGKILL`, no farewell.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the process without ending it, so that connections stay open and nothing answers.
    ///
    /// # Errors
    ///
    /// The server is not running, or the signal cannot be sent.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.process.freeze()
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// As [`ClickHouse::freeze`].
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.process.thaw()
    }

    /// Starts it again at the same address, on the same data, after [`ClickHouse::kill`].
    ///
    /// # Errors
    ///
    /// As [`ClickHouse::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let command = self.engine.command(self.process.directory(), self.listen);
        self.process.start(command, || answers(self.listen.http))
    }
}

fn config_path(directory: &Path) -> PathBuf {
    directory.join("config.xml")
}

fn answers(address: SocketAddr) -> bool {
    answers_ok(address, "/ping")
}

/// The engine; one process fetches it, others wait.
fn library(root: &Path) -> anyhow::Result<PathBuf> {
    let directory = root.join("target/clickhouse");
    fs::create_dir_all(&directory)?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock().context("wait for another process that fetches the engine")?;
    let library = directory.join(LIBRARY);
    if !directory.join("installed").exists() {
        fetch(&directory)?;
        ensure!(library.is_file(), "{PACKAGE} has no {LIBRARY}");
        fs::write(directory.join("installed"), PACKAGE)?;
    }
    Ok(library)
}

fn fetch(directory: &Path) -> anyhow::Result<()> {
    crate::progress(format_args!("fetching ClickHouse's engine, 178 MB, once"));
    let output = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(directory)
        .arg(PACKAGE)
        .output()
        .context("npm cannot be started, which fetches ClickHouse: apt-get install -y npm")?;
    ensure!(
        output.status.success(),
        "npm cannot fetch {PACKAGE}; tests with ClickHouse need it once:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Builds the launcher in the profile of the running test, so that nothing is compiled twice; one
/// process does it, others wait.
fn launcher(root: &Path) -> anyhow::Result<PathBuf> {
    let lock = File::create(root.join("target/clickhouse/launcher.lock"))?;
    lock.lock().context("wait for another process that builds the launcher")?;
    let here = std::env::current_exe()?;
    let profile = here.ancestors().nth(2).context("a test runs from target/<profile>/deps")?;
    let program = profile.join("clickhouse-engine");
    let source = root.join("crates/testkit/src/bin/clickhouse_engine.rs");
    // A call of cargo would wait for any other that is at work, such as the one that runs the tests.
    if is_newer(&program, &source) {
        return Ok(program);
    }
    let name = profile.file_name().and_then(|name| name.to_str()).unwrap_or("debug");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--package", "testkit", "--bin", "clickhouse-engine"])
        .args(["--profile", if name == "debug" { "dev" } else { name }])
        .output()
        .context("cargo cannot be started")?;
    ensure!(
        output.status.success(),
        "the engine's launcher cannot be built:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(program)
}

fn is_newer(program: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    time(program).zip(time(source)).is_some_and(|(program, source)| program > source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_dies_and_comes_back_at_the_same_address() {
        let mut server = ClickHouse::start().unwrap();
        let url = server.url();
        assert!(answers(server.listen.http));
        server.kill();
        assert!(!answers(server.listen.http));
        server.restart().unwrap();
        assert_eq!(server.url(), url);
        assert!(answers(server.listen.http));
    }
}
