//! How DingTalk and Feishu want a message signed. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;

/// DingTalk: the key is the secret, the text the time in milliseconds, a line feed and the secret.
///
/// Source: <https://open.dingtalk.com/document/robots/customize-robot-security-settings>.
pub(crate) fn dingtalk(secret: &str, millis: i64) -> String {
    signature(secret, &format!("{millis}\n{secret}"))
}

/// Feishu: the key is the time in seconds, a line feed and the secret; the text is empty.
///
/// Source: <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>.
pub(crate) fn feishu(secret: &str, seconds: i64) -> String {
    signature(&format!("{seconds}\n{secret}"), "")
}

fn signature(key: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hmac, base64 and hashlib.
    #[test]
    fn signatures_are_those_of_another_implementation() {
        assert_eq!(
            dingtalk("SEC123", 1_700_000_000_123),
            "FVgVLxEM+JweBRCq6YFMJ4KCCc7PFGREuLoDL/V5GSc="
        );
        assert_eq!(feishu("SEC123", 1_700_000_000), "j/tImR0k8vYXRsYw0+GHVQkV1v/J/8obOuMU7PE/KDo=");
    }
}
