//! The whole way: the command, the monitoring, and a receiver on loopback.

use super::*;
use clap::Parser;
use daemon::{Service as _, Tasks};
use monitoring::Monitoring;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The monitoring at work, served on a port of its own.
struct Running {
    address: SocketAddr,
    tasks: Tasks,
    _directory: tempfile::TempDir,
    _suite: tokio::sync::watch::Sender<Arc<Suite>>,
}

impl Running {
    async fn start(suite: Suite) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (mut context, sender) =
            daemon::testing::context(Monitoring::NAME, suite, directory.path());
        let service = Monitoring::build(&mut context).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = service.router();
        let mut tasks = Tasks::new();
        tasks.spawn("http", move |task| async move {
            let limits = web::Limits::default();
            task.alive(web::serve(listener, router, limits, task.token())).await?;
            Ok(())
        });
        service.start(&mut tasks).unwrap();
        Self { address, tasks, _directory: directory, _suite: sender }
    }

    /// Runs the command as an operator types it.
    async fn command(&self, words: &[&str]) -> anyhow::Result<ExitCode> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let target = format!("http://{}", self.address);
        let words =
            ["alerts", "--monitoring", target.as_str()].into_iter().chain(words.iter().copied());
        run(&Line::parse_from(words).args, &Suite::default()).await
    }

    fn service(&self) -> Service {
        let endpoint = format!("http://{}", self.address).parse().unwrap();
        Service::new("monitoring", Some(&endpoint), None, self.address, ANSWER_BYTES_MAX).unwrap()
    }
}

/// A suite whose storage is away, which is an alert at once.
fn broken() -> Suite {
    let mut suite = Suite::default();
    suite.monitoring.interval = Duration::from_millis(20);
    suite.monitoring.services.retain(|name, _| name == "storage");
    let nowhere = "http://127.0.0.1:1".parse().unwrap();
    suite.monitoring.services.insert("storage".into(), nowhere);
    suite.monitoring.rules.retain(|rule| rule.name == "service-down");
    suite.monitoring.rules[0].hold = Duration::ZERO;
    suite
}

fn is_success(code: ExitCode) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}

#[tokio::test]
async fn an_alert_is_bad_until_it_is_silenced() {
    let mut running = Running::start(broken()).await;
    let fires = async {
        while is_success(running.command(&["list"]).await.unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, fires).await.unwrap();

    let silence = ["silence", "service=storage", "--for", "2h", "--comment", "work"];
    assert!(is_success(running.command(&silence).await.unwrap()));
    assert!(is_success(running.command(&[]).await.unwrap()));
    let silences: Vec<Silence> =
        running.service().ask(Method::GET, "/api/v2/silences", None, PATIENCE).await.unwrap();
    assert_eq!(silences[0].matchers[0].text(), "service=\"storage\"");
    assert_eq!(silences[0].comment, "work");

    assert!(is_success(running.command(&["unsilence", &silences[0].id]).await.unwrap()));
    assert!(!is_success(running.command(&["list"]).await.unwrap()));
    let again = running.command(&["unsilence", &silences[0].id]).await.unwrap_err();
    assert_eq!(again.to_string(), "the silence is expired");
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

/// Answers one request and hands out its body.
fn receiver(status: &'static str) -> (String, JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        (&stream).write_all(answer.as_bytes()).unwrap();
        serde_json::from_slice(&body).unwrap()
    });
    (url, served)
}

fn with_webhook(url: &str) -> Suite {
    let mut suite = broken();
    suite.monitoring.services.clear();
    suite.monitoring.notify.channels = vec![settings::Channel {
        name: "pager".into(),
        kind: settings::ChannelKind::Webhook,
        url: Some(url.parse().unwrap()),
        secret_file: None,
        send_resolved: true,
        ca_file: None,
        chat_id: None,
        from: None,
        to: Vec::new(),
        user: None,
    }];
    suite
}

#[tokio::test]
async fn a_test_says_what_came_back() {
    let (url, served) = receiver("200 OK");
    let mut running = Running::start(with_webhook(&url)).await;
    assert!(is_success(running.command(&["test", "pager"]).await.unwrap()));
    let body = served.join().unwrap();
    assert_eq!(body["alerts"][0]["labels"]["alertname"], "test");
    assert!(is_success(running.command(&["channels"]).await.unwrap()));

    let unknown = running.command(&["test", "nobody"]).await.unwrap_err();
    assert!(format!("{unknown:#}").ends_with("there is no channel of this name"), "{unknown:#}");
    running.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_test_that_is_refused_says_why() {
    let (url, served) = receiver("403 Forbidden");
    let mut running = Running::start(with_webhook(&url)).await;
    let refused = running.command(&["test", "pager"]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("answered 403"), "{refused:#}");
    served.join().unwrap();
    assert!(!is_success(running.command(&["channels"]).await.unwrap()));
    running.tasks.shutdown(PATIENCE).await.unwrap();
}
