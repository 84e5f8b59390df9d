//! Ring 3: Alertmanager's own tool against the interface, over a socket.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};

use super::House;

/// Where the interface is, and a home without a configuration.
struct Tool {
    url: String,
    home: PathBuf,
}

impl Tool {
    /// Runs the tool and returns what it prints.
    async fn run(&self, words: &[&str]) -> String {
        let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        words.push(format!("--alertmanager.url={}", self.url));
        let home = self.home.clone();
        let running = spawn_blocking(move || {
            let program = testkit::debian::program("prometheus-alertmanager", "amtool").unwrap();
            let mut tool = Command::new(program);
            tool.args(&words).env("HOME", home).stdin(Stdio::null());
            let output = tool.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{words:?}: {said}");
            String::from_utf8(output.stdout).unwrap()
        });
        running.await.unwrap()
    }

    /// Runs a query and returns what it found.
    async fn query(&self, words: &[&str]) -> Vec<Value> {
        let text = self.run(&[words, ["--output=json"].as_slice()].concat()).await;
        let found: Option<Vec<Value>> = serde_json::from_str(&text).unwrap();
        found.unwrap_or_default()
    }
}

#[tokio::test]
async fn amtool_adds_and_finds_alerts_and_silences_them_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::start(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = house.router.clone();
    let mut servers = JoinSet::new();
    servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let tool = Tool { url, home: directory.path().to_owned() };

    let add = ["alert", "add", "alertname=backup", "severity=warning", "--annotation=summary=late"];
    tool.run(&add).await;
    let found = tool.query(&["alert", "query", "alertname=backup"]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["labels"], json!({"alertname": "backup", "severity": "warning"}));
    assert_eq!(found[0]["annotations"], json!({"summary": "late"}));
    assert_eq!(found[0]["status"]["state"], "active");
    assert_eq!(tool.query(&["alert", "query", "alertname=other"]).await, Vec::<Value>::new());

    let silence = ["silence", "add", "alertname=backup", "--duration=2h"];
    let why = ["--comment=work", "--author=op"];
    let id = tool.run(&[silence.as_slice(), why.as_slice()].concat()).await;
    let id = id.trim();
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(tool.query(&["alert", "query"]).await, Vec::<Value>::new());
    let silenced = tool.query(&["alert", "query", "--silenced"]).await;
    assert_eq!(silenced[0]["status"]["silencedBy"], json!([id]));
    let silences = tool.query(&["silence", "query"]).await;
    let told = ["id", "comment", "createdBy"].map(|name| silences[0][name].clone());
    assert_eq!(told, [json!(id), json!("work"), json!("op")]);

    tool.run(&["silence", "expire", id]).await;
    assert_eq!(tool.query(&["silence", "query"]).await, Vec::<Value>::new());
    let expired = tool.query(&["silence", "query", "--expired"]).await;
    assert_eq!(expired[0]["id"], json!(id));
    assert_eq!(tool.query(&["alert", "query"]).await.len(), 1);
    house.stop().await;
}
