//! What travels between the services: blocks of events, and the names and headers beside them.

use catalog::StreamKey;
use model::{Event, InstrumentId, Kind, Market, Symbol, Venue};
use std::sync::Arc;
use wire::{BlockId, DeadLetter, Decoder, DurableSubject};

/// Reads bytes as a block: every event the usual way and by the general parser.
///
/// # Panics
///
/// If the two disagree, or an event does not survive being written.
pub fn wire_block(data: &[u8]) -> bool {
    let (mut usual, mut general, mut again) = (Decoder::new(), Decoder::new(), Decoder::new());
    let (mut accepted, mut bytes) = (false, 0);
    for json in wire::events(data) {
        assert!(!json.is_empty() && !json.contains(&b'\n'), "no line: {json:?}");
        bytes += json.len();
        match (usual.decode(json), general.decode_slowly(json)) {
            (Ok(event), Ok(slowly)) => {
                assert_eq!(event, slowly, "{}", String::from_utf8_lossy(json));
                let written = round_trip(&mut again, &event);
                assert!(written <= 512 + 16 * json.len(), "{written} bytes of {}", json.len());
                accepted = true;
            }
            (Err(error), Err(slowly)) => assert_eq!(error.to_string(), slowly.to_string()),
            (usual, slowly) => panic!(
                "{usual:?} the usual way, {slowly:?} by the general parser: {}",
                String::from_utf8_lossy(json)
            ),
        }
    }
    assert!(bytes <= data.len());
    accepted
}

/// Writes an event and reads it back, the usual way and by the general parser; returns its bytes.
pub(crate) fn round_trip(decoder: &mut Decoder, event: &Event) -> usize {
    let mut json = Vec::new();
    wire::encode(event, &mut json);
    assert!(!json.contains(&b'\n'), "an event is a line: {event:?}");
    for read in [decoder.decode(&json), decoder.decode_slowly(&json)] {
        match read {
            Ok(read) => assert_eq!(read, *event),
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&json)),
        }
    }
    json.len()
}

/// Reads a text as each of the names that subjects, headers and records carry, and its lines as
/// the subject and the headers of a dead letter.
///
/// # Panics
///
/// If a name is not what is written of it, or a symbol is no single token of a subject.
pub fn wire_names(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    is_one_token(text);
    let subject = text.parse::<DurableSubject>();
    let stream = text.parse::<StreamKey>();
    let block = BlockId::parse(text);
    if let Ok(subject) = &subject {
        assert_eq!(subject.to_string(), text);
    }
    if let Ok(stream) = &stream {
        assert_eq!(stream.to_string(), text);
    }
    if let Ok(block) = &block {
        assert_eq!(BlockId::parse(&block.msg_id()).as_ref(), Ok(block));
    }
    let letter = dead_letter(text);
    subject.is_ok() || stream.is_ok() || block.is_ok() || letter
}

/// A venue's name becomes one token, or is refused.
fn is_one_token(name: &str) {
    let Ok(symbol) = Symbol::encode(name) else { return };
    assert_eq!(Symbol::new(symbol.as_str()).as_ref(), Ok(&symbol));
    let (venue, market) = (Venue::Binance, Market::Spot);
    let id = InstrumentId { venue, market, symbol, name: Arc::from(name) };
    let subject = wire::live_subject(Kind::Trade, &id);
    assert_eq!(subject.split('.').count(), 5, "{subject}");
    assert!(!subject.contains(['*', '>', ' ', '\r', '\n']), "{subject:?}");
}

fn dead_letter(text: &str) -> bool {
    let mut lines = text.split('\n');
    let subject = lines.next().unwrap_or_default();
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let find = |name: &'static str| {
        headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    };
    let Ok(letter) = DeadLetter::read(subject, find) else { return false };
    // What a header cannot hold is lost the first time that it is written, and never again.
    let once = written(&letter);
    assert_eq!(written(&once), once);
    true
}

fn written(letter: &DeadLetter) -> DeadLetter {
    let headers = letter.headers();
    let find = |name: &'static str| {
        headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    };
    DeadLetter::read(&letter.subject(), find).expect("what was written can be read")
}
