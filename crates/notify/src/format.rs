//! What each kind of receiver wants to be sent, and how it says whether it has taken it. Pure.

mod chat;
mod webhook;

use serde_json::Value;

use crate::error::SendError;

pub(crate) use chat::{dingtalk, dingtalk_url, feishu, slack, telegram, wecom};
pub(crate) use webhook::{postable, webhook};

/// How much of an answer is told.
const EXCERPT_CHARS: usize = 200;

/// How a receiver says that it has taken a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By the status of HTTP alone.
    Status,
    /// By a member `ok`, with `error_code` and `description` otherwise.
    Telegram,
    /// By a member `errcode` of zero, with `errmsg` otherwise.
    Errcode,
    /// By a member `code` of zero, with `msg` otherwise.
    Code,
}

impl Verdict {
    /// What came back, in one line, or why the message was not taken.
    pub(crate) fn judge(self, status: u16, body: &str) -> Result<String, SendError> {
        let excerpt: String = body.trim().chars().take(EXCERPT_CHARS).collect();
        let document: Value = serde_json::from_str(body).unwrap_or_default();
        let said = match self {
            Self::Status => None,
            Self::Telegram => code(&document, "error_code", "description")
                .filter(|_| document["ok"] != Value::Bool(true)),
            Self::Errcode => code(&document, "errcode", "errmsg"),
            Self::Code => code(&document, "code", "msg"),
        };
        if let Some((code, text)) = said
            && code != 0
        {
            return Err(SendError::Code { code, text, is_busy: BUSY.contains(&code) });
        }
        let is_understood = match self {
            Self::Status => true,
            Self::Telegram => document["ok"] == Value::Bool(true),
            Self::Errcode | Self::Code => said_zero(self, &document),
        };
        if (200..300).contains(&status) && is_understood {
            return Ok(if excerpt.is_empty() {
                format!("answered {status}")
            } else {
                format!("answered {status}: {excerpt}")
            });
        }
        Err(SendError::Status { status, excerpt })
    }
}

/// Numbers by which receivers ask for patience: HTTP's 429 as Telegram says it, DingTalk 130101
/// (20 messages a minute), WeCom 45009 (20 messages a minute), Feishu 11232 (100 a minute), and -1,
/// which DingTalk and WeCom say when they are busy.
///
/// Source: <https://core.telegram.org/bots/api#making-requests>,
/// <https://open.dingtalk.com/document/orgapp/custom-bot-send-message-type>,
/// <https://developer.work.weixin.qq.com/document/path/90313>,
/// <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>.
const BUSY: [i64; 5] = [429, 130_101, 45_009, 11_232, -1];

fn code(document: &Value, number: &str, text: &str) -> Option<(i64, String)> {
    let code = document[number].as_i64()?;
    Some((code, document[text].as_str().unwrap_or_default().to_owned()))
}

fn said_zero(verdict: Verdict, document: &Value) -> bool {
    let member = if verdict == Verdict::Errcode { "errcode" } else { "code" };
    document[member].as_i64() == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(verdict: Verdict, status: u16, body: &str) -> (bool, String) {
        match verdict.judge(status, body) {
            Ok(answer) => (true, answer),
            Err(error) => (error.is_transient(), format!("{}: {error}", error.reason())),
        }
    }

    #[test]
    fn a_success_of_http_may_be_a_refusal() {
        for (verdict, status, body, expected) in [
            (Verdict::Status, 200, "ok", (true, "answered 200: ok")),
            (Verdict::Status, 204, "", (true, "answered 204")),
            (Verdict::Status, 403, "invalid_token", (false, "status: answered 403: invalid_token")),
            (Verdict::Status, 503, "", (true, "status: answered 503: ")),
            (Verdict::Telegram, 200, "{\"ok\":true}", (true, "answered 200: {\"ok\":true}")),
            (
                Verdict::Telegram,
                400,
                "{\"ok\":false,\"error_code\":400,\"description\":\"chat not found\"}",
                (false, "code: refused with code 400: chat not found"),
            ),
            (
                Verdict::Telegram,
                429,
                "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests\"}",
                (true, "code: refused with code 429: Too Many Requests"),
            ),
            (
                Verdict::Errcode,
                200,
                "{\"errcode\":310000,\"errmsg\":\"sign not match\"}",
                (false, "code: refused with code 310000: sign not match"),
            ),
            (
                Verdict::Errcode,
                200,
                "{\"errcode\":0,\"errmsg\":\"ok\"}",
                (true, "answered 200: {\"errcode\":0,\"errmsg\":\"ok\"}"),
            ),
            (
                Verdict::Code,
                200,
                "{\"code\":19021,\"msg\":\"sign match fail\"}",
                (false, "code: refused with code 19021: sign match fail"),
            ),
            (Verdict::Code, 200, "<html>", (false, "status: answered 200: <html>")),
        ] {
            let (taken, text) = judged(verdict, status, body);
            assert_eq!((taken, text.as_str()), expected, "{status} {body}");
        }
    }
}
