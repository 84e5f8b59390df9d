//! The whole way: the command, the monitoring, and a receiver on loopback.

use super::*;
use crate::testing::{PATIENCE, Running, typed};
use monitoring::Monitoring;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

/// The monitoring at work.
struct Site(Running);

impl Site {
    async fn start(suite: &Suite) -> Self {
        Self(Running::guarded::<Monitoring>(suite).await)
    }

    /// Runs the command as an operator types it.
    async fn command(&self, words: &[&str]) -> anyhow::Result<ExitCode> {
        let target = format!("http://{}", self.0.address);
        let words =
            ["alerts", "--monitoring", target.as_str()].into_iter().chain(words.iter().copied());
        run(&typed(words), &Suite::default()).await
    }

    async fn succeeds(&self, words: &[&str]) -> bool {
        self.command(words).await.unwrap() == ExitCode::SUCCESS
    }

    fn service(&self) -> Service {
        let access = Access::default();
        Service::new("monitoring", None, &access, self.0.address, ANSWER_BYTES_MAX).unwrap()
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

#[tokio::test]
async fn an_alert_is_bad_until_it_is_silenced() {
    let site = Site::start(&broken()).await;
    let fires = async {
        while site.succeeds(&["list"]).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, fires).await.unwrap();

    let silence = ["silence", "service=storage", "--for", "2h", "--comment", "work"];
    assert!(site.succeeds(&silence).await);
    assert!(site.succeeds(&[]).await);
    let silences: Vec<Silence> =
        site.service().ask(Method::GET, "/api/v2/silences", None, PATIENCE).await.unwrap();
    assert_eq!(silences[0].matchers[0].text(), "service=\"storage\"");
    assert_eq!(silences[0].comment, "work");

    assert!(site.succeeds(&["unsilence", &silences[0].id]).await);
    assert!(!site.succeeds(&["list"]).await);
    let again = site.command(&["unsilence", &silences[0].id]).await.unwrap_err();
    assert_eq!(again.to_string(), "the silence is expired");
    site.0.stop().await;
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
    let site = Site::start(&with_webhook(&url)).await;
    assert!(site.succeeds(&["test", "pager"]).await);
    let body = served.join().unwrap();
    assert_eq!(body["alerts"][0]["labels"]["alertname"], "test");
    assert!(site.succeeds(&["channels"]).await);

    let unknown = site.command(&["test", "nobody"]).await.unwrap_err();
    assert!(format!("{unknown:#}").ends_with("there is no channel of this name"), "{unknown:#}");
    site.0.stop().await;
}

#[tokio::test]
async fn a_test_that_is_refused_says_why() {
    let (url, served) = receiver("403 Forbidden");
    let site = Site::start(&with_webhook(&url)).await;
    let refused = site.command(&["test", "pager"]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("answered 403"), "{refused:#}");
    served.join().unwrap();
    assert!(!site.succeeds(&["channels"]).await);
    site.0.stop().await;
}
