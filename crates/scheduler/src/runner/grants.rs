//! What somebody wishes of a task, granted or refused.

use std::collections::BTreeSet;

use http::Uri;
use settings::Task;

use super::{Runner, Seat, now, planning};
use crate::entry;
use crate::plan::{Origin, Plan, Zone};
use crate::run::Trigger;
use crate::shared::Change;
use crate::wish::{Granted, Refusal, Request, TASKS_MAX, Wish};

impl Runner {
    pub(super) async fn grant(&mut self, request: Request) {
        let Request { task, wish, reply } = request;
        let result = if wish.is_change() && !self.acts() {
            Err(self.standing_by())
        } else {
            Box::pin(self.decide(&task, wish)).await
        };
        // Nobody waits any more if the client went away; what was granted is done all the same.
        drop(reply.send(result));
    }

    async fn decide(&mut self, task: &str, wish: Wish) -> Result<Granted, Refusal> {
        match wish {
            Wish::Run => self.run_now(task).await,
            Wish::Cancel => self.cancel(task),
            Wish::Pause => self.pause_task(task).await,
            Wish::Resume => self.resume_task(task).await,
            Wish::Create(made) if self.place(&made.id).is_some() => Err(Refusal::Exists),
            Wish::Create(made) | Wish::Replace(made) => self.make(*made).await,
            Wish::Delete => self.delete(task).await,
        }
    }

    /// Names who is to be asked instead.
    fn standing_by(&self) -> Refusal {
        let other = self.seat.as_ref().and_then(Seat::other);
        other.map_or(Refusal::Unseated, Refusal::StandingBy)
    }

    async fn run_now(&mut self, task: &str) -> Result<Granted, Refusal> {
        if let Some(open) = self.open.get(task) {
            return Err(Refusal::Running(open.run.run));
        }
        let place = self.place(task).ok_or(Refusal::Unknown)?;
        if !self.acts() {
            return Err(self.standing_by());
        }
        let entry = entry::start(&self.plans[place], Trigger::Manual, now());
        let runs = self.begin(task, None, vec![entry]).await.map_err(Refusal::History)?;
        let number = runs.first().map_or(0, |run| run.run);
        self.take_up(place, runs);
        Ok(Granted::Run(number))
    }

    fn cancel(&self, task: &str) -> Result<Granted, Refusal> {
        if let Some(open) = self.open.get(task) {
            open.cancel.cancel();
            return Ok(Granted::Run(open.run.run));
        }
        self.place(task).ok_or(Refusal::Unknown)?;
        Err(Refusal::Idle)
    }

    async fn pause_task(&mut self, task: &str) -> Result<Granted, Refusal> {
        let place = self.place(task).ok_or(Refusal::Unknown)?;
        if self.plans[place].paused.is_some() {
            return Ok(Granted::Done);
        }
        let (id, since) = (task.to_owned(), now().as_i64());
        self.share(Change::Pause(id.clone(), since)).await?;
        self.write(move |history| history.pause(&id, since)).await.map_err(Refusal::History)?;
        self.copied();
        let plan = &mut self.plans[place];
        plan.paused = Some(since);
        plan.ticker = None;
        tracing::info!(task, "task paused");
        Ok(Granted::Done)
    }

    async fn resume_task(&mut self, task: &str) -> Result<Granted, Refusal> {
        let place = self.place(task).ok_or(Refusal::Unknown)?;
        if self.plans[place].paused.is_none() {
            return Ok(Granted::Done);
        }
        self.share(Change::Resume(task.to_owned())).await?;
        let mut plan = self.plans[place].clone();
        plan.paused = None;
        let instance = self.instance.clone();
        let plan = self
            .write(move |history| {
                history.unpause(&plan.task.id)?;
                planning::take_up(history, &mut plan, &instance)?;
                Ok(plan)
            })
            .await
            .map_err(Refusal::History)?;
        self.copied();
        self.plans[place] = plan;
        self.announce().await;
        tracing::info!(task, "task resumed");
        Ok(Granted::Done)
    }

    async fn make(&mut self, task: Task) -> Result<Granted, Refusal> {
        let place = self.place(&task.id);
        match place.map(|place| self.plans[place].origin) {
            Some(Origin::Configuration) => return Err(Refusal::Configured),
            None if self.made() >= TASKS_MAX => return Err(Refusal::TooMany(TASKS_MAX)),
            Some(Origin::Http) | None => {}
        }
        let mut plan = self.judge(task)?;
        plan.paused = place.and_then(|place| self.plans[place].paused);
        self.share(Change::Keep(Box::new(plan.task.clone()))).await?;
        let instance = self.instance.clone();
        let plan = self
            .write(move |history| {
                history.keep_task(&plan.task)?;
                planning::take_up(history, &mut plan, &instance)?;
                Ok(plan)
            })
            .await
            .map_err(Refusal::History)?;
        self.copied();
        tracing::info!(task = plan.task.id, schedule = plan.task.schedule, "task made");
        match place {
            Some(place) => self.plans[place] = plan,
            None => self.plans.push(plan),
        }
        self.remember().await;
        self.announce().await;
        Ok(Granted::Done)
    }

    /// How many tasks were made by requests.
    fn made(&self) -> usize {
        self.plans.iter().filter(|plan| plan.origin == Origin::Http).count()
    }

    /// A task as it would run, or all that is wrong with it.
    fn judge(&self, task: Task) -> Result<Plan, Refusal> {
        let suite = self.suite.borrow();
        let services: BTreeSet<&str> =
            suite.monitoring.services.keys().map(String::as_str).collect();
        let faults = task.faults(&services);
        if !faults.is_empty() {
            let faults: Vec<String> =
                faults.iter().map(|(key, message)| format!("`{key}` {message}")).collect();
            return Err(Refusal::Invalid(faults.join("; ")));
        }
        if let Err(error) = task.path.parse::<Uri>() {
            return Err(Refusal::Invalid(format!("`path` cannot be asked for: {error}")));
        }
        let zone = Zone::of_all(&suite.scheduler.timezone)
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
        let plan = Plan::of(task, Origin::Http, &zone)
            .map_err(|fault| Refusal::Invalid(fault.to_string()))?;
        if plan.has_ticks_after(now()) {
            Ok(plan)
        } else {
            Err(Refusal::Invalid("`schedule` names a time that is past".to_owned()))
        }
    }

    async fn delete(&mut self, task: &str) -> Result<Granted, Refusal> {
        let place = self.place(task).ok_or(Refusal::Unknown)?;
        if self.plans[place].origin == Origin::Configuration {
            return Err(Refusal::Configured);
        }
        if let Some(open) = self.open.get(task) {
            return Err(Refusal::Running(open.run.run));
        }
        let id = task.to_owned();
        self.share(Change::Forget(id.clone())).await?;
        self.write(move |history| history.forget_task(&id)).await.map_err(Refusal::History)?;
        self.copied();
        self.plans.remove(place);
        self.ended.remove(task);
        tracing::info!(task, "task deleted");
        Ok(Granted::Done)
    }
}
