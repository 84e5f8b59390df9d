//! The configuration by example.

use super::*;
use expect_test::expect;

fn input(
    version: &str,
    services: &[&'static str],
) -> (settings::Nats, Version, Vec<(&'static str, SecretString)>) {
    let passwords =
        services.iter().map(|&service| (service, format!("pw \"{service}\"").into())).collect();
    (settings::Nats::default(), version.parse().unwrap(), passwords)
}

fn rendered(version: &str, services: &[&'static str]) -> Result<Rendered, RenderError> {
    let (nats, version, passwords) = input(version, services);
    render(&Input { nats: &nats, version, store: "/var/lib/x".into(), passwords })
}

#[test]
fn the_versions_of_debian_and_upstream_are_read() {
    for (text, expected) in [
        ("nats-server: v2.9.10\n", "2.9.10"),
        ("nats-server: v2.10.27", "2.10.27"),
        ("nats-server: v2.15.1-RC.1", "2.15.1"),
    ] {
        assert_eq!(text.parse::<Version>().unwrap().to_string(), expected);
    }
    for text in ["", "nats-server", "v2", "v2.x.1"] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}

#[test]
fn without_passwords_there_is_no_authorization_and_that_is_said() {
    let rendered = rendered("v2.9.10", &[]).unwrap();
    assert!(rendered.warnings[1].contains("every process on this host"), "{:?}", rendered.warnings);
    expect![[r#"
        # Written by `marketprism-nats render` for nats-server 2.9.10; overwritten at every start.
        server_name: marketprism
        listen: "127.0.0.1:4230"
        http: "127.0.0.1:8230"
        max_payload: 1048576
        # A reader that died must not hold back what it was given.
        ping_interval: "10s"
        ping_max: 2
        # The journal has its own times.
        logtime: false
        jetstream {
          store_dir: "/var/lib/x"
          max_memory_store: 67108864
          max_file_store: 8589934592
        }
    "#]]
    .assert_eq(&rendered.text);
}

#[test]
fn every_block_is_synced_where_the_server_can() {
    let old = rendered("v2.9.10", &["broker"]).unwrap();
    assert!(!old.text.contains("sync_interval"));
    assert!(old.warnings[0].contains("power cut"), "{:?}", old.warnings);
    let new = rendered("v2.10.27", SERVICES).unwrap();
    assert!(new.text.contains("  sync_interval: always\n"));
    assert_eq!(new.warnings, [] as [String; 0]);
}

#[test]
fn each_service_has_a_user_with_its_own_subjects() {
    let rendered = rendered("v2.10.27", &["collector"]).unwrap();
    assert!(rendered.warnings[0].contains("marketprism-broker cannot log in"));
    let (_, users) = rendered.text.split_once("authorization").unwrap();
    expect![[r#"
         {
          timeout: 5
          users: [
            { user: "marketprism-collector", password: "pw \"collector\"", permissions: {
              publish: ["md.>", "mdb.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.CREATE.KV_marketprism-leases", "$KV.marketprism-leases.collector.*"]
              subscribe: ["_INBOX.collector.>"]
            } }
          ]
        }
    "#]]
    .assert_eq(users);
}

#[test]
fn what_would_be_open_to_others_is_refused() {
    let (mut nats, version, passwords) = input("v2.9.10", &["broker"]);
    nats.listen = "0.0.0.0:4230".parse().unwrap();
    let open = Input { nats: &nats, version, store: "/x".into(), passwords: Vec::new() };
    assert!(matches!(render(&open), Err(RenderError::OpenToTheNetwork(_))));
    let guarded = Input { nats: &nats, version, store: "/x".into(), passwords };
    assert!(render(&guarded).is_ok());
    nats.monitor = "0.0.0.0:8230".parse().unwrap();
    let (_, version, passwords) = input("v2.9.10", &["broker"]);
    let monitored = Input { nats: &nats, version, store: "/x".into(), passwords };
    assert!(matches!(render(&monitored), Err(RenderError::MonitorBeyondLoopback(_))));
}

#[test]
fn a_password_that_could_be_read_as_something_else_is_refused() {
    for password in ["", "$2a$11$hash", "two\nlines", "ümlaut"] {
        let (nats, version, _) = input("v2.9.10", &[]);
        let passwords = vec![("broker", SecretString::from(password))];
        let result = render(&Input { nats: &nats, version, store: "/x".into(), passwords });
        assert_eq!(result.unwrap_err(), RenderError::Password("broker"), "{password:?}");
    }
}

#[test]
fn a_server_that_is_too_old_is_refused() {
    assert!(matches!(rendered("v2.8.4", &[]), Err(RenderError::TooOld(_))));
}
