//! A real `redis-server` or `valkey-server` for tests.

use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start may take.
const READY_MAX: Duration = Duration::from_secs(30);

/// How often a start is repeated when another process took a port between choosing and binding it.
const STARTS_MAX: usize = 5;

/// How long one exchange with the server may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(5);

/// A running server of its own without persistence, killed and removed on drop.
///
/// The directory is kept if the test panics, and named on stderr.
pub struct RedisServer {
    binary: PathBuf,
    directory: Option<TempDir>,
    listen: SocketAddr,
    child: Option<Child>,
}

/// What the server answers to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A value, or a word such as `OK`.
    Text(String),
    /// A count.
    Number(i64),
    /// No such key.
    Nothing,
    /// Several values.
    List(Vec<Reply>),
    /// A refusal, with its code.
    Error(String),
}

impl RedisServer {
    /// Starts a server with nothing configured but its address.
    ///
    /// # Errors
    ///
    /// No server's program on this machine, or it does not become ready.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with("")
    }

    /// Starts a server with further lines of configuration.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub fn start_with(lines: &str) -> anyhow::Result<Self> {
        let binary = find_binary()?;
        let directory = tempfile::Builder::new().prefix("redis-").tempdir()?;
        let mut last = None;
        for _ in 0..STARTS_MAX {
            let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let text = configuration(listen, directory.path(), lines);
            fs::write(directory.path().join("redis.conf"), text)?;
            let mut child = spawn(&binary, directory.path())?;
            match wait_until_ready(&mut child, listen, directory.path()) {
                Ok(()) => {
                    let directory = Some(directory);
                    return Ok(Self { binary, directory, listen, child: Some(child) });
                }
                Err(error) => {
                    end(&mut child);
                    let taken = format!("{error:#}").contains("Address already in use");
                    last = Some(error);
                    if !taken {
                        break;
                    }
                }
            }
        }
        Err(last.context("no start was tried")?)
    }

    /// The URL for clients, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.listen)
    }

    /// Where it listens, on loopback.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Sends one command on a connection of its own and returns the answer.
    ///
    /// # Errors
    ///
    /// The server is not there, or says something that is no answer.
    pub fn query(&self, words: &[&str]) -> anyhow::Result<Reply> {
        query(self.listen, words)
    }

    /// The text at a key; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::query`], and if the key does not hold a text.
    pub fn get(&self, key: &str) -> anyhow::Result<Option<String>> {
        match self.query(&["GET", key])? {
            Reply::Text(text) => Ok(Some(text)),
            Reply::Nothing => Ok(None),
            Reply::Error(text) => bail!("GET {key}: {text}"),
            Reply::Number(_) | Reply::List(_) => bail!("GET {key}: no text"),
        }
    }

    /// What it has logged so far.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.directory().join("redis.log"))?)
    }

    /// Ends the server as a power cut of the process would: `SIGKILL`, no farewell.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }

    /// Stops the process without ending it, so that connections stay open and nothing answers.
    ///
    /// # Errors
    ///
    /// The server is not running, or the signal cannot be sent.
    pub fn freeze(&self) -> anyhow::Result<()> {
        signal(self.child.as_ref().context("the server is not running")?, "STOP")
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::freeze`].
    pub fn thaw(&self) -> anyhow::Result<()> {
        signal(self.child.as_ref().context("the server is not running")?, "CONT")
    }

    /// Starts it again at the same address, empty, after [`RedisServer::kill`].
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        let mut child = spawn(&self.binary, self.directory())?;
        if let Err(error) = wait_until_ready(&mut child, self.listen, self.directory()) {
            end(&mut child);
            return Err(error);
        }
        self.child = Some(child);
        Ok(())
    }

    fn directory(&self) -> &Path {
        self.directory.as_ref().expect("taken only on drop").path()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if let Some(directory) = self.directory.take()
            && std::thread::panicking()
        {
            let kept = directory.keep();
            // A failed write to stderr leaves nobody to tell.
            drop(writeln!(
                std::io::stderr(),
                "the Redis server's directory is kept: {}",
                kept.display()
            ));
        }
    }
}

/// Finds the server's program on `PATH` or where Debian installs it.
///
/// # Errors
///
/// It is not installed; the message has the command that installs it.
pub fn find_binary() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin")])
        .flat_map(|directory| ["redis-server", "valkey-server"].map(|name| directory.join(name)))
        .find(|program| program.is_file())
        .context("redis-server is not installed: apt-get install -y redis-server")
}

fn configuration(listen: SocketAddr, directory: &Path, lines: &str) -> String {
    let (ip, port) = (listen.ip(), listen.port());
    let directory = directory.display();
    // Nothing is saved: a restart finds an empty server, which is the harder case.
    format!("bind {ip}\nport {port}\ndir {directory}\nsave \"\"\nappendonly no\n{lines}\n")
}

fn spawn(binary: &Path, directory: &Path) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(directory.join("redis.log"))?;
    Command::new(binary)
        .arg(directory.join("redis.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))
}

fn end(child: &mut Child) {
    // Both fail only if the process has ended and was waited for.
    drop(child.kill());
    drop(child.wait());
}

fn signal(child: &Child, name: &str) -> anyhow::Result<()> {
    let status =
        Command::new("/bin/sh").arg("-c").arg(format!("kill -s {name} {}", child.id())).status()?;
    if !status.success() {
        bail!("signal {name} to process {}: {status}", child.id());
    }
    Ok(())
}

/// Waits until the server answers commands, be it with a demand for a password.
fn wait_until_ready(child: &mut Child, listen: SocketAddr, directory: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        if let Some(status) = child.try_wait()? {
            let log = fs::read_to_string(directory.join("redis.log"))?;
            bail!("the Redis server ended with {status} while starting:\n{log}");
        }
        match query(listen, &["PING"]) {
            Ok(Reply::Text(_)) => return Ok(()),
            Ok(Reply::Error(text)) if text.starts_with("NOAUTH") => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        if Instant::now() > deadline {
            let log = fs::read_to_string(directory.join("redis.log"))?;
            bail!("the Redis server was not ready within {} s:\n{log}", READY_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends one command to a server on a connection of its own and returns the answer.
///
/// # Errors
///
/// The server is not there, or says something that is no answer.
pub fn query(address: SocketAddr, words: &[&str]) -> anyhow::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, EXCHANGE_MAX)?;
    stream.set_read_timeout(Some(EXCHANGE_MAX))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    read(&mut BufReader::new(stream))
}

/// Reads one answer: <https://redis.io/docs/latest/develop/reference/protocol-spec/>, RESP2.
fn read(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at_checked(1).context("an empty answer")?;
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Number(rest.parse()?),
        "$" | "*" if rest == "-1" => Reply::Nothing,
        "$" => {
            let mut text = vec![0; rest.parse::<usize>()? + 2];
            stream.read_exact(&mut text)?;
            text.truncate(text.len() - 2);
            Reply::Text(String::from_utf8(text)?)
        }
        "*" => {
            let items = (0..rest.parse::<usize>()?).map(|_| read(stream));
            Reply::List(items.collect::<anyhow::Result<_>>()?)
        }
        _ => bail!("no answer: {line:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_dies_and_comes_back_at_the_same_address() {
        let mut server = RedisServer::start().unwrap();
        let url = server.url();
        assert_eq!(server.query(&["SET", "a", "1"]).unwrap(), Reply::Text("OK".to_owned()));
        assert_eq!(server.get("a").unwrap().as_deref(), Some("1"));
        server.kill();
        assert!(server.query(&["PING"]).is_err());
        server.restart().unwrap();
        assert_eq!(server.url(), url);
        assert_eq!(server.get("a").unwrap(), None, "it keeps nothing");
    }

    #[test]
    fn a_configuration_the_server_refuses_is_reported_with_its_words() {
        let error = RedisServer::start_with("nonsense_key 1").err().unwrap();
        assert!(format!("{error:#}").contains("nonsense_key"), "{error:#}");
    }
}
