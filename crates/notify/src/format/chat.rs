//! Messages for people in chats.

use serde_json::{Value, json};
use url::Url;

use crate::message::Message;
use crate::sign;

/// Slack cuts off beyond 40,000 characters; nobody reads a tenth of that.
const SLACK_BYTES_MAX: usize = 4_000;

/// Telegram takes 4,096 characters; counted in bytes it is never more.
const TELEGRAM_BYTES_MAX: usize = 4_096;

/// DingTalk and Feishu take 20,000 bytes of body.
const TEXT_BYTES_MAX: usize = 4_000;

/// WeCom takes 2,048 bytes of text.
const WECOM_BYTES_MAX: usize = 2_048;

/// The body for an incoming webhook. `&`, `<` and `>` are Slack's own and written as entities.
///
/// Source: <https://docs.slack.dev/messaging/formatting-message-text/#escaping>.
pub(crate) fn slack(message: &Message) -> Value {
    let text = message.text(SLACK_BYTES_MAX);
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({"text": text})
}

/// The body of `sendMessage`; without `parse_mode` the text is taken as it is.
///
/// Source: <https://core.telegram.org/bots/api#sendmessage>.
pub(crate) fn telegram(message: &Message, chat_id: &str) -> Value {
    json!({"chat_id": chat_id, "text": message.text(TELEGRAM_BYTES_MAX)})
}

/// The body for a custom robot.
///
/// Source: <https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages>.
pub(crate) fn dingtalk(message: &Message) -> Value {
    json!({"msgtype": "text", "text": {"content": message.text(TEXT_BYTES_MAX)}})
}

/// The address of a custom robot with the signature, if there is something to sign with.
pub(crate) fn dingtalk_url(url: &Url, secret: Option<&str>, millis: i64) -> Url {
    let mut url = url.clone();
    if let Some(secret) = secret {
        let sign = sign::dingtalk(secret, millis);
        let time = millis.to_string();
        url.query_pairs_mut().append_pair("timestamp", &time).append_pair("sign", &sign);
    }
    url
}

/// The body for a custom bot, with the signature, if there is something to sign with.
///
/// Source: <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>.
pub(crate) fn feishu(message: &Message, secret: Option<&str>, seconds: i64) -> Value {
    let mut body = json!({"msg_type": "text", "content": {"text": message.text(TEXT_BYTES_MAX)}});
    if let Some(secret) = secret {
        body["timestamp"] = json!(seconds.to_string());
        body["sign"] = json!(sign::feishu(secret, seconds));
    }
    body
}

/// The body for a group robot.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/91770>.
pub(crate) fn wecom(message: &Message) -> Value {
    json!({"msgtype": "text", "text": {"content": message.text(WECOM_BYTES_MAX)}})
}
