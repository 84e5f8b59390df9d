//! Ring 3.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use super::Tasks;

const LONG: Duration = Duration::from_secs(45);

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_is_named_with_its_error() {
    let mut tasks = Tasks::new();
    tasks.spawn("publisher", |task| async move {
        task.stopped().await;
        Ok(())
    });
    tasks.spawn("ws-binance-0", |_task| async move { bail!("no route to host") });
    let error = tasks.ended().await;
    assert_eq!(format!("{error:#}"), "task `ws-binance-0` failed: no route to host");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_just_ends_is_an_error_too() {
    let mut tasks = Tasks::new();
    tasks.spawn("feed", |_task| async move { Ok(()) });
    let error = tasks.ended().await;
    assert_eq!(format!("{error:#}"), "task `feed` ended although nobody asked it to");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_error_of_its_task() {
    let mut tasks = Tasks::new();
    tasks.spawn("feed", |_task| async move { panic!("broken") });
    let error = format!("{:#}", tasks.ended().await);
    assert!(error.starts_with("task `feed` failed: "), "{error}");
    assert!(error.contains("panic"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn tasks_stop_one_after_another_in_the_order_of_their_start() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Tasks::new();
    for (name, work) in [("feed", 3), ("spool", 2), ("publisher", 1)] {
        let log = Arc::clone(&log);
        tasks.spawn(name, move |task| async move {
            task.stopped().await;
            log.lock().unwrap().push(format!("{name} stops"));
            task.alive(tokio::time::sleep(Duration::from_secs(work))).await;
            log.lock().unwrap().push(format!("{name} stopped"));
            Ok(())
        });
    }
    let before = Instant::now();
    tasks.shutdown(LONG).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(6));
    assert_eq!(
        *log.lock().unwrap(),
        [
            "feed stops",
            "feed stopped",
            "spool stops",
            "spool stopped",
            "publisher stops",
            "publisher stopped",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_stop_is_named_after_the_deadline() {
    let mut tasks = Tasks::new();
    tasks.spawn("feed", |task| async move {
        task.alive(std::future::pending::<()>()).await;
        Ok(())
    });
    tasks.spawn("spool", |task| async move {
        task.stopped().await;
        Ok(())
    });
    let before = Instant::now();
    let error = tasks.shutdown(LONG).await.unwrap_err();
    assert_eq!(before.elapsed(), LONG);
    assert!(error.to_string().starts_with("did not stop within 45s: `feed`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_error_while_stopping_is_kept_and_the_rest_still_stops() {
    let mut tasks = Tasks::new();
    tasks.spawn("feed", |task| async move {
        task.stopped().await;
        bail!("cannot flush")
    });
    tasks.spawn("spool", |task| async move {
        task.stopped().await;
        Ok(())
    });
    let error = tasks.shutdown(LONG).await.unwrap_err();
    assert_eq!(format!("{error:#}"), "task `feed` failed: cannot flush");
    assert!(tasks.pending().is_empty());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_task_is_asked_to_stop() {
    let mut tasks = Tasks::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tasks.spawn("feed", move |task| async move {
        let slept = task.sleep(Duration::from_secs(1)).await;
        log.lock().unwrap().push(slept);
        let slept = task.sleep(Duration::from_secs(100_000)).await;
        log.lock().unwrap().push(slept);
        assert!(task.until_stopped(async { 7 }).await.is_none());
        assert!(task.stopping());
        Ok(())
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    tasks.shutdown(LONG).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [true, false]);
}

#[tokio::test]
async fn a_task_that_blocks_is_silent_and_one_that_waits_is_not() {
    let mut tasks = Tasks::new();
    tasks.spawn("waits", |task| async move {
        task.stopped().await;
        Ok(())
    });
    tasks.spawn("stuck", |_task| async move {
        std::future::pending::<()>().await;
        Ok(())
    });
    let only_that = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let silent = tasks.beats.silent(Duration::from_millis(1_500));
            if silent.iter().map(|(name, _)| name.as_str()).eq(["stuck"]) {
                break;
            }
        }
    };
    tokio::time::timeout(LONG, only_that).await.unwrap();
}

#[tokio::test]
async fn tasks_of_a_task_are_watched_with_it_as_long_as_they_are_there() {
    let mut tasks = Tasks::new();
    let (let_go, gone) = tokio::sync::oneshot::channel::<()>();
    tasks.spawn("owner", |task| async move {
        let mut own = task.tasks();
        own.spawn("stuck", |_task| async move {
            std::future::pending::<()>().await;
            Ok(())
        });
        task.alive(gone).await?;
        drop(own);
        task.stopped().await;
        Ok(())
    });
    let silent = || {
        let silent = tasks.beats.silent(Duration::from_millis(1_500));
        silent.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let until = async |names: &[&str]| {
        while silent() != names {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, until(&["stuck"])).await.unwrap();
    let_go.send(()).unwrap();
    tokio::time::timeout(LONG, until(&[])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_given_up_can_be_gone_on_with() {
    let mut tasks = Tasks::new();
    tasks.spawn("slow", |task| async move {
        task.stopped().await;
        task.alive(tokio::time::sleep(Duration::from_secs(6))).await;
        Ok(())
    });
    let given_up = tokio::time::timeout(Duration::from_secs(2), tasks.shutdown(LONG)).await;
    assert!(given_up.is_err());
    tasks.shutdown(LONG).await.unwrap();
    assert!(tasks.pending().is_empty());
}
