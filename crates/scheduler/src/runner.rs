//! The one task that owns plans, runs and the history.

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
use crate::plan::{Plan, plans};
use crate::run::{Run, State, Trigger};
use crate::view::{TaskView, View};
use crate::wish::{Refusal, Request, Wish};

/// The longest sleep: a clock that was set is noticed within this time.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// How long a history that cannot be written is left alone.
const HISTORY_PAUSE: Duration = Duration::from_secs(5);

/// How far back the last run and the last skip of a task are looked for at the start.
const RECALLED: usize = 50;

/// The runner's parts; see [`Runner::run`].
#[derive(Debug)]
pub struct Runner {
    suite: watch::Receiver<Arc<Suite>>,
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
}

/// A run that waits for an answer.
#[derive(Debug)]
struct Open {
    run: Run,
    cancel: CancellationToken,
}

/// What is remembered of a task's past.
#[derive(Clone, Debug, Default)]
struct Ended {
    run: Option<Run>,
    skip: Option<Run>,
}

/// A call that came to an end; `None` if it was cancelled.
#[derive(Debug)]
struct Finished {
    task: String,
    called: Option<Called>,
    took: Duration,
}

#[derive(Debug)]
enum Event {
    Finished(Finished),
    Requested(Request),
    Configured,
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
    ) -> anyhow::Result<Self> {
        let mut suite = context.suite.clone();
        let configured = suite.borrow_and_update().scheduler.clone();
        let plans = plan(&history, configured).await?;
        let store = context.health.dependency("history", Required::Yes);
        store.up();
        let mut runner = Self {
            suite,
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
        };
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
            () = tokio::time::sleep(pause) => Event::Due,
        })
    }

    fn pause(&self) -> Duration {
        if self.history_error.is_some() {
            return HISTORY_PAUSE;
        }
        let now = now();
        let next = self.plans.iter().filter_map(Plan::next).min();
        next.map_or(SLEEP_MAX, |next| {
            Duration::from_nanos(u64::try_from(next.since(now)).unwrap_or(0)).min(SLEEP_MAX)
        })
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Finished(finished) => self.finish(finished).await,
            Event::Requested(request) => self.grant(request).await,
            Event::Configured => self.follow_configuration().await,
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
            let plan = &self.plans[place];
            let Some(mut ticker) = plan.ticker.clone() else { continue };
            let commands = ticker.handle_time(now);
            if commands.is_empty() {
                continue;
            }
            let open = self.open.contains_key(&plan.task.id);
            let entries =
                commands.iter().map(|command| entry::answer(plan, command, open, now)).collect();
            let answered = Answered::new(&plan.identity, ticker.answered());
            let id = plan.task.id.clone();
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
        let caller = self.caller.clone();
        let cancel = CancellationToken::new();
        let cancelled = cancel.clone();
        let key = run.tick.map_or_else(
            || format!("{}/run-{}", task.id, run.run),
            |tick| format!("{}/{tick}", task.id),
        );
        tracing::debug!(task = task.id, run = run.run, "run started");
        self.open.insert(task.id.clone(), Open { run, cancel });
        self.metrics.open(self.open.len());
        self.calls.spawn(async move {
            let began = Instant::now();
            let call = async {
                match &service {
                    Some(service) => caller.call(service, &task, &key).await,
                    None => Called::Failed(format!("no service `{}` is configured", task.service)),
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
        let run = entry::end(open.run, finished.called, now);
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

    async fn grant(&mut self, request: Request) {
        let Request { task, wish, reply } = request;
        let result = match (wish, self.open.get(&task)) {
            (Wish::Run, Some(open)) => Err(Refusal::Running(open.run.run)),
            (Wish::Run, None) => self.run_now(&task).await,
            (Wish::Cancel, Some(open)) => {
                open.cancel.cancel();
                Ok(open.run.run)
            }
            (Wish::Cancel, None) if self.place(&task).is_none() => Err(Refusal::Unknown),
            (Wish::Cancel, None) => Err(Refusal::Idle),
        };
        // Nobody waits any more if the client went away; what was granted is done all the same.
        drop(reply.send(result));
    }

    async fn run_now(&mut self, task: &str) -> Result<u64, Refusal> {
        let place = self.place(task).ok_or(Refusal::Unknown)?;
        let entry = entry::start(&self.plans[place], Trigger::Manual, now());
        let runs = self.begin(task, None, vec![entry]).await.map_err(Refusal::History)?;
        let number = runs.first().map_or(0, |run| run.run);
        self.take_up(place, runs);
        Ok(number)
    }

    fn place(&self, task: &str) -> Option<usize> {
        self.plans.iter().position(|plan| plan.task.id == task)
    }

    /// Takes up a configuration that was changed while running. It was checked before it got here.
    async fn follow_configuration(&mut self) {
        let configured = self.suite.borrow_and_update().scheduler.clone();
        match plan(&self.history, configured).await {
            Ok(plans) => self.plans = plans,
            Err(error) => tracing::error!(
                error = %Chain(error.as_ref()), "cannot take up the changed tasks, keeping the old"
            ),
        }
        if let Err(error) = self.recall().await {
            tracing::error!(error = %Chain(&error), "cannot read the last runs");
        }
    }

    /// Reads the last run and the last skip of tasks that nothing is known of yet.
    async fn recall(&mut self) -> Result<(), HistoryError> {
        for place in 0..self.plans.len() {
            let id = self.plans[place].task.id.clone();
            if self.ended.contains_key(&id) {
                continue;
            }
            let task = id.clone();
            let runs = blocking(&self.history, move |history| {
                history.list(Some(&task), u64::MAX, RECALLED)
            })
            .await?;
            let newest = |skip: bool| {
                runs.iter()
                    .find(|run| run.state != State::Running && run.skipped.is_some() == skip)
                    .cloned()
            };
            self.ended.insert(id, Ended { run: newest(false), skip: newest(true) });
        }
        Ok(())
    }

    /// Writes every open run down as interrupted; the services may go on with theirs.
    async fn interrupt(&mut self) {
        self.calls.shutdown().await;
        for (_, open) in std::mem::take(&mut self.open) {
            self.unsaved.push(Run {
                state: State::Interrupted,
                finished_at: Some(clock::now()),
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
        };
        self.status.set(view.status_line());
        self.views.send_replace(Arc::new(view));
    }
}

/// Plans the tasks from where the history left them, and writes down where new ones begin, so that
/// a tick missed right after that is noticed.
async fn plan(history: &History, configured: settings::Scheduler) -> anyhow::Result<Vec<Plan>> {
    let mut plans = plans(&configured)?;
    let plans = blocking(history, move |history| {
        for plan in &mut plans {
            let earlier = history.answered(&plan.task.id)?;
            plan.resume(earlier.as_ref(), now());
            match plan.answered() {
                Some(answered) if earlier.as_ref() != Some(&answered) => {
                    history.begin(&plan.task.id, Some(&answered), Vec::new())?;
                }
                None if earlier.is_some() => history.release(&plan.task.id)?,
                Some(_) | None => {}
            }
        }
        Ok(plans)
    })
    .await?;
    Ok(plans)
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
