//! Killed in the middle of what it does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const SECOND: i64 = 1_000_000_000;

/// A service that notes the keys it was asked with, and answers or never does.
struct Peer {
    url: String,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    fn start(answers: bool) -> Self {
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

    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    fn asked(&self, more: usize) {
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
fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "it does not get there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program, killed on drop.
struct Scheduler {
    child: Child,
    port: u16,
}

impl Scheduler {
    fn start(directory: &Path, peer: &Peer) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            "scheduler:\n  listen: 127.0.0.1:{port}\n  tasks:\n    - id: t\n      \
             schedule: \"* * * * * *\"\n      service: storage\n      path: /there\n      \
             catch_up: all\n      catch_up_limit: 1000\n      timeout: 1h\n\
             monitoring:\n  services:\n    storage: {}\n",
            peer.url
        );
        let file = directory.join("services.yaml");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_marketprism-scheduler"))
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

    /// The history, the newest first; `None` while nobody answers.
    fn history(&self) -> Option<Vec<Value>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = "GET /api/v1/scheduler/history?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\
                       Connection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let page: Value = serde_json::from_str(body).ok()?;
        page["data"].as_array().cloned()
    }

    /// `SIGKILL`: no farewell, and no end of what is open.
    fn kill(mut self) {
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

#[test]
fn a_run_that_was_cut_is_interrupted_and_its_tick_does_not_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start(false);
    let scheduler = Scheduler::start(directory.path(), &peer);
    peer.asked(1);
    scheduler.kill();
    let scheduler = Scheduler::start(directory.path(), &peer);
    peer.asked(1);
    let runs = eventually(|| scheduler.history());
    let keys = peer.keys();
    let cut = runs.iter().find(|run| run["state"] == "interrupted").unwrap();
    assert_eq!(format!("t/{}", cut["tick"]), keys[0]);
    assert_eq!(cut["error"], "the scheduler ended before the service answered");
    assert_eq!(keys.iter().filter(|key| **key == keys[0]).count(), 1);
}

#[test]
fn killed_again_and_again_it_answers_every_tick_once() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start(true);
    for _ in 0..5 {
        let scheduler = Scheduler::start(directory.path(), &peer);
        peer.asked(1);
        scheduler.kill();
    }
    let scheduler = Scheduler::start(directory.path(), &peer);
    peer.asked(3);
    let runs = eventually(|| scheduler.history());
    let ended = |run: &&Value| run["state"] == "succeeded" || run["state"] == "interrupted";
    let mut ticks: Vec<i64> =
        runs.iter().filter(ended).map(|run| run["tick"].as_i64().unwrap()).collect();
    ticks.reverse();
    assert!(ticks.len() >= 6, "{runs:?}");
    assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] == SECOND), "{ticks:?}");
    let mut keys = peer.keys();
    let asked = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), asked, "a tick ran twice");
}
