//! Against a server of one answer, and against a gateway over HTTPS.

use super::*;
use crate::tasks;
use crate::testing::{Authority, PATIENCE, Running, line};
use settings::Suite;
use std::process::ExitCode;

async fn ask(target: &Target) -> anyhow::Result<serde_json::Value> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 1));
    target.storage(listen)?.post("/there", &serde_json::json!({"a": 1}), PATIENCE).await
}

#[tokio::test]
async fn a_service_is_shown_the_token_and_the_document() {
    let (mut target, served) = testing::answer("200 OK", "{\"b\": 2}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    target.access.token_file = Some(file.path().to_owned());
    assert_eq!(ask(&target).await.unwrap(), serde_json::json!({"b": 2}));
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("POST /there HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer s3cret\r\n"), "{head}");
    assert_eq!(body, "{\"a\":1}");
}

#[tokio::test]
async fn what_a_service_refuses_is_told_in_its_words() {
    for (status, body, expected) in [
        ("409 Conflict", "{\"detail\": \"days are being moved already\"}", "being moved already"),
        ("502 Bad Gateway", "<html>", "answered 502 Bad Gateway"),
        ("401 Unauthorized", "{}", "run this as root"),
    ] {
        let (target, served) = testing::answer(status, body);
        let error = ask(&target).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        served.join().unwrap();
    }
    let nobody = Target { storage: None, access: Access::default() };
    let error = ask(&nobody).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1: is marketprism-storage running?"), "{error}");
}

/// Asks a gateway for what only its scheduler knows.
async fn ask_over(
    gateway: &Endpoint,
    key: Option<&Path>,
    ca_file: Option<&Path>,
) -> anyhow::Result<serde_json::Value> {
    let (token_file, ca_file) = (key.map(Path::to_owned), ca_file.map(Path::to_owned));
    let access = Access { token_file, ca_file };
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let service = Service::new("scheduler", Some(gateway), &access, nobody, ANSWER_BYTES_MAX)?;
    service.ask(Method::GET, "/api/v1/scheduler/status", None, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_asked_over_https_with_its_authority_and_a_key() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mut suite = Suite::default();
    // Nobody is there: both do without a bus.
    suite.bus.url = "nats://127.0.0.1:1".parse().unwrap();
    suite.scheduler.tasks.iter_mut().for_each(|task| task.enabled = false);
    let total = suite.scheduler.tasks.len();
    let scheduler = Running::guarded::<scheduler::Scheduler>(&suite).await;
    suite.gateway.backends.scheduler = format!("http://{}", scheduler.address).parse().unwrap();
    authority.certify(&mut suite);
    let gateway = Running::guarded::<gateway::Gateway>(&suite).await;
    let (key, url) = (gateway.key(), format!("https://{}", gateway.address));
    let (endpoint, ca_file): (Endpoint, _) = (url.parse().unwrap(), authority.ca_file());

    for wrong in [None, Some(other.ca_file())] {
        let error = ask_over(&endpoint, Some(key.path()), wrong.as_deref()).await.unwrap_err();
        assert!(error.to_string().contains("--ca-file"), "{error:#}");
    }
    let error = ask_over(&endpoint, None, Some(&ca_file)).await.unwrap_err();
    assert!(error.to_string().contains("--key-file"), "{error:#}");
    let plain: Endpoint = format!("https://{}", scheduler.address).parse().unwrap();
    let error = ask_over(&plain, None, Some(&ca_file)).await.unwrap_err();
    assert!(error.to_string().contains("does it serve HTTPS there?"), "{error:#}");

    let let_in = async {
        loop {
            match ask_over(&endpoint, Some(key.path()), Some(&ca_file)).await {
                Ok(status) => return status,
                // Asking seldom until the key is noticed: whoever guesses is slowed down.
                Err(_) => tokio::time::sleep(Duration::from_millis(600)).await,
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, let_in).await.expect("the key is in force in time");
    assert_eq!(status["tasks"]["total"], total);

    let (key_file, ca_file) = (key.path().display(), ca_file.display());
    let args: tasks::Args =
        line(&format!("tasks --gateway {url} --key-file {key_file} --ca-file {ca_file} list"));
    assert_eq!(tasks::run(&args, &Suite::default()).await.unwrap(), ExitCode::SUCCESS);

    // A reload names the files of another certificate.
    other.certify(&mut suite);
    gateway.reload(&suite);
    let followed = async {
        while ask_over(&endpoint, Some(key.path()), Some(&other.ca_file())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, followed).await.expect("the other certificate is served");
    let former = ask_over(&endpoint, Some(key.path()), Some(&authority.ca_file())).await;
    assert!(former.unwrap_err().to_string().contains("--ca-file"));
    gateway.stop().await;
    scheduler.stop().await;
}
