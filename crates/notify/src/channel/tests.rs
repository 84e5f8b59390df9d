//! Ring 3: every kind of channel against a receiver on loopback that keeps what it was sent.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use expect_test::expect;
use serde_json::{Value, json};
use settings::{Channel as Configured, ChannelKind, Credentials};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use units::UnixNanos;

use super::Channel;
use crate::message::Message;
use crate::message::tests::{alert, message};
use crate::sign;
use crate::{Alertmanager, SendError};

/// More than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

const NOW: UnixNanos = UnixNanos::new(1_700_000_000_123_000_000);

/// What a receiver was sent.
#[derive(Debug)]
struct Received {
    uri: String,
    authorization: Option<String>,
    body: Value,
}

/// A receiver that gives every request the same answer.
struct Receiver {
    base: String,
    received: mpsc::Receiver<Received>,
    _servers: JoinSet<()>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    body: &'static str,
    received: mpsc::Sender<Received>,
}

impl Receiver {
    async fn start(status: u16, body: &'static str) -> Self {
        async fn take(
            State(answer): State<Answer>,
            request: Request,
        ) -> (StatusCode, &'static str) {
            let (head, body) = request.into_parts();
            let header = |name| Some(head.headers.get(name)?.to_str().unwrap().to_owned());
            let (uri, authorization) = (head.uri.to_string(), header("authorization"));
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let body = serde_json::from_slice(&body).unwrap();
            answer.received.send(Received { uri, authorization, body }).await.unwrap();
            (answer.status, answer.body)
        }
        let (sender, received) = mpsc::channel(16);
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, body, received: sender };
        let router = Router::new().fallback(take).with_state(answer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut servers = JoinSet::new();
        servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, received, _servers: servers }
    }
}

fn configured(kind: ChannelKind) -> Configured {
    Configured {
        name: "hook".into(),
        kind,
        url: None,
        secret_file: None,
        send_resolved: true,
        ca_file: None,
        chat_id: None,
        from: None,
        to: Vec::new(),
        user: None,
    }
}

/// Writes a secret as the operator does, and names its file.
fn with_secret(mut channel: Configured, directory: &Path, secret: &str) -> Configured {
    let path = directory.join("secret");
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    channel.secret_file = Some(path);
    channel
}

fn channel(configured: &Configured) -> Channel {
    Channel::new(configured, &Credentials::default(), PATIENCE).unwrap()
}

fn down() -> Message {
    message(vec![alert("down", None)])
}

const TEXT: &str = "[FIRING:1] down\n\
                    - down (critical): down <is> & bad (since 1970-01-01 00:00:00 UTC)\n\
                    http://mon:8083";

#[tokio::test]
async fn a_webhook_gets_alertmanagers_document_and_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(200, "").await;
    let mut webhook = configured(ChannelKind::Webhook);
    webhook.url = Some(format!("{}/in", receiver.base).parse().unwrap());
    let with_token = with_secret(webhook.clone(), directory.path(), "t0ken");
    assert_eq!(channel(&with_token).send(&down(), NOW).await.unwrap(), "answered 200");
    let received = receiver.received.recv().await.unwrap();
    assert_eq!(
        (received.uri.as_str(), received.authorization.as_deref()),
        ("/in", Some("Bearer t0ken"))
    );
    assert_eq!(
        (&received.body["version"], &received.body["status"]),
        (&json!("4"), &json!("firing"))
    );
    assert_eq!(received.body["alerts"][0]["labels"]["alertname"], "down");

    channel(&webhook).send(&down(), NOW).await.unwrap();
    assert_eq!(receiver.received.recv().await.unwrap().authorization, None);
}

#[tokio::test]
async fn slack_gets_escaped_text() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(200, "ok").await;
    let url = format!("{}/services/T0/B0/x", receiver.base);
    let slack = with_secret(configured(ChannelKind::Slack), directory.path(), &url);
    assert_eq!(channel(&slack).send(&down(), NOW).await.unwrap(), "answered 200: ok");
    let received = receiver.received.recv().await.unwrap();
    assert_eq!(received.uri, "/services/T0/B0/x");
    let text = TEXT.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(received.body, json!({"text": text}));
}

#[tokio::test]
async fn telegram_gets_the_chat_and_the_token_in_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(200, "{\"ok\":true}").await;
    let mut telegram = configured(ChannelKind::Telegram);
    telegram.url = Some(receiver.base.parse().unwrap());
    telegram.chat_id = Some("-100123".into());
    let telegram = with_secret(telegram, directory.path(), "123:ABC");
    channel(&telegram).send(&down(), NOW).await.unwrap();
    let received = receiver.received.recv().await.unwrap();
    assert_eq!(received.uri, "/bot123:ABC/sendMessage");
    assert_eq!(received.body, json!({"chat_id": "-100123", "text": TEXT}));
}

#[tokio::test]
async fn dingtalk_gets_a_signed_address() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(200, "{\"errcode\":0,\"errmsg\":\"ok\"}").await;
    let secret = format!("{}/robot/send?access_token=abc\nSEC123", receiver.base);
    let dingtalk = with_secret(configured(ChannelKind::Dingtalk), directory.path(), &secret);
    channel(&dingtalk).send(&down(), NOW).await.unwrap();
    let received = receiver.received.recv().await.unwrap();
    let url: url::Url = format!("{}{}", receiver.base, received.uri).parse().unwrap();
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        pair("access_token", "abc"),
        pair("timestamp", "1700000000123"),
        pair("sign", &sign::dingtalk("SEC123", 1_700_000_000_123)),
    ];
    assert_eq!(query, expected);
    // A plus in a query is a space: the signature must arrive without one.
    assert!(!received.uri.contains('+'), "{}", received.uri);
    assert_eq!(received.body, json!({"msgtype": "text", "text": {"content": TEXT}}));
}

#[tokio::test]
async fn feishu_gets_a_signed_body() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(200, "{\"code\":0,\"msg\":\"success\"}").await;
    let secret = format!("{}/open-apis/bot/v2/hook/x\nSEC123", receiver.base);
    let feishu = with_secret(configured(ChannelKind::Feishu), directory.path(), &secret);
    channel(&feishu).send(&down(), NOW).await.unwrap();
    let received = receiver.received.recv().await.unwrap();
    let expected = json!({
        "msg_type": "text",
        "content": {"text": TEXT},
        "timestamp": "1700000000",
        "sign": sign::feishu("SEC123", 1_700_000_000),
    });
    assert_eq!(received.body, expected);
}

#[tokio::test]
async fn wecom_gets_text_that_fits() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(200, "{\"errcode\":0,\"errmsg\":\"ok\"}").await;
    let url = format!("{}/cgi-bin/webhook/send?key=abc", receiver.base);
    let wecom = with_secret(configured(ChannelKind::Wecom), directory.path(), &url);
    let many = (0..100).map(|number| alert(&format!("a{number}"), None)).collect();
    channel(&wecom).send(&message(many), NOW).await.unwrap();
    let received = receiver.received.recv().await.unwrap();
    assert_eq!(received.uri, "/cgi-bin/webhook/send?key=abc");
    let text = received.body["text"]["content"].as_str().unwrap();
    assert!(text.starts_with("[FIRING:100]") && text.len() <= 2_048, "{text}");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_receivers_words_and_without_the_secret() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(200, "{\"errcode\":310000,\"errmsg\":\"sign not match\"}").await;
    let secret = format!("{}/robot/send?access_token=abc\nSEC123", receiver.base);
    let dingtalk = with_secret(configured(ChannelKind::Dingtalk), directory.path(), &secret);
    let dingtalk = channel(&dingtalk);
    let error = dingtalk.send(&down(), NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "refused with code 310000: sign not match");
    assert!(!error.is_transient());
    let debugged = format!("{dingtalk:?}");
    assert!(!debugged.contains("abc") && !debugged.contains("SEC123"), "{debugged}");
}

#[tokio::test]
async fn a_receiver_that_is_away_is_tried_again_and_its_address_stays_secret() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/services/s3cret", listener.local_addr().unwrap());
    drop(listener);
    let slack = with_secret(configured(ChannelKind::Slack), directory.path(), &url);
    let error = channel(&slack).send(&down(), NOW).await.unwrap_err();
    assert!(error.is_transient() && error.reason() == "connection", "{error:?}");
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");

    // It accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", silent.local_addr().unwrap());
    let slack = with_secret(configured(ChannelKind::Slack), directory.path(), &url);
    let limit = Duration::from_millis(50);
    let slack = Channel::new(&slack, &Credentials::default(), limit).unwrap();
    let error = slack.send(&down(), NOW).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout(after) if after == limit), "{error:?}");
}

#[tokio::test]
async fn an_alertmanager_gets_the_alerts_themselves() {
    let mut receiver = Receiver::start(200, "").await;
    let base = receiver.base.parse().unwrap();
    let alertmanager = Alertmanager::new(&base, PATIENCE).unwrap();
    alertmanager.push(&down().alerts, NOW).await.unwrap();
    let received = receiver.received.recv().await.unwrap();
    assert_eq!(received.uri, "/api/v2/alerts");
    assert_eq!(received.body[0]["labels"], json!({"alertname": "down", "severity": "critical"}));
    assert_eq!(received.body[0]["endsAt"], "2023-11-14T22:17:20.123Z");
}

/// Speaks SMTP as RFC 5321 wants it and keeps every line it was sent.
async fn mail_server(listener: TcpListener, mailed: &'static str) -> Vec<String> {
    let (stream, _) = listener.accept().await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut said = Vec::new();
    let mut in_data = false;
    writer.write_all(b"220 mail ESMTP\r\n").await.unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        let answer = match line.split(' ').next().unwrap() {
            "." if in_data => {
                in_data = false;
                mailed
            }
            _ if in_data => "",
            "EHLO" => "250-mail\r\n250 AUTH PLAIN\r\n",
            "AUTH" => "235 2.7.0 accepted\r\n",
            "DATA" => {
                in_data = true;
                "354 go ahead\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 2.1.0 ok\r\n",
        };
        let is_over = line == "QUIT";
        said.push(line);
        writer.write_all(answer.as_bytes()).await.unwrap();
        if is_over {
            break;
        }
    }
    said
}

async fn mail(directory: &Path, answer: &'static str) -> (Result<String, SendError>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut email = configured(ChannelKind::Email);
    email.url = Some(format!("smtp://{}", listener.local_addr().unwrap()).parse().unwrap());
    email.from = Some("MarketPrism <alerts@example.org>".into());
    email.to = vec!["a@example.org".into(), "b@example.org".into()];
    email.user = Some("alerts".into());
    let email = channel(&with_secret(email, directory, "s3cret"));
    let mut servers = JoinSet::new();
    servers.spawn(mail_server(listener, answer));
    let sent = email.send(&down(), NOW).await;
    let said = tokio::time::timeout(PATIENCE, servers.join_next()).await.unwrap();
    (sent, said.unwrap().unwrap())
}

#[tokio::test]
async fn a_mail_is_sent_with_a_login_to_every_recipient() {
    let directory = tempfile::tempdir().unwrap();
    let (sent, said) = mail(directory.path(), "250 2.0.0 queued as 7\r\n").await;
    assert_eq!(sent.unwrap(), "answered 250: 2.0.0 queued as 7");
    let login = said.iter().find_map(|line| line.strip_prefix("AUTH PLAIN ")).unwrap();
    assert_eq!(BASE64_STANDARD.decode(login).unwrap(), b"\0alerts\0s3cret");
    let envelope: Vec<&str> = said
        .iter()
        .filter(|line| line.starts_with("MAIL FROM") || line.starts_with("RCPT TO"))
        .map(|line| line.split(['<', '>']).nth(1).unwrap())
        .collect();
    assert_eq!(envelope, ["alerts@example.org", "a@example.org", "b@example.org"]);
    let has = |line: &str| said.iter().any(|said| said == line);
    assert!(has("Subject: [MarketPrism] [FIRING:1] down"), "{said:?}");
    assert!(has("- down (critical): down <is> & bad (since 1970-01-01 00:00:00 UTC)"), "{said:?}");
}

#[tokio::test]
async fn a_mail_that_the_server_does_not_take_now_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let (sent, _) = mail(directory.path(), "451 4.7.1 try again later\r\n").await;
    assert!(sent.unwrap_err().is_transient());
    let (sent, _) = mail(directory.path(), "554 5.7.1 refused\r\n").await;
    let error = sent.unwrap_err();
    assert!(!error.is_transient() && error.reason() == "mail", "{error:?}");
}

#[test]
fn a_channel_without_its_secret_is_refused() {
    let refused = |configured: &Configured| {
        Channel::new(configured, &Credentials::default(), PATIENCE).unwrap_err().to_string()
    };
    expect!["there is no secret: name a secret_file, or give the credential alert-hook"]
        .assert_eq(&refused(&configured(ChannelKind::Slack)));
    let directory = tempfile::tempdir().unwrap();
    let wrong = with_secret(configured(ChannelKind::Wecom), directory.path(), "file:///etc/passwd");
    expect!["the first line of the secret is not an http or https URL"].assert_eq(&refused(&wrong));
    let mut email = configured(ChannelKind::Email);
    email.url = Some("smtp://127.0.0.1:25".parse().unwrap());
    email.from = Some("nobody".into());
    expect!["`nobody` is no mail address"].assert_eq(&refused(&email));
}

#[test]
fn a_secret_may_be_a_credential() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("marketprism.alert-hook"), "http://127.0.0.1:1/x\n")
        .unwrap();
    let credentials = Credentials::at(directory.path().to_owned());
    Channel::new(&configured(ChannelKind::Slack), &credentials, PATIENCE).unwrap();
}
