//! What a user sees when a service cannot work.

use std::net::TcpListener;

use crate::process::harness::{Ended, Setup};

fn run(configuration: &str) -> Ended {
    Setup::new("probe").configured(configuration).run().1
}

#[test]
fn a_good_configuration_is_ok() {
    let (stdout, ended) = Setup::new("probe").configured("{}\n").argument("--check").run();
    assert_eq!((stdout.as_str(), ended.stderr.as_str()), ("ok\n", ""));
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn a_check_needs_no_credentials() {
    let (_, ended) = Setup::new("probe")
        .configured("{}\n")
        .argument("--check")
        .variable("CREDENTIALS_DIRECTORY", "/nonexistent")
        .run();
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn a_wrong_key_is_shown_with_its_line_and_exits_78() {
    for check in [true, false] {
        let mut setup = Setup::new("probe").configured("gateway:\n  listne: 127.0.0.1:80\n");
        if check {
            setup = setup.argument("--check");
        }
        let ended = setup.run().1;
        assert_eq!(ended.status.code(), Some(78));
        let text = "services.yaml:2:3: unknown key `listne` in `gateway`; did you mean `listen`?\n   \
                    |\n 2 |   listne: 127.0.0.1:80\n   |   ^^^^^^\n";
        assert!(ended.stderr.ends_with(text), "{}", ended.stderr);
    }
}

#[test]
fn what_the_service_refuses_is_shown_with_its_line_too() {
    let ended = run("scheduler:\n  timezone: Mars\n");
    assert_eq!(ended.status.code(), Some(78));
    let text = "services.yaml:2:13: `scheduler.timezone` is not on this planet";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

#[test]
fn the_reason_is_the_last_status() {
    let process = Setup::new("probe").configured("gatway: {}\n").start();
    let status = process.notified("STATUS=");
    assert!(status.contains("services.yaml:1:1: unknown key `gatway`"), "{status}");
    assert_eq!(status.lines().count(), 1);
    assert_eq!(process.end().status.code(), Some(78));
}

#[test]
fn a_missing_file_exits_78() {
    let ended = Setup::new("probe").run().1;
    assert_eq!(ended.status.code(), Some(78));
    assert!(ended.stderr.contains("services.yaml: No such file or directory"), "{}", ended.stderr);
}

#[test]
fn a_busy_port_names_the_address_the_line_and_how_to_see_the_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let ended = run(&format!("scheduler:\n  listen: {address}\n"));
    assert_eq!(ended.status.code(), Some(1));
    let port = address.port();
    for part in [
        format!("cannot listen on {address} (`scheduler.listen` at "),
        "services.yaml:2:3): another process does".to_owned(),
        format!("`ss -ltnp 'sport = :{port}'` shows it to root"),
    ] {
        assert!(ended.stderr.contains(&part), "{part:?} is not in {}", ended.stderr);
    }
    assert!(TcpListener::bind(address).is_err(), "the holder still holds it");
}

#[test]
fn beyond_loopback_a_token_is_wanted() {
    let ended = run("scheduler:\n  listen: 0.0.0.0:PORT\n");
    assert_eq!(ended.status.code(), Some(78));
    let text = "services.yaml:2:11: `scheduler.listen` is beyond loopback, which needs the \
                credential `marketprism.internal-token`";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

#[test]
fn wrong_arguments_exit_64_and_help_is_help() {
    let (_, ended) = Setup::new("probe").configured("{}\n").argument("--chekc").run();
    assert_eq!(ended.status.code(), Some(64));
    assert!(ended.stderr.contains("--check"), "{}", ended.stderr);
    let (stdout, ended) = Setup::new("probe").configured("{}\n").argument("--help").run();
    assert_eq!(ended.status.code(), Some(0));
    assert!(stdout.contains("marketprism-scheduler --check --config"), "{stdout}");
    let (stdout, _) = Setup::new("probe").configured("{}\n").argument("--version").run();
    assert_eq!(stdout, format!("marketprism-scheduler {}\n", daemon::VERSION));
}
