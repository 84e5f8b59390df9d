//! A real `redis-server` or `valkey-server` for tests.

use crate::ports::free_address;
use crate::process::Process;
use anyhow::{Context as _, bail};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one exchange with the server may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(5);

/// A running server of its own without persistence, killed and removed on drop.
///
/// The directory is kept if the test panics, and named on stderr.
pub struct RedisServer {
    program: PathBuf,
    process: Process,
    listen: SocketAddr,
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
        let program = find_binary()?;
        let mut process = Process::new("redis-server")?;
        let listen = free_address()?;
        let directory = process.directory();
        fs::write(directory.join("redis.conf"), configuration(listen, directory, lines))?;
        process.start(command(&program, directory), || is_ready(listen))?;
        Ok(Self { program, process, listen })
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
    /// As [`RedisServer::freeze`].
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.process.thaw()
    }

    /// Starts it again at the same address, empty, after [`RedisServer::kill`].
    ///
    /// # Errors
    ///
    /// As [`RedisServer::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let command = command(&self.program, self.process.directory());
        self.process.start(command, || is_ready(self.listen))
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

fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(directory.join("redis.conf")).stdin(Stdio::null());
    command
}

/// Whether the server answers commands, be it with a demand for a password.
fn is_ready(listen: SocketAddr) -> bool {
    match query(listen, &["PING"]) {
        Ok(Reply::Text(_)) => true,
        Ok(Reply::Error(text)) => text.starts_with("NOAUTH"),
        Ok(_) | Err(_) => false,
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
