//! Frames of the venues: the scanner and the general parser read the same.

use crate::bus;
use model::{Event, Instrument, InstrumentId, Kind};
use std::sync::{Arc, LazyLock};
use units::UnixNanos;
use venue::{Adapter, FrameType, Message, ParseError};
use wire::Decoder;

/// When every frame is received.
pub(crate) const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// Frames that are read of an input, one a line.
const FRAMES_MAX: usize = 64;

/// Bytes of JSON that one byte of the frames may lead to: the shortest level has eleven, and the
/// longest decimal forty.
const JSON_PER_BYTE: usize = 64;

/// The contracts of the frames in the corpus: without them quantities are not multiplied out.
static OKX: LazyLock<Vec<Instrument>> = LazyLock::new(|| {
    let list = include_bytes!("../../venue-okx/testdata/instruments.json");
    venue_okx::Perp::new().parse_instruments(list).expect("a list of our own")
});

/// Reads a frame by the general parser alone.
type Slowly<A> = fn(&mut A, &[u8], UnixNanos, &mut Vec<Message>) -> Result<FrameType, ParseError>;

/// Reads frames of Binance's spot market.
///
/// # Panics
///
/// If its parsers disagree, or an event is none that the bus can carry.
pub fn binance_spot(data: &[u8]) -> bool {
    agree(venue_binance::Spot::new(), venue_binance::Spot::parse_slowly, data)
}

/// Reads frames of Binance's contracts margined in dollars.
///
/// # Panics
///
/// See [`binance_spot`].
pub fn binance_usdm(data: &[u8]) -> bool {
    agree(venue_binance::Perp::new(), venue_binance::Perp::parse_slowly, data)
}

/// Reads frames of OKX, as a market whose contracts are listed and as one without a list.
///
/// # Panics
///
/// See [`binance_spot`].
pub fn okx(data: &[u8]) -> bool {
    let mut perp = venue_okx::Perp::new();
    perp.set_instruments(&OKX);
    let listed = agree(perp, venue_okx::Perp::parse_slowly, data);
    let unlisted = agree(venue_okx::Spot::new(), venue_okx::Spot::parse_slowly, data);
    listed || unlisted
}

/// Reads frames of Deribit, as each market that has kinds of its own.
///
/// # Panics
///
/// See [`binance_spot`].
pub fn deribit(data: &[u8]) -> bool {
    let perp = agree(venue_deribit::Perp::new(), venue_deribit::Perp::parse_slowly, data);
    let option = agree(venue_deribit::Options::new(), venue_deribit::Options::parse_slowly, data);
    let index = agree(venue_deribit::Index::new(), venue_deribit::Index::parse_slowly, data);
    perp || option || index
}

/// What a frame was read as, in words that do not depend on what was refused before it: a slot is
/// a number that two parsers may give out in another order.
#[derive(Debug, PartialEq)]
enum Read {
    As(FrameType),
    Skipped(Arc<InstrumentId>, Kind, u64),
    Refused(ParseError),
}

fn agree<A: Adapter + Clone>(adapter: A, slowly: Slowly<A>, data: &[u8]) -> bool {
    let (mut usual, mut general) = (adapter.clone(), adapter);
    let mut decoder = Decoder::new();
    let mut accepted = false;
    for frame in data.split(|byte| *byte == b'\n').take(FRAMES_MAX) {
        let (mut out, mut out_slowly) = (Vec::new(), Vec::new());
        let read = usual.parse(frame, NOW, &mut out);
        let read_slowly = slowly(&mut general, frame, NOW, &mut out_slowly);
        let (read, events) = outcome(&usual, read, out);
        let other = outcome(&general, read_slowly, out_slowly);
        assert_eq!((&read, &events), (&other.0, &other.1), "{}", String::from_utf8_lossy(frame));
        accepted |= is_sound::<A>(&read, &events, frame);
        for event in &events {
            let bytes = bus::round_trip(&mut decoder, event);
            assert!(bytes <= 4_096 + JSON_PER_BYTE * data.len(), "{bytes} bytes: {event:?}");
        }
    }
    accepted
}

fn outcome<A: Adapter>(
    adapter: &A,
    result: Result<FrameType, ParseError>,
    messages: Vec<Message>,
) -> (Read, Vec<Event>) {
    let read = match result {
        Ok(FrameType::Skipped { slot, kind, id }) => {
            Read::Skipped(Arc::clone(adapter.instrument(slot)), kind, id)
        }
        Ok(frame_type) => Read::As(frame_type),
        Err(error) => Read::Refused(error),
    };
    let event = |Message { slot, event }| {
        assert_eq!(adapter.instrument(slot), &event.instrument, "another slot's event");
        event
    };
    (read, messages.into_iter().map(event).collect())
}

/// Whether a frame was accepted, and what holds of its events then.
fn is_sound<A: Adapter>(read: &Read, events: &[Event], frame: &[u8]) -> bool {
    assert!(events.len() <= 4 + frame.len(), "{} of {} bytes", events.len(), frame.len());
    for event in events {
        assert_eq!(event.instrument.venue, A::VENUE);
        assert_eq!((event.recv_time, event.origin), (NOW, None));
    }
    match read {
        Read::As(_) => true,
        Read::Skipped(..) | Read::Refused(_) => {
            assert!(events.is_empty(), "{read:?} with {events:?}");
            matches!(read, Read::Skipped(..))
        }
    }
}
