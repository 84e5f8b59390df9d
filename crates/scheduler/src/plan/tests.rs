//! Ring 1: tables of configurations.

use std::collections::BTreeSet;
use std::time::Duration;

use settings::{Overlap, Scheduler, Suite};
use units::UnixNanos;

use super::{delay, plans};
use crate::history::Answered;

const HOUR: i64 = 3_600_000_000_000;

fn configured(schedule: &str) -> Scheduler {
    let mut scheduler = Suite::default().scheduler;
    scheduler.tasks.truncate(1);
    scheduler.tasks[0].schedule = schedule.into();
    scheduler
}

#[test]
fn the_default_tasks_can_be_planned_and_none_deletes_by_itself() {
    let mut plans = plans(&Suite::default().scheduler).unwrap();
    let mut silent = Vec::new();
    for plan in &mut plans {
        plan.resume(None, UnixNanos::new(0), "here");
        if plan.next().is_none() {
            silent.push(plan.task.id.as_str());
        }
    }
    assert_eq!(silent, ["cleanup"]);
    let ids: Vec<&str> = plans.iter().map(|plan| plan.task.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "archive-roll",
            "coverage-audit",
            "backfill",
            "instrument-refresh",
            "configuration-backup",
            "daily-report",
            "cleanup"
        ]
    );
}

#[test]
fn a_bad_expression_is_refused_with_its_key_and_place() {
    let error = plans(&configured("61 * * * *")).unwrap_err();
    assert_eq!(error.key, "scheduler.tasks[0].schedule");
    assert_eq!(
        error.message,
        "is refused: \"61\" is no minute (0-59) (at character 1 of \"61 * * * *\")"
    );
    let error = plans(&configured("0 0 31 2 *")).unwrap_err();
    assert!(error.message.contains("no date ever matches"), "{error}");
}

#[test]
fn an_unknown_zone_is_refused() {
    let scheduler = Scheduler { timezone: "Mars/Olympus".into(), ..configured("@daily") };
    assert_eq!(plans(&scheduler).unwrap_err().key, "scheduler.timezone");
}

#[test]
fn an_unknown_zone_of_a_task_is_refused_with_its_key() {
    let mut scheduler = configured("@daily");
    scheduler.tasks[0].timezone = Some("Mars/Olympus".into());
    let error = plans(&scheduler).unwrap_err();
    assert_eq!(error.key, "scheduler.tasks[0].timezone");
    assert!(error.message.starts_with("is not known here"), "{error}");
}

#[test]
fn summer_time_is_that_of_the_tasks_own_zone() {
    // On 29 March 2026 the clocks of Zurich jump from 02:00 to 03:00, at 01:00 UTC.
    const JUMP: i64 = 1_774_746_000_000_000_000;
    let mut scheduler = configured("30 2 * * *");
    for (zone, expected) in [(None, JUMP + HOUR + HOUR / 2), (Some("Europe/Zurich"), JUMP)] {
        scheduler.tasks[0].timezone = zone.map(str::to_owned);
        let mut plan = plans(&scheduler).unwrap().remove(0);
        plan.resume(None, UnixNanos::new(JUMP - HOUR), "here");
        assert_eq!(plan.next(), Some(UnixNanos::new(expected)), "{zone:?}");
        assert!(plan.identity.ends_with(zone.unwrap_or("UTC")), "{}", plan.identity);
    }
}

#[test]
fn a_new_task_owes_nothing_and_a_known_one_takes_up_where_it_was_left() {
    let mut plan = plans(&configured("@hourly")).unwrap().remove(0);
    let now = UnixNanos::new(10 * HOUR + 1);
    plan.resume(None, now, "here");
    assert_eq!(plan.next(), Some(UnixNanos::new(11 * HOUR)));

    let known = Answered { schedule: "@hourly UTC".into(), tick: 7 * HOUR };
    plan.resume(Some(&known), now, "here");
    assert_eq!(plan.next(), Some(UnixNanos::new(8 * HOUR)));

    let other = Answered { schedule: "@daily UTC".into(), tick: 7 * HOUR };
    plan.resume(Some(&other), now, "here");
    assert_eq!(plan.next(), Some(UnixNanos::new(11 * HOUR)));
}

#[test]
fn a_disabled_task_never_runs_by_itself() {
    let mut scheduler = configured("@hourly");
    scheduler.tasks[0].enabled = false;
    let mut plan = plans(&scheduler).unwrap().remove(0);
    plan.resume(None, UnixNanos::new(0), "here");
    assert_eq!((plan.next(), plan.answered()), (None, None));
}

#[test]
fn a_paused_task_never_runs_by_itself() {
    let mut plan = plans(&configured("@hourly")).unwrap().remove(0);
    plan.paused = Some(7);
    plan.resume(None, UnixNanos::new(0), "here");
    assert_eq!((plan.next(), plan.answered()), (None, None));
}

#[test]
fn ticks_that_are_all_made_up_for_wait_for_one_another() {
    for (catch_up, overlap, waits) in [
        (settings::CatchUp::None, Overlap::Skip, false),
        (settings::CatchUp::Once, Overlap::Skip, false),
        (settings::CatchUp::None, Overlap::Wait, true),
        (settings::CatchUp::All, Overlap::Skip, true),
    ] {
        let mut scheduler = configured("@hourly");
        (scheduler.tasks[0].catch_up, scheduler.tasks[0].overlap) = (catch_up, overlap);
        assert_eq!(plans(&scheduler).unwrap()[0].waits(), waits, "{catch_up:?} {overlap:?}");
    }
}

#[test]
fn the_delay_is_below_the_jitter_and_spreads_hosts_and_tasks() {
    let jitter = Duration::from_secs(600);
    let delays: BTreeSet<u64> = (0..100)
        .flat_map(|n| [(format!("host-{n}"), "t".to_owned()), ("host".to_owned(), format!("t{n}"))])
        .map(|(instance, task)| delay(&instance, &task, jitter))
        .inspect(|&length| assert!(length < jitter, "{length:?}"))
        .map(|length| length.as_secs() / 60)
        .collect();
    assert_eq!(delays.len(), 10, "each minute is somebody's: {delays:?}");
    assert_eq!(delay("host", "t", Duration::ZERO), Duration::ZERO);
    assert_eq!(delay("host", "t", jitter), delay("host", "t", jitter));
}

#[test]
fn the_jitter_moves_the_next_run() {
    let mut scheduler = configured("@hourly");
    scheduler.tasks[0].jitter = Duration::from_secs(600);
    let mut plan = plans(&scheduler).unwrap().remove(0);
    plan.resume(None, UnixNanos::new(HOUR + 1), "here");
    let delayed = delay("here", &plan.task.id, Duration::from_secs(600));
    assert_eq!(plan.next(), Some(UnixNanos::new(2 * HOUR).plus(delayed)));
}
