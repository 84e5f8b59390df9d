//! A process with a notification socket, a configuration and a port of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything is waited for.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Process {
    child: Child,
    notifications: UnixDatagram,
    directory: TempDir,
    pub(crate) port: u16,
}

/// How a process ended, and what it wrote to stderr.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

pub(crate) struct Setup {
    example: &'static str,
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    handed_over: Option<TcpListener>,
}

/// The path of a program that stands among the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(name)
}

impl Setup {
    pub(crate) fn new(example: &'static str) -> Self {
        Self {
            example,
            directory: tempfile::tempdir().unwrap(),
            port: testkit::ports::free_address().unwrap().port(),
            arguments: Vec::new(),
            variables: Vec::new(),
            handed_over: None,
        }
    }

    /// Writes the configuration; `PORT` stands for the port.
    pub(crate) fn configured(self, text: &str) -> Self {
        write(self.directory.path(), self.port, text);
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Hands a listening socket over, as systemd does.
    pub(crate) fn behind_socket(mut self, listener: TcpListener) -> Self {
        self.port = listener.local_addr().unwrap().port();
        self.handed_over = Some(listener);
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn start(mut self) -> Process {
        let socket = self.directory.path().join("notify");
        let notifications = UnixDatagram::bind(&socket).unwrap();
        notifications.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut command = match self.handed_over.take() {
            None => Command::new(example(self.example)),
            Some(listener) => {
                // The shell moves the socket to descriptor 3 and becomes the process, so that
                // $LISTEN_PID is right.
                let mut command = Command::new("/bin/sh");
                let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 \
                              LISTEN_FDNAMES=http exec \"$0\" \"$@\"";
                command.arg("-c").arg(script).arg(example(self.example));
                command.stdin(Stdio::from(OwnedFd::from(listener)));
                command
            }
        };
        let child = command
            .args(["--config", self.directory.path().join("services.yaml").to_str().unwrap()])
            .args(["--state-directory", self.directory.path().join("state").to_str().unwrap()])
            .args(&self.arguments)
            .env_remove("WATCHDOG_USEC")
            .env_remove("JOURNAL_STREAM")
            .env("NOTIFY_SOCKET", &socket)
            .envs(self.variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.example));
        Process { child, notifications, directory: self.directory, port: self.port }
    }

    /// Runs it to its end; the first text is what it wrote to stdout.
    pub(crate) fn run(self) -> (String, Ended) {
        let mut process = self.start();
        let mut stdout = process.child.stdout.take().unwrap();
        let ended = process.end();
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        (text, ended)
    }
}

fn write(directory: &Path, port: u16, text: &str) {
    let text = text.replace("PORT", &port.to_string());
    std::fs::write(directory.join("services.yaml"), text).unwrap();
}

impl Process {
    pub(crate) fn reconfigure(&self, text: &str) {
        write(self.directory.path(), self.port, text);
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The next notification, if one comes within this time.
    pub(crate) fn notification(&self, within: Duration) -> Option<String> {
        let deadline = Instant::now() + within;
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            if let Ok(length) = self.notifications.recv(&mut buffer) {
                return Some(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
        }
        None
    }

    /// The first notification that has this line.
    pub(crate) fn notified(&self, line: &str) -> String {
        let mut seen = Vec::new();
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(message) = self.notification(Duration::from_millis(100)) {
                if message.lines().any(|found| found.starts_with(line)) {
                    return message;
                }
                seen.push(message);
            }
        }
        panic!("no {line} within {SOON:?}, only {seen:?}");
    }

    /// Everything that comes within this time.
    pub(crate) fn notifications(&self, within: Duration) -> Vec<String> {
        let deadline = Instant::now() + within;
        let mut all = Vec::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            all.extend(self.notification(left));
        }
        all
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\
             \r\n\r\n{body}"
        ))
    }

    pub(crate) fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + SOON;
        while self.is_running() {
            assert!(Instant::now() < deadline, "still running after {SOON:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = self.child.wait().unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ended { status, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
