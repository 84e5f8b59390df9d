//! The program with a service that it asks, for the tests of this directory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const SECOND: i64 = 1_000_000_000;

/// A service that notes the keys it was asked with, and answers or never does.
pub(super) struct Peer {
    url: String,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    pub(super) fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&keys);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // One that was killed while it asked has not asked.
                let Some(key) = key(&stream) else { continue };
                noted.lock().unwrap().push(key);
                if answers {
                    // It may have been killed by now.
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
                } else {
                    held.push(stream);
                }
            }
        });
        Self { url, keys }
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    /// Waits until so many more requests have come.
    pub(super) fn asked(&self, more: usize) {
        let wanted = self.keys().len() + more;
        eventually(|| (self.keys().len() >= wanted).then_some(()));
    }
}

/// Reads a request's head to its end; its `Idempotency-Key`.
fn key(stream: &TcpStream) -> Option<String> {
    let mut key = None;
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        if line.is_empty() {
            return key;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("idempotency-key: ") {
            key = Some(value.to_owned());
        }
    }
    None
}

/// Asks until there is an answer.
pub(super) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "it does not get there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Debian's library that tells a program another time.
const FAKETIME: (&str, &str) =
    ("libfaketime", "usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1");

/// A clock that can be set, for a program of its own; how much time passes is not its affair.
pub(super) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// One that is right, kept in this directory.
    pub(super) fn new(directory: &Path) -> Self {
        let (package, path) = FAKETIME;
        let library = testkit::debian::file(package, path).unwrap();
        let clock = Self { library, file: directory.join("clock") };
        clock.set(0);
        clock
    }

    /// Sets it so many seconds ahead of the host's, or behind; it is noticed within a second.
    pub(super) fn set(&self, ahead: i64) {
        // By rename: the library must never read half of it.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{ahead:+}\n")).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }
}

/// The program, killed on drop.
pub(super) struct Scheduler {
    child: Child,
    port: u16,
}

impl Scheduler {
    /// With a task of every second, each tick of which runs.
    pub(super) fn start(directory: &Path, peer: &Peer) -> Self {
        Self::start_with(directory, peer, "catch_up: all, catch_up_limit: 1000", "")
    }

    /// With a task of every second, more keys of it, and more of the section `scheduler` and of the
    /// others.
    pub(super) fn start_with(directory: &Path, peer: &Peer, keys: &str, others: &str) -> Self {
        let keys = format!("schedule: \"* * * * * *\", {keys}");
        Self::launch(directory, peer, &keys, others, None)
    }

    /// With a task of these keys, by a clock that can be set.
    pub(super) fn start_by(clock: &Clock, directory: &Path, peer: &Peer, keys: &str) -> Self {
        Self::launch(directory, peer, keys, "", Some(clock))
    }

    fn launch(
        directory: &Path,
        peer: &Peer,
        keys: &str,
        others: &str,
        clock: Option<&Clock>,
    ) -> Self {
        let port = testkit::ports::free_address().unwrap().port();
        let task = format!("{{id: t, service: storage, path: /there, timeout: 1h, {keys}}}");
        let configuration = format!(
            "scheduler:\n  listen: 127.0.0.1:{port}\n  tasks:\n    - {task}\n{others}\
             monitoring:\n  services:\n    storage: {}\n",
            peer.url
        );
        let file = directory.join("services.yaml");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_marketprism-scheduler"));
        if let Some(clock) = clock {
            clock.give(&mut command);
        }
        let child = command
            .arg("--config")
            .arg(&file)
            .arg("--state-directory")
            .arg(directory.join("state"))
            .env_remove("WATCHDOG_USEC")
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// An answer; `None` while there is none.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!(
            "GET /api/v1/scheduler/{path} HTTP/1.1\r\nHost: localhost\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }

    /// The history, the newest first; `None` while nobody answers.
    pub(super) fn history(&self) -> Option<Vec<Value>> {
        self.get("history?limit=1000")?["data"].as_array().cloned()
    }

    /// Waits until the status is as wanted.
    pub(super) fn stands(&self, wanted: impl Fn(&Value) -> bool) {
        eventually(|| self.get("status").filter(&wanted).map(drop));
    }

    /// `SIGKILL`: no farewell, and no end of what is open.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // Killed before, or the test has failed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
