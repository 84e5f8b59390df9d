//! The tasks of a service: started by name, watched, stopped in order.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use anyhow::anyhow;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// How often a task that waits gives a sign of life.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the tasks that have not stopped yet are logged.
const PENDING_INTERVAL: Duration = Duration::from_secs(5);

/// The tasks of one service.
///
/// A task that ends before it is asked to ends the service.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    /// In the order of their start.
    started: Vec<Started>,
    index: BTreeMap<Id, usize>,
    beats: Beats,
}

#[derive(Debug)]
struct Started {
    task: Task,
    ended: bool,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No tasks yet, whose signs of life are watched elsewhere.
    pub(crate) fn watched(beats: Beats) -> Self {
        let mut tasks = Self::new();
        tasks.beats = beats;
        tasks
    }

    /// Starts a task.
    ///
    /// It must wait through [`Task::alive`], [`Task::until_stopped`] or [`Task::sleep`], or call
    /// [`Task::beat`] at least every few seconds: a silent task is taken for stuck, and systemd
    /// restarts the service.
    pub fn spawn<F, Fut>(&mut self, name: impl Into<String>, run: F)
    where
        F: FnOnce(Task) -> Fut,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let task = Task::new(name.into(), self.beats.clone());
        self.beats.watch(&task.beat);
        // One that another task starts is no part of what that one does.
        let span = tracing::info_span!(parent: None, "task", task = task.name());
        let handle = self.set.spawn(run(task.clone()).instrument(span));
        self.index.insert(handle.id(), self.started.len());
        self.started.push(Started { task, ended: false });
    }

    /// Waits until a task ends that was not asked to, and says why; for ever without tasks.
    ///
    /// Cancel-safe.
    pub async fn ended(&mut self) -> anyhow::Error {
        loop {
            match self.set.join_next_with_id().await {
                Some(ended) => {
                    let (name, result) = self.note(ended);
                    return match result {
                        Ok(()) => anyhow!("task `{name}` ended although nobody asked it to"),
                        Err(error) => error.context(format!("task `{name}` failed")),
                    };
                }
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// Stops the tasks one after another, in the order of their start.
    ///
    /// Each has what the ones before it have left of `longest`. What is still running then is
    /// named, and cut off. Cancel-safe, but for the errors of tasks that had ended by then:
    /// another call goes on where this one was.
    ///
    /// # Errors
    ///
    /// The first error of a task, or which tasks did not stop.
    pub async fn shutdown(&mut self, longest: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + longest;
        let mut failure = None;
        for position in 0..self.started.len() {
            self.started[position].task.stop.cancel();
            if let Err(error) = self.wait_for(position, deadline).await {
                failure.get_or_insert(error);
            }
        }
        let left = self.pending();
        if !left.is_empty() {
            self.set.shutdown().await;
            let error = anyhow!("did not stop within {longest:?}: {}", left.join(", "));
            failure.get_or_insert(error);
        }
        failure.map_or(Ok(()), Err)
    }

    async fn wait_for(&mut self, position: usize, deadline: Instant) -> anyhow::Result<()> {
        let mut failure = None;
        let mut report = Instant::now() + PENDING_INTERVAL;
        while !self.started[position].ended {
            tokio::select! {
                biased;
                ended = self.set.join_next_with_id() => {
                    let Some(ended) = ended else { break };
                    let (name, result) = self.note(ended);
                    if let Err(error) = result {
                        failure.get_or_insert(error.context(format!("task `{name}` failed")));
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
                () = tokio::time::sleep_until(report) => {
                    report += PENDING_INTERVAL;
                    let pending = self.pending().join(", ");
                    tracing::info!(pending, "stopping: tasks still at work");
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn pending(&self) -> Vec<String> {
        let running = self.started.iter().filter(|started| !started.ended);
        running.map(|started| format!("`{}`", started.task.name())).collect()
    }

    /// Crosses a task off; a panic is its error.
    fn note(
        &mut self,
        ended: Result<(Id, anyhow::Result<()>), JoinError>,
    ) -> (String, anyhow::Result<()>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(anyhow::Error::from(error))),
        };
        let Some(started) = self.index.get(&id).and_then(|index| self.started.get_mut(*index))
        else {
            return ("?".to_owned(), result);
        };
        started.ended = true;
        started.task.beat.done.store(true, Ordering::Relaxed);
        (started.task.name().to_owned(), result)
    }
}

/// Those that are left are cut off, and give no sign of life any more.
impl Drop for Tasks {
    fn drop(&mut self) {
        for Started { task, .. } in &self.started {
            task.beat.done.store(true, Ordering::Relaxed);
        }
    }
}

/// What a running task knows: when to stop; and how it says that it is alive.
#[derive(Debug, Clone)]
pub struct Task {
    stop: CancellationToken,
    beat: Arc<Beat>,
    beats: Beats,
}

impl Task {
    fn new(name: String, beats: Beats) -> Self {
        Self { stop: CancellationToken::new(), beat: Arc::new(Beat::new(name)), beats }
    }

    /// No tasks yet, for a task that starts and stops others: each is watched as this one is, and
    /// stopped by nobody else.
    #[must_use]
    pub fn tasks(&self) -> Tasks {
        Tasks::watched(self.beats.clone())
    }

    /// The name it was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.beat.name
    }

    /// Whether it is asked to stop.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Cancelled when the task is asked to stop, for what takes a token.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Says that the task is alive.
    pub fn beat(&self) {
        self.beat.now();
    }

    /// Waits until the task is asked to stop, alive meanwhile.
    ///
    /// Cancel-safe.
    pub async fn stopped(&self) {
        self.alive(self.stop.cancelled()).await;
    }

    /// Awaits something, alive meanwhile: waiting for another is not being stuck.
    ///
    /// Cancel-safe if the future is.
    pub async fn alive<F: Future>(&self, future: F) -> F::Output {
        self.beat();
        let mut future = pin!(future);
        // Most waits are over at once; only then is no timer needed.
        let at_once = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(output) = at_once {
            return output;
        }
        loop {
            match tokio::time::timeout(BEAT_INTERVAL, future.as_mut()).await {
                Ok(output) => {
                    self.beat();
                    return output;
                }
                Err(_) => self.beat(),
            }
        }
    }

    /// Awaits something, alive meanwhile; `None` if the task is asked to stop first.
    ///
    /// The future is dropped then.
    pub async fn until_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        self.alive(async {
            tokio::select! {
                // Stop first: a busy stream must not outvote it.
                biased;
                () = self.stop.cancelled() => None,
                output = future => Some(output),
            }
        })
        .await
    }

    /// Rests, alive meanwhile; `false` if the task is asked to stop first.
    pub async fn sleep(&self, duration: Duration) -> bool {
        self.until_stopped(tokio::time::sleep(duration)).await.is_some()
    }
}

/// The last sign of life of one task.
#[derive(Debug)]
struct Beat {
    name: String,
    /// Milliseconds since `epoch`.
    last: AtomicU64,
    epoch: std::time::Instant,
    done: AtomicBool,
}

impl Beat {
    fn new(name: String) -> Self {
        Self {
            name,
            last: AtomicU64::new(0),
            epoch: std::time::Instant::now(),
            done: AtomicBool::new(false),
        }
    }

    fn now(&self) {
        self.last.store(self.elapsed(), Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.elapsed().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}

/// The signs of life of all tasks; cheap to clone.
///
/// The clock is the system's, not tokio's: whoever watches is not on the runtime.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beats(Arc<Mutex<Vec<Arc<Beat>>>>);

impl Beats {
    fn watch(&self, beat: &Arc<Beat>) {
        beat.now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(beat));
    }

    /// The tasks that have been silent for longer than this, and for how long.
    pub(crate) fn silent(&self, longest: Duration) -> Vec<(String, Duration)> {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| !beat.done.load(Ordering::Relaxed));
        beats
            .iter()
            .map(|beat| (beat.name.clone(), beat.silence()))
            .filter(|(_, silence)| *silence > longest)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests;
