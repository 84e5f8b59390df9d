//! Threads that serve connections, each connection from its first byte to its last on one of them.
//!
//! Where a runtime has several threads, a task goes on wherever there is room, and what it needs
//! has to follow it. For a service whose work is to pass requests on, that is a good part of the
//! work. Here each thread has a runtime of its own: sockets, timers and tasks stay on it.

use std::future::ready;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most threads that [`Workers::per_core`] starts: beyond them what is behind is the limit.
const PER_CORE_MAX: usize = 4;

/// Threads for blocking work of each, started when needed.
const BLOCKING_THREADS_MAX: usize = 4;

/// How long the end of a thread waits for blocking work that was begun on it.
const END_MAX: Duration = Duration::from_secs(1);

/// Threads that serve connections; they end when this is dropped.
///
/// It has to outlive everything that has an upgraded connection, which goes on depending on its
/// thread.
#[derive(Debug)]
pub struct Workers {
    pool: Pool,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts a thread for each core, within reason.
    ///
    /// # Errors
    ///
    /// Those of [`Workers::start`].
    pub fn per_core() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::start(cores.min(PER_CORE_MAX))
    }

    /// Starts so many threads.
    ///
    /// # Errors
    ///
    /// If the system has no thread, or no descriptors, for them.
    pub fn start(count: usize) -> io::Result<Self> {
        let (pool, stop) = (Pool::default(), CancellationToken::new());
        let mut workers = Self { pool, threads: Vec::new(), stop };
        for number in 0..count {
            let runtime = Builder::new_current_thread()
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .enable_all()
                .build()?;
            workers.pool.0.push(runtime.handle().clone());
            let stop = workers.stop.clone();
            let serve = move || {
                runtime.block_on(stop.cancelled());
                runtime.shutdown_timeout(END_MAX);
            };
            let thread = thread::Builder::new().name(format!("mp-http-{number}")).spawn(serve)?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Returns what connections are handed to.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.pool.clone()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        let deadline = Instant::now() + 2 * END_MAX;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            if !thread.is_finished() {
                tracing::error!("a thread that serves connections is stuck and is left behind");
                continue;
            }
            if thread.join().is_err() {
                tracing::error!("a thread that served connections panicked");
            }
        }
    }
}

/// The threads of [`Workers`], for whoever has something for them to do; cheap to clone.
///
/// An empty one stands for the runtime of whoever uses it.
#[derive(Debug, Clone, Default)]
pub struct Pool(Vec<Handle>);

impl Pool {
    /// The thread that has the fewest tasks.
    pub(crate) fn least_busy(&self) -> Option<&Handle> {
        self.0.iter().min_by_key(|thread| thread.metrics().num_alive_tasks())
    }

    /// Waits until every thread has run something new: a stuck one never does.
    pub async fn answer(&self) {
        let mut probes = JoinSet::new();
        for thread in &self.0 {
            probes.spawn_on(ready(()), thread);
        }
        while probes.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn what_is_handed_over_is_shared_out_among_all_threads() {
        let workers = Workers::start(3).unwrap();
        let pool = workers.pool();
        let (mut tasks, hold) = (JoinSet::new(), CancellationToken::new());
        for _ in 0..6 {
            let hold = hold.clone();
            let task = async move {
                hold.cancelled().await;
                format!("{:?}", thread::current().id())
            };
            tasks.spawn_on(task, pool.least_busy().unwrap());
        }
        hold.cancel();
        let ran_on: Vec<String> = tasks.join_all().await;
        let threads: BTreeSet<&String> = ran_on.iter().collect();
        assert_eq!(threads.len(), 3);
        for thread in threads {
            assert_eq!(ran_on.iter().filter(|other| *other == thread).count(), 2);
        }
    }

    #[tokio::test]
    async fn a_stuck_thread_does_not_answer() {
        let workers = Workers::start(2).unwrap();
        let pool = workers.pool();
        pool.answer().await;
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let mut stuck = JoinSet::new();
        // The end of the sender is what it waits for.
        stuck.spawn_on(async move { wait.recv().is_err() }, &pool.0[1]);
        let answer = tokio::time::timeout(Duration::from_millis(200), pool.answer());
        assert!(answer.await.is_err());
        drop(release);
        pool.answer().await;
        assert_eq!(stuck.join_all().await, [true]);
    }
}
