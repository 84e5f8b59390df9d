//! A TCP proxy whose connections fail on request.
//!
//! ```text
//! client ◀──▶ listener ──▶ pump ──(delay line)──▶ upstream
//!                           ▲
//!                         Mode, changed while connections are open
//! ```
//!
//! All that the suite says and hears passes here, and takes processor time that the suite is
//! measured without: while no fault is on, bytes are read into one buffer and written out of it.

use anyhow::Context as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

mod http;
#[cfg(test)]
mod tests;

/// Bytes read at once, and the buffer of each direction of a connection.
const CHUNK: usize = 256 * 1024;

/// Chunks on their way in one direction; with more the reader waits, as a full link does.
const DELAY_LINE: usize = 256;

/// What the proxy does to its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// Every byte arrives this much later, in both directions.
    Latency(Duration),
    /// Nothing is read or written any more and no socket is closed, as when the peer lost its
    /// power. Connections that were struck never recover; new ones are accepted and struck too.
    HalfOpen,
    /// A connection ends once so many more bytes came from the upstream: with 0, the request
    /// arrives and its answer does not. At the latest it ends with this mode.
    CutAfter(u64),
    /// Connections are reset, `RST` instead of a farewell; new ones too.
    Reset,
    /// Every HTTP request is answered with 200 and this code in `X-ClickHouse-Exception-Code`, as
    /// a server does that failed after it had sent its headers
    /// (<https://github.com/ClickHouse/ClickHouse/issues/65117>).
    Exception(u32),
}

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    counts: Arc<Counts>,
}

/// What a proxy and its connections count together.
#[derive(Debug, Default)]
struct Counts {
    /// How often the mode was changed.
    changes: AtomicU64,
    /// Connections struck, each once after a change.
    struck: AtomicU64,
}

impl Proxy {
    /// Listens on a port of its own; connections live in `tasks`, and end with it.
    ///
    /// # Errors
    ///
    /// No port to listen on.
    pub async fn open(upstream: SocketAddr, tasks: &mut JoinSet<()>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a proxy")?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::Pass);
        let counts = Arc::<Counts>::default();
        tasks.spawn(accept(listener, upstream, mode.subscribe(), Arc::clone(&counts)));
        Ok(Self { address, mode, counts })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens, to open connections as well.
    pub fn set(&self, mode: Mode) {
        self.counts.changes.fetch_add(1, Ordering::Relaxed);
        self.mode.send_replace(mode);
    }

    /// How many connections were struck, each once for every mode that struck it.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.counts.struck.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    mode: watch::Receiver<Mode>,
    counts: Arc<Counts>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let (mode, counts) = (mode.clone(), Arc::clone(&counts));
                    connections.spawn(connection(client, upstream, mode, counts));
                }
                // Descriptors are short: some connection has to end first.
                Err(_) => { connections.join_next().await; }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// How a connection ends, or becomes another.
enum Turn {
    /// Both sides are done, or one failed.
    Over,
    /// It counts no more bytes: both sides get a farewell.
    Cut,
    /// The mode wants something else than bytes to flow.
    Changed,
}

async fn connection(
    client: TcpStream,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    counts: Arc<Counts>,
) {
    let mark = Mark { counts, made: AtomicU64::new(0) };
    if matches!(*mode.borrow(), Mode::Pass | Mode::Latency(_) | Mode::CutAfter(_)) {
        // An upstream that is down refuses; so does the proxy, by closing.
        let Ok(server) = TcpStream::connect(upstream).await else { return };
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        match flow(client, server, &mut mode, &mark).await {
            (Turn::Over | Turn::Cut, ..) => {}
            (Turn::Changed, client, server) => strike(client, Some(server), &mode, &mark).await,
        }
        return;
    }
    strike(client, None, &mode, &mark).await;
}

/// Counts a connection as struck, once after each change of the mode.
struct Mark {
    counts: Arc<Counts>,
    /// After which change it was counted last.
    made: AtomicU64,
}

impl Mark {
    fn make(&self) {
        let change = self.counts.changes.load(Ordering::Relaxed);
        if self.made.swap(change, Ordering::Relaxed) != change {
            self.counts.struck.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Does what needs no bytes to flow.
async fn strike(
    client: TcpStream,
    server: Option<TcpStream>,
    mode: &watch::Receiver<Mode>,
    mark: &Mark,
) {
    let now = *mode.borrow();
    match now {
        // The end of a cut, or another mode so short that it was not seen: the connection ends.
        Mode::Pass | Mode::Latency(_) | Mode::CutAfter(_) => mark.make(),
        Mode::HalfOpen => {
            mark.make();
            // Until the client gives up and the proxy with it: nothing is read, so nothing is seen.
            let held = (client, server);
            std::future::pending::<()>().await;
            drop(held);
        }
        Mode::Reset => {
            mark.make();
            for stream in [Some(client), server].into_iter().flatten() {
                // A connection that is gone needs no reset.
                drop(stream.set_zero_linger());
            }
        }
        Mode::Exception(code) => {
            mark.make();
            // A client that goes away in the middle has its failure already.
            drop(http::refuse(client, code).await);
        }
    }
}

/// Lets bytes flow both ways until the end or until the mode forbids it.
async fn flow(
    client: TcpStream,
    server: TcpStream,
    mode: &mut watch::Receiver<Mode>,
    mark: &Mark,
) -> (Turn, TcpStream, TcpStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut other = mode.clone();
    let turn = {
        let up = pump(&mut from_client, &mut to_server, mode.clone(), false, mark);
        let down = pump(&mut from_server, &mut to_client, mode.clone(), true, mark);
        let mut to_be_cut = false;
        let forbidden = other.wait_for(|mode| match mode {
            Mode::Pass | Mode::Latency(_) => to_be_cut,
            Mode::CutAfter(_) => {
                to_be_cut = true;
                false
            }
            Mode::HalfOpen | Mode::Reset | Mode::Exception(_) => true,
        });
        tokio::select! {
            turn = up => turn,
            turn = down => turn,
            // Without a proxy there is nobody to change it back.
            _ = forbidden => Turn::Changed,
        }
    };
    let client = from_client.reunite(to_client).expect("they were one");
    let server = from_server.reunite(to_server).expect("they were one");
    (turn, client, server)
}

/// What was read in one direction, and what is to be done with it.
struct Intake<'a> {
    from: &'a mut OwnedReadHalf,
    buffer: Vec<u8>,
    /// Bytes at the beginning of the buffer that were not passed on.
    held: usize,
    mode: watch::Receiver<Mode>,
    now: Mode,
}

impl<'a> Intake<'a> {
    fn new(from: &'a mut OwnedReadHalf, mut mode: watch::Receiver<Mode>) -> Self {
        let now = *mode.borrow_and_update();
        Self { from, buffer: vec![0; CHUNK], held: 0, mode, now }
    }

    /// Reads what comes next, and looks at the mode. False at the end.
    async fn fill(&mut self) -> bool {
        let Ok(count @ 1..) = self.from.read(&mut self.buffer).await else { return false };
        self.held = count;
        // Without a change this takes no lock; without a proxy there is nobody to change it.
        if self.mode.has_changed().unwrap_or(false) {
            self.now = *self.mode.borrow_and_update();
        }
        true
    }

    /// Writes so many of the bytes that are held, and forgets the others. False if nobody takes
    /// them.
    async fn pass(&mut self, to: &mut OwnedWriteHalf, count: usize) -> bool {
        let held = std::mem::take(&mut self.held);
        to.write_all(&self.buffer[..count.min(held)]).await.is_ok()
    }
}

/// Moves bytes in one direction: each read is one write, unless the mode wants something else.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mode: watch::Receiver<Mode>,
    downstream: bool,
    mark: &Mark,
) -> Turn {
    let mut intake = Intake::new(from, mode);
    let mut left = None;
    loop {
        if intake.held == 0 && !intake.fill().await {
            return Turn::Over;
        }
        let turn = match intake.now {
            Mode::Latency(_) => delay(&mut intake, to, mark).await,
            Mode::CutAfter(bytes) if downstream => {
                mark.make();
                cut(&mut intake, to, left.get_or_insert(bytes)).await
            }
            Mode::Pass | Mode::CutAfter(_) | Mode::HalfOpen | Mode::Reset | Mode::Exception(_) => {
                let all = intake.held;
                (!intake.pass(to, all).await).then_some(Turn::Over)
            }
        };
        if let Some(turn) = turn {
            return turn;
        }
    }
}

/// Passes on what may still pass before the connection ends.
async fn cut(intake: &mut Intake<'_>, to: &mut OwnedWriteHalf, left: &mut u64) -> Option<Turn> {
    let allowed = intake.held.min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= allowed as u64;
    let ends = allowed < intake.held || *left == 0;
    if !intake.pass(to, allowed).await {
        return Some(Turn::Over);
    }
    ends.then_some(Turn::Cut)
}

/// Moves bytes through a delay line until the mode is another one. What was read by then is held:
/// it follows once all that came before has arrived.
async fn delay(intake: &mut Intake<'_>, to: &mut OwnedWriteHalf, mark: &Mark) -> Option<Turn> {
    let (line, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(DELAY_LINE);
    // It owns the line: with its end, what is on its way still arrives.
    let read = async move {
        while let Mode::Latency(delay) = intake.now {
            mark.make();
            let chunk = intake.buffer[..std::mem::take(&mut intake.held)].to_vec();
            if line.send((Instant::now() + delay, chunk)).await.is_err() || !intake.fill().await {
                return Some(Turn::Over);
            }
        }
        None
    };
    // It owns the other end: once nobody takes the bytes, no more are read.
    let write = async move {
        while let Some((at, chunk)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    let (turn, ()) = tokio::join!(read, write);
    turn
}
