//! Where the frames of a `WebSocket` end (RFC 6455 §5.2), so that a last word of the gateway's own
//! can stand behind a whole one.

/// The opcode of a close frame.
const CLOSE: u8 = 0x8;

/// The bit that says that a frame is the last of its message.
const FINAL: u8 = 0x80;

/// The bit that says that a key for masking comes before the payload.
const MASKED: u8 = 0x80;

/// Length of that key.
const KEY_BYTES: u64 = 4;

/// Most bytes of a close frame's payload (RFC 6455 §5.5): its code, and the reason.
const CLOSE_BYTES_MAX: usize = 125;

/// Follows what one side says, frame by frame.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What has come of a head that is not complete; there are 10 bytes at most.
    head: Vec<u8>,
    /// Bytes behind the latest head that have not come.
    left: u64,
    /// Whether it has said that it says no more.
    is_closed: bool,
}

impl Frames {
    /// Takes note of what has come next.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, others)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= u64::try_from(skipped).unwrap_or(u64::MAX);
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(*first);
            bytes = others;
            if let Some(left) = behind(&self.head) {
                self.is_closed |= self.head[0] & 0xf == CLOSE;
                self.left = left;
                self.head.clear();
            }
        }
    }

    /// Whether another frame may begin here.
    pub(super) fn may_begin(&self) -> bool {
        self.left == 0 && self.head.is_empty() && !self.is_closed
    }
}

/// How many bytes of key and payload are behind a head; `None` if that is not complete.
fn behind(head: &[u8]) -> Option<u64> {
    let ([_, second], extended) = head.split_first_chunk()?;
    let payload = match second & !MASKED {
        126 => u64::from(u16::from_be_bytes(*extended.first_chunk()?)),
        127 => u64::from_be_bytes(*extended.first_chunk()?),
        length => u64::from(length),
    };
    let key = if second & MASKED == 0 { 0 } else { KEY_BYTES };
    Some(payload.saturating_add(key))
}

/// The close frame with which a server ends a connection.
pub(super) fn close_of_server(code: u16, reason: &str) -> Vec<u8> {
    close(0, &[], code, reason)
}

/// The close frame with which a client does. Its key is for what strangers could have caches take
/// for something else; there is none on the way to a backend, nor are these words a stranger's.
pub(super) fn close_of_client(code: u16, reason: &str) -> Vec<u8> {
    close(MASKED, &[0; 4], code, reason)
}

fn close(masked: u8, key: &[u8], code: u16, reason: &str) -> Vec<u8> {
    let mut payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
    payload.truncate(CLOSE_BYTES_MAX);
    let length = u8::try_from(payload.len()).unwrap_or_default();
    [&[FINAL | CLOSE, masked | length][..], key, payload.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![FINAL | opcode];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        let key = if masked { 4 } else { 0 };
        frame.resize(frame.len() + key + length, 0x88);
        frame
    }

    #[test]
    fn another_frame_may_begin_behind_a_whole_one_and_nowhere_else() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            for masked in [false, true] {
                let text = frame(1, masked, length);
                for step in [1, 3, 1_000, text.len()] {
                    let mut frames = Frames::default();
                    let mut come = 0;
                    for piece in text.chunks(step) {
                        assert_eq!(frames.may_begin(), come == 0, "{length}, after {come}");
                        frames.follow(piece);
                        come += piece.len();
                    }
                    assert!(frames.may_begin(), "{length} in steps of {step}");
                    frames.follow(&[text.clone(), frame(9, masked, 0)].concat());
                    assert!(frames.may_begin(), "and behind others");
                    frames.follow(&frame(CLOSE, masked, 2));
                    assert!(!frames.may_begin(), "nothing is behind a close");
                }
            }
        }
    }

    #[test]
    fn the_last_word_is_a_whole_frame() {
        // RFC 6455 §5.5.1 and §7.4.1.
        assert_eq!(close_of_server(1001, "off"), b"\x88\x05\x03\xe9off");
        assert_eq!(close_of_client(1001, "off"), b"\x88\x85\0\0\0\0\x03\xe9off");
    }
}
