//! The one task that owns plans, runs and the history.

mod grants;
mod planning;
mod seat;
mod sharing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::{Context, Dependency, Required, Status, Task, clock};
use settings::Suite;
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;
use units::UnixNanos;

use crate::call::{Called, Caller};
use crate::entry;
use crate::history::{Answered, History, HistoryError};
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::retry;
use crate::run::{Run, State};
use crate::view::{TaskView, View};
use crate::wish::Request;

pub use seat::Seat;

/// The longest sleep: a clock that was set is noticed within this time.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// How long a history that cannot be written is left alone.
const HISTORY_PAUSE: Duration = Duration::from_secs(5);

/// The runner's parts; see [`Runner::run`].
#[derive(Debug)]
pub struct Runner {
    suite: watch::Receiver<Arc<Suite>>,
    instance: String,
    plans: Vec<Plan>,
    open: BTreeMap<String, Open>,
    ended: BTreeMap<String, Ended>,
    unsaved: Vec<Run>,
    calls: JoinSet<Finished>,
    requests: mpsc::Receiver<Request>,
    history: History,
    history_error: Option<String>,
    caller: Caller,
    store: Dependency,
    status: Status,
    metrics: Metrics,
    views: watch::Sender<Arc<View>>,
    /// `None` if there is no other scheduler.
    seat: Option<Seat>,
}

/// A run that waits for an answer.
#[derive(Debug)]
struct Open {
    run: Run,
    began: Instant,
    cancel: CancellationToken,
}

/// What is remembered of a task's past.
#[derive(Clone, Debug, Default)]
struct Ended {
    run: Option<Run>,
    skip: Option<Run>,
}

/// A run that came to an end: its last call and how many there were; `None` if it was cancelled.
#[derive(Debug)]
struct Finished {
    task: String,
    called: Option<(Called, u32)>,
    took: Duration,
}

#[derive(Debug)]
enum Event {
    Finished(Finished),
    Requested(Request),
    Configured,
    /// The lease was asked for again.
    Round,
    Due,
}

impl Runner {
    /// Plans the configured tasks from where the history left them.
    ///
    /// # Errors
    ///
    /// If a task cannot be planned, the history cannot be read or written, or the internal token
    /// cannot be sent.
    pub async fn new(
        context: &Context,
        history: History,
        requests: mpsc::Receiver<Request>,
        metrics: Metrics,
        seat: Option<Seat>,
    ) -> anyhow::Result<Self> {
        let mut suite = context.suite.clone();
        let configured = suite.borrow_and_update().scheduler.clone();
        let instance = context.instance.clone();
        let plans = planning::plan(&history, configured, &instance).await?;
        let store = context.health.dependency("history", Required::Yes);
        store.up();
        let mut runner = Self {
            suite,
            instance,
            plans,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            unsaved: Vec::new(),
            calls: JoinSet::new(),
            requests,
            history,
            history_error: None,
            caller: Caller::new(context.internal_token.as_ref())?,
            store,
            status: context.status.clone(),
            metrics,
            views: watch::Sender::default(),
            seat,
        };
        runner.metrics.acts(runner.acts());
        runner.recall().await?;
        runner.publish();
        Ok(runner)
    }

    /// What is known; changes after every event.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Runs until the task is stopped; runs still open are then written down as interrupted.
    ///
    /// # Errors
    ///
    /// If a call panicked.
    pub async fn run(mut self, task: Task) -> anyhow::Result<()> {
        while let Some(event) = task.until_stopped(self.event()).await {
            task.alive(self.handle(event?)).await;
            self.publish();
        }
        task.alive(self.interrupt()).await;
        Ok(())
    }

    /// Ends of runs come first, because they make room for the next run of the task; then what
    /// somebody waits for; then a changed configuration; then what is due. Every branch is
    /// cancel-safe.
    async fn event(&mut self) -> anyhow::Result<Event> {
        let pause = self.pause();
        Ok(tokio::select! {
            biased;
            Some(finished) = self.calls.join_next() => Event::Finished(finished?),
            Some(request) = self.requests.recv() => Event::Requested(request),
            Ok(()) = self.suite.changed() => Event::Configured,
            () = seat::round(self.seat.as_mut()) => Event::Round,
            () = tokio::time::sleep(pause) => Event::Due,
        })
    }

    fn pause(&self) -> Duration {
        if self.history_error.is_some() {
            return HISTORY_PAUSE;
        }
        if !self.acts() {
            return SLEEP_MAX;
        }
        let now = now();
        let next = self.plans.iter().filter(|plan| !self.holds_back(plan)).filter_map(Plan::next);
        next.min().map_or(SLEEP_MAX, |next| {
            Duration::from_nanos(u64::try_from(next.since(now)).unwrap_or(0)).min(SLEEP_MAX)
        })
    }

    /// Whether the plan's next tick waits for the end of an open run.
    fn holds_back(&self, plan: &Plan) -> bool {
        plan.waits() && self.open.contains_key(&plan.task.id)
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Finished(finished) => self.finish(finished).await,
            Event::Requested(request) => self.grant(request).await,
            Event::Configured => self.follow_configuration().await,
            Event::Round => self.follow_lease().await,
            Event::Due => {
                self.save().await;
                self.probe().await;
                self.answer_ticks(now()).await;
            }
        }
    }

    /// Answers every tick up to `now`. A tick whose answer cannot be written is asked for again.
    async fn answer_ticks(&mut self, now: UnixNanos) {
        for place in 0..self.plans.len() {
            if !self.acts() {
                return;
            }
            let plan = &self.plans[place];
            let Some(mut ticker) = plan.ticker.clone().filter(|_| !self.holds_back(plan)) else {
                continue;
            };
            let commands = ticker.handle_time(now);
            if commands.is_empty() {
                // It may have found that the clock had been wrong.
                self.plans[place].ticker = Some(ticker);
                continue;
            }
            let open = self.open.contains_key(&plan.task.id);
            let entries =
                commands.iter().map(|command| entry::answer(plan, command, open, now)).collect();
            let answered = Answered::new(&plan.identity, ticker.answered());
            let id = plan.task.id.clone();
            if !self.claim(place, &answered).await {
                return;
            }
            match self.begin(&id, Some(answered), entries).await {
                Ok(runs) => {
                    self.plans[place].ticker = Some(ticker);
                    self.take_up(place, runs);
                }
                Err(error) => tracing::error!(
                    task = id, error = %Chain(&error), "cannot write the start of a run"
                ),
            }
        }
    }

    async fn begin(
        &mut self,
        task: &str,
        answered: Option<Answered>,
        entries: Vec<Run>,
    ) -> Result<Vec<Run>, HistoryError> {
        let task = task.to_owned();
        self.write(move |history| history.begin(&task, answered.as_ref(), entries)).await
    }

    /// Writes to the history off the runtime's threads and notes whether it can be written.
    async fn write<T: Send + 'static>(
        &mut self,
        change: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let result = blocking(&self.history, change).await;
        match &result {
            Ok(_) => {
                self.store.up();
                self.history_error = None;
            }
            Err(error) => {
                let error = Chain(error).to_string();
                self.store.down(&error);
                self.history_error = Some(error);
                self.metrics.history_failed();
            }
        }
        result
    }

    /// Starts the runs that were written down, and notes the ticks that were skipped.
    fn take_up(&mut self, place: usize, runs: Vec<Run>) {
        for run in runs {
            let Some(skipped) = run.skipped else {
                self.launch(place, run);
                continue;
            };
            self.metrics.skipped(&run.task, skipped.reason, skipped.count);
            tracing::warn!(
                task = run.task, count = skipped.count, reason = ?skipped.reason, "ticks skipped"
            );
            let task = run.task.clone();
            self.ended.entry(task).or_default().skip = Some(run);
        }
    }

    fn launch(&mut self, place: usize, run: Run) {
        let task = self.plans[place].task.clone();
        let service = self.suite.borrow().monitoring.services.get(&task.service).cloned();
        let (caller, metrics) = (self.caller.clone(), self.metrics.clone());
        let cancel = CancellationToken::new();
        let cancelled = cancel.clone();
        let key = run.tick.map_or_else(
            || format!("{}/run-{}", task.id, run.run),
            |tick| format!("{}/{tick}", task.id),
        );
        tracing::debug!(task = task.id, run = run.run, "run started");
        let began = Instant::now();
        self.open.insert(task.id.clone(), Open { run, began, cancel });
        self.metrics.open(self.open.len());
        self.calls.spawn(async move {
            let call = async {
                match &service {
                    Some(service) => retry::persist(&caller, service, &task, &key, &metrics).await,
                    None => {
                        let unknown = format!("no service `{}` is configured", task.service);
                        (Called::Failed(unknown), 0)
                    }
                }
            };
            let called = tokio::select! {
                biased;
                () = cancelled.cancelled() => None,
                called = call => Some(called),
            };
            Finished { task: task.id, called, took: began.elapsed() }
        });
    }

    async fn finish(&mut self, finished: Finished) {
        let Some(open) = self.open.remove(&finished.task) else { return };
        self.metrics.open(self.open.len());
        let now = clock::now();
        let run = entry::end(open.run, finished.called, finished.took, now);
        self.metrics.ended(&run.task, run.state, finished.took, now);
        let took_ms = u64::try_from(finished.took.as_millis()).unwrap_or(u64::MAX);
        let status = run.answer.as_ref().map(|answer| answer.status);
        if run.state == State::Succeeded {
            tracing::info!(task = run.task, run = run.run, status, took_ms, "task succeeded");
        } else {
            let (state, error) = (run.state.as_str(), run.error.as_deref());
            tracing::warn!(task = run.task, run = run.run, state, status, error, "task failed");
        }
        let task = run.task.clone();
        self.ended.entry(task).or_default().run = Some(run.clone());
        self.unsaved.push(run);
        self.save().await;
    }

    /// Writes the ends of runs; those that cannot be written are kept for the next try.
    async fn save(&mut self) {
        for run in std::mem::take(&mut self.unsaved) {
            let written = run.clone();
            if let Err(error) = self.write(move |history| history.finish(&written)).await {
                tracing::error!(
                    task = run.task, run = run.run, error = %Chain(&error),
                    "cannot write the end of a run"
                );
                self.unsaved.push(run);
            }
        }
    }

    /// Finds out whether a history that could not be written can be again.
    async fn probe(&mut self) {
        if self.history_error.is_some()
            && let Err(error) = self.write(History::probe).await
        {
            tracing::debug!(error = %Chain(&error), "the history still cannot be written");
        }
    }

    fn place(&self, task: &str) -> Option<usize> {
        self.plans.iter().position(|plan| plan.task.id == task)
    }

    /// Writes every open run down as interrupted; the services may go on with theirs.
    async fn interrupt(&mut self) {
        self.calls.shutdown().await;
        for (_, open) in std::mem::take(&mut self.open) {
            let took = open.began.elapsed();
            self.unsaved.push(Run {
                state: State::Interrupted,
                finished_at: Some(clock::now()),
                duration_ns: Some(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
                error: Some("the scheduler was stopped before the service answered".to_owned()),
                ..open.run
            });
        }
        self.save().await;
        self.publish();
    }

    fn publish(&self) {
        let tasks = self.plans.iter().map(|plan| {
            let ended = self.ended.get(&plan.task.id).cloned().unwrap_or_default();
            TaskView {
                task: plan.task.clone(),
                origin: plan.origin,
                zone: plan.zone.clone(),
                paused: plan.paused,
                next: plan.next().map(UnixNanos::as_i64),
                running: self.open.get(&plan.task.id).map(|open| open.run.clone()),
                last: ended.run,
                last_skip: ended.skip,
            }
        });
        let view = View {
            timezone: self.suite.borrow().scheduler.timezone.clone(),
            tasks: tasks.collect(),
            history_error: self.history_error.clone(),
            acts: self.acts(),
            other: self.seat.as_ref().and_then(Seat::other),
        };
        self.status.set(view.status_line());
        self.views.send_replace(Arc::new(view));
    }
}

/// Runs `work` on the history off the runtime's threads.
async fn blocking<T: Send + 'static>(
    history: &History,
    work: impl FnOnce(&History) -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, HistoryError> {
    let history = history.clone();
    spawn_blocking(move || work(&history))
        .await
        .expect("the work does not panic, and nothing cancels it")
}

fn now() -> UnixNanos {
    UnixNanos::new(clock::now())
}

#[cfg(test)]
mod tests;
