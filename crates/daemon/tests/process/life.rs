//! What systemd and clients see of a service that works.

use std::time::{Duration, Instant};

use crate::process::harness::{Process, Setup};

const CONFIGURATION: &str = "scheduler:\n  listen: 127.0.0.1:PORT\n  timezone: UTC\n";

fn probe() -> Setup {
    Setup::new("probe").configured(CONFIGURATION)
}

fn watched() -> Process {
    let process = probe().variable("WATCHDOG_USEC", "4000000").start();
    process.notified("READY=1");
    process
}

#[test]
fn ready_comes_once_and_the_port_answers_then() {
    let process = probe().start();
    process.notified("READY=1");
    let health = process.get("/health");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(health.contains(r#""status":"ok""#), "{health}");
    let more = process.notifications(Duration::from_millis(1_500));
    assert!(more.iter().all(|message| !message.contains("READY=1")), "{more:?}");
}

#[test]
fn the_status_is_one_line_and_throttled() {
    let process = probe().start();
    let ready = process.notified("READY=1");
    assert_eq!(ready, "READY=1\nSTATUS=working WATCHDOG=trigger\n");
    for number in 0..20 {
        process.post("/status", &format!("step {number}\nREADY=1"));
    }
    let statuses = process.notifications(Duration::from_millis(2_500));
    assert!((1..=3).contains(&statuses.len()), "{statuses:?}");
    assert_eq!(statuses.last().unwrap(), "STATUS=step 19 READY=1\n");
}

#[test]
fn the_watchdog_is_fed_more_often_than_it_barks() {
    let process = watched();
    let mut last = Instant::now();
    for _ in 0..4 {
        process.notified("WATCHDOG=1");
        assert!(last.elapsed() < Duration::from_secs(4), "{:?}", last.elapsed());
        last = Instant::now();
    }
}

#[test]
fn an_outage_outside_is_not_a_reason_to_be_restarted() {
    let process = watched();
    process.post("/outage", "");
    let health = process.get("/health");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(health.contains(r#""status":"degraded""#), "{health}");
    assert!(health.contains("unplugged"), "{health}");
    let ready = process.get("/ready");
    assert!(ready.starts_with("HTTP/1.1 200 "), "within its grace: {ready}");
    for _ in 0..5 {
        process.notified("WATCHDOG=1");
    }
}

#[test]
fn a_stuck_task_stops_the_pings_and_is_named() {
    let process = watched();
    process.post("/stick", "");
    let status = process.notified("STATUS=working WATCHDOG=trigger; task `worker` is stuck");
    assert!(!status.contains("WATCHDOG=1"));
    let later = process.notifications(Duration::from_secs(3));
    assert!(later.iter().all(|message| !message.contains("WATCHDOG=1")), "{later:?}");
    let health = process.get("/health");
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    process.signal("-KILL");
    let ended = process.end();
    assert!(ended.stderr.contains("task `worker` is stuck, silent for "), "{}", ended.stderr);
}

#[test]
fn a_blocked_runtime_stops_the_pings_until_it_runs_again() {
    let process = watched();
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| process.post("/block", ""));
        process.notified("STATUS=working WATCHDOG=trigger; the runtime is stuck");
        asking.join().unwrap()
    });
    assert!(asking.starts_with("HTTP/1.1 200 "), "{asking}");
    process.notified("WATCHDOG=1");
    process.notified("STATUS=working WATCHDOG=trigger\n".trim_end());
}

#[test]
fn hangup_reloads_in_one_datagram_and_is_ready_again() {
    let process = probe().start();
    process.notified("READY=1");
    process.reconfigure(&CONFIGURATION.replace("UTC", "Europe/Zurich"));
    process.signal("-HUP");
    let reloading = process.notified("RELOADING=1");
    let lines = reloading.lines().collect::<Vec<_>>();
    assert_eq!(lines[0], "RELOADING=1");
    let time = lines[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
    assert!(time > 0 && lines.len() == 2, "{lines:?}");
    process.notified("READY=1");
    assert!(process.get("/timezone").ends_with("Europe/Zurich"));
}

#[test]
fn a_bad_configuration_leaves_the_old_one_in_force() {
    let mut process = probe().start();
    process.notified("READY=1");
    process.reconfigure("scheduler:\n  listen: 127.0.0.1:PORT\n  timezoen: Europe/Zurich\n");
    process.signal("-HUP");
    process.notified("RELOADING=1");
    let ready = process.notified("READY=1");
    assert!(ready.contains("configuration not reloaded, the old one is in force: "), "{ready}");
    assert!(ready.contains("services.yaml:3:3: unknown key `timezoen`"), "{ready}");
    assert!(process.get("/timezone").ends_with("UTC"));
    process.reconfigure(&CONFIGURATION.replace("UTC", "Europe/Zurich"));
    process.signal("-HUP");
    process.notified("RELOADING=1");
    assert!(!process.notified("READY=1").contains("not reloaded"));
    assert!(process.get("/timezone").ends_with("Europe/Zurich"));
    assert!(process.is_running());
}

#[test]
fn thirty_hangups_in_a_row_keep_the_process() {
    let mut process = probe().start();
    process.notified("READY=1");
    for _ in 0..30 {
        process.signal("-HUP");
    }
    process.notified("RELOADING=1");
    process.notified("READY=1");
    assert!(process.get("/health").starts_with("HTTP/1.1 200 "));
    assert!(process.is_running());
}

#[test]
fn terminate_stops_cleanly() {
    let process = watched();
    process.signal("-TERM");
    process.notified("STOPPING=1");
    let later = process.notifications(Duration::from_millis(1_500));
    assert!(later.iter().all(|message| !message.contains("WATCHDOG=1")), "{later:?}");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopped"), "{}", ended.stderr);
}

#[test]
fn a_long_drain_asks_for_more_time() {
    let process = Setup::new("probe").configured(&CONFIGURATION.replace("UTC", "Lazy")).start();
    process.notified("READY=1");
    process.signal("-TERM");
    process.notified("STOPPING=1");
    process.notified("EXTEND_TIMEOUT_USEC=15000000");
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let process = Setup::new("probe").configured(&CONFIGURATION.replace("UTC", "Lazy")).start();
    process.notified("READY=1");
    process.signal("-TERM");
    process.notified("STOPPING=1");
    process.signal("-INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("a second time"), "{}", ended.stderr);
}

#[test]
fn a_slow_start_asks_for_more_time_and_can_be_stopped() {
    let process = Setup::new("probe").configured(&CONFIGURATION.replace("UTC", "Slow")).start();
    process.notified("EXTEND_TIMEOUT_USEC=15000000");
    process.signal("-TERM");
    process.notified("STOPPING=1");
    assert_eq!(process.end().status.code(), Some(0));
}

#[test]
fn a_task_that_fails_ends_the_service_with_its_error() {
    let process = probe().start();
    process.notified("READY=1");
    process.post("/fail", "");
    process.notified("STOPPING=1");
    let status = process.notified("STATUS=task `worker` failed");
    assert_eq!(status, "STATUS=task `worker` failed: the disk is on fire\n");
    let ended = process.end();
    assert_eq!(ended.status.code(), Some(1));
    let text = "task `worker` failed: the disk is on fire";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

#[test]
fn the_common_metrics_are_there_and_end_as_openmetrics_does() {
    let process = probe().variable("INVOCATION_ID", "0123456789abcdef").start();
    process.notified("READY=1");
    let answer = process.get("/metrics");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    for name in [
        "marketprism_process_resident_memory_bytes{service=\"scheduler\"} ",
        "marketprism_process_open_fds{service=\"scheduler\"} ",
        "marketprism_process_threads{service=\"scheduler\"} ",
        "marketprism_process_start_time_seconds{service=\"scheduler\"} ",
        "marketprism_unit_info{service=\"scheduler\",invocation_id=\"0123456789abcdef\"",
        "marketprism_dependency_up{service=\"scheduler\",dependency=\"outside\"} 1",
        "marketprism_log_dropped_total{service=\"scheduler\"} 0",
        "marketprism_ready{service=\"scheduler\"} 1",
    ] {
        assert!(answer.contains(name), "{name} is not in {answer}");
    }
    assert!(answer.ends_with("# EOF\n"));
}

#[test]
fn the_interface_is_described() {
    let process = probe().start();
    process.notified("READY=1");
    let answer = process.get("/openapi.json");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    for path in ["/health", "/ready", "/metrics", "/openapi.json"] {
        assert!(answer.contains(&format!("\"{path}\": {{")), "{path} is not in {answer}");
    }
}

#[test]
fn what_is_not_there_is_a_problem_document() {
    let process = probe().start();
    process.notified("READY=1");
    let nothing = process.get("/nothing");
    assert!(nothing.starts_with("HTTP/1.1 404 "), "{nothing}");
    assert!(nothing.contains("application/problem+json"), "{nothing}");
    let wrong = process.post("/timezone", "");
    assert!(wrong.starts_with("HTTP/1.1 405 "), "{wrong}");
    assert!(wrong.contains("application/problem+json"), "{wrong}");
}

#[test]
fn with_a_token_only_the_open_paths_are_open() {
    let setup = probe();
    std::fs::write(setup.path().join("marketprism.internal-token"), "s3cret\n").unwrap();
    let directory = setup.path().to_str().unwrap().to_owned();
    let process = setup.variable("CREDENTIALS_DIRECTORY", directory).start();
    process.notified("READY=1");
    for open in ["/health", "/ready", "/metrics"] {
        assert!(process.get(open).starts_with("HTTP/1.1 200 "), "{open}");
    }
    assert!(process.get("/timezone").starts_with("HTTP/1.1 401 "));
    assert!(process.get("/nothing").starts_with("HTTP/1.1 401 "));
    for (token, status) in [("s3cret", 200), ("s3cre", 401), ("", 401)] {
        let answer = process.ask(&format!(
            "GET /timezone HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        ));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{token}: {answer}");
    }
}
