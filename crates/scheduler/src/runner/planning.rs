//! Which tasks there are, and from where their schedules are taken up.

use settings::Task;
use telemetry::Chain;

use super::{Ended, Runner, blocking, now};
use crate::history::{History, HistoryError};
use crate::plan::{Origin, Plan, Zone, plans};
use crate::run::State;

/// How far back the last run and the last skip of a task are looked for at the start.
const RECALLED: usize = 50;

impl Runner {
    /// Takes up a configuration that was changed while running. It was checked before it got here.
    pub(super) async fn follow_configuration(&mut self) {
        if let Err(error) = self.plan_anew().await {
            tracing::error!(
                error = %Chain(error.as_ref()), "cannot take up the changed tasks, keeping the old"
            );
        }
        self.remember().await;
        self.announce().await;
    }

    /// Plans the tasks of the configuration as it is now, and those that the history keeps.
    pub(super) async fn plan_anew(&mut self) -> anyhow::Result<()> {
        let configured = self.suite.borrow_and_update().scheduler.clone();
        self.plans = plan(&self.history, configured, &self.instance).await?;
        Ok(())
    }

    /// Recalls the past of new tasks; one that cannot be read is not shown.
    pub(super) async fn remember(&mut self) {
        if let Err(error) = self.recall().await {
            tracing::error!(error = %Chain(&error), "cannot read the last runs");
        }
    }

    /// Reads the last run and the last skip of tasks that nothing is known of yet.
    pub(super) async fn recall(&mut self) -> Result<(), HistoryError> {
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
}

/// Plans the tasks, those of the configuration and those that requests made, from where the history
/// left them.
pub(super) async fn plan(
    history: &History,
    configured: settings::Scheduler,
    instance: &str,
) -> anyhow::Result<Vec<Plan>> {
    let mut plans = plans(&configured)?;
    let instance = instance.to_owned();
    let zone = Zone::of_all(&configured.timezone)?;
    let plans = blocking(history, move |history| {
        for task in history.tasks()? {
            add_kept(&mut plans, task, &zone);
        }
        let paused = history.paused()?;
        for plan in &mut plans {
            plan.paused = paused.get(&plan.task.id).copied();
            take_up(history, plan, &instance)?;
        }
        Ok(plans)
    })
    .await?;
    Ok(plans)
}

/// Adds a task that a request made. The configuration goes before it, and what was kept by another
/// version may be nothing that this one understands: the others run all the same.
fn add_kept(plans: &mut Vec<Plan>, task: Task, zone: &Zone) {
    if plans.iter().any(|plan| plan.task.id == task.id) {
        tracing::warn!(task = task.id, "the configuration has a task of the same name, which runs");
        return;
    }
    let id = task.id.clone();
    match Plan::of(task, Origin::Http, zone) {
        Ok(plan) => plans.push(plan),
        Err(error) => {
            tracing::error!(task = id, error = %Chain(&error), "a kept task cannot be understood");
        }
    }
}

/// Takes up a task where the history left it, and writes down where a new one begins, so that a
/// tick missed right after that is noticed.
pub(super) fn take_up(
    history: &History,
    plan: &mut Plan,
    instance: &str,
) -> Result<(), HistoryError> {
    let earlier = history.answered(&plan.task.id)?;
    plan.resume(earlier.as_ref(), now(), instance);
    match plan.answered() {
        Some(answered) if earlier.as_ref() != Some(&answered) => {
            history.begin(&plan.task.id, Some(&answered), Vec::new())?;
        }
        None if earlier.is_some() => history.release(&plan.task.id)?,
        Some(_) | None => {}
    }
    Ok(())
}
