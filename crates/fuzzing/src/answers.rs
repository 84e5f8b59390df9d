//! Answers of the venues to REST requests.

use crate::bus;
use crate::frames::NOW;
use model::{Body, Event, Kind};
use std::sync::Arc;
use units::UnixNanos;
use venue::{Adapter, ParseError, RestAnswer, Slot};
use wire::Decoder;

/// Reads an answer by every adapter, as each of the answers that it could be. The first line is the
/// path that was asked for.
///
/// # Panics
///
/// If an answer is not what its path asks for, or an event is none that the bus can carry.
pub fn answers(data: &[u8]) -> bool {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (path, body) = data.split_at(end);
    let Ok(path) = std::str::from_utf8(path) else { return false };
    let body = body.get(1..).unwrap_or_default();
    let read = [
        read(venue_binance::Spot::new(), path, body),
        read(venue_binance::Perp::new(), path, body),
        read(venue_binance::Future::new(), path, body),
        read(venue_okx::Spot::new(), path, body),
        read(venue_okx::Perp::new(), path, body),
        read(venue_okx::Options::new(), path, body),
        read(venue_deribit::Perp::new(), path, body),
        read(venue_deribit::Options::new(), path, body),
        read(venue_deribit::Index::new(), path, body),
    ];
    read.contains(&true)
}

fn read<A: Adapter>(mut adapter: A, path: &str, body: &[u8]) -> bool {
    let others = read_volumes(&adapter, body) | read_list(&adapter, path, body);
    let answer = match adapter.parse_rest(path, body) {
        Ok(answer) => answer,
        Err(error) => {
            is_short(&error);
            return others;
        }
    };
    match answer {
        RestAnswer::Snapshot { slot, book } => {
            assert!(book.bids.len() + book.asks.len() <= body.len());
            hold(&adapter, slot, [(None, Body::Book(book))]);
        }
        RestAnswer::Trades { slot, kind, trades } => {
            assert!(matches!(kind, Kind::Trade | Kind::AggTrade), "{kind} by id");
            assert!(trades.len() <= body.len());
            let body_of = if kind == Kind::Trade { Body::Trade } else { Body::AggTrade };
            let trades = trades.into_iter().map(|(time, trade)| (Some(time), body_of(trade)));
            hold(&adapter, slot, trades);
        }
        RestAnswer::Points { slot, points } => {
            assert!(points.len() <= body.len());
            hold(&adapter, slot, points.into_iter().map(|(time, body)| (Some(time), body)));
        }
        RestAnswer::Instruments(list) => {
            assert!(list.len() <= body.len());
            adapter.set_instruments(&list);
            for instrument in &list {
                assert_eq!(instrument.id.venue, A::VENUE);
                let slot = adapter.slot(&instrument.id.name).expect("a name that was listed");
                assert_eq!(adapter.instrument(slot).name, instrument.id.name);
            }
        }
    }
    true
}

/// Reads an answer as the volumes of a day.
fn read_volumes<A: Adapter>(adapter: &A, body: &[u8]) -> bool {
    match adapter.parse_volumes(body) {
        Ok(volumes) => {
            assert!(volumes.len() <= body.len());
            // Names are the venue's: they come from the answer, and so do their bytes.
            let bytes: usize = volumes.iter().map(|(name, _)| name.len()).sum();
            assert!(bytes <= body.len(), "{bytes} bytes of names");
            !volumes.is_empty()
        }
        Err(error) => {
            is_short(&error);
            false
        }
    }
}

/// Reads an answer as what an instrument list says beside the instruments: its other parts, and the
/// request weight of a minute.
fn read_list<A: Adapter>(adapter: &A, path: &str, body: &[u8]) -> bool {
    let weight = A::weight_per_minute(path, body);
    assert_ne!(weight, Some(0), "nothing could ever be asked");
    let parts = match adapter.more_instruments(path, body) {
        Ok(parts) => parts,
        Err(error) => {
            is_short(&error);
            Vec::new()
        }
    };
    assert!(parts.len() <= body.len());
    for part in &parts {
        // A path cannot leave the venue, nor end its line early, whatever a part is called.
        assert!(part.path.starts_with('/') && part.weight > 0, "{part:?}");
        assert!(part.path.bytes().all(|byte| byte.is_ascii_graphic()), "{part:?}");
    }
    weight.is_some() || !parts.is_empty()
}

fn is_short(error: &ParseError) {
    assert!(error.detail.len() <= 200, "a hostile answer is quoted, not copied: {error:?}");
}

/// Each of them is an event that the bus can carry.
fn hold<A: Adapter>(
    adapter: &A,
    slot: Slot,
    bodies: impl IntoIterator<Item = (Option<UnixNanos>, Body)>,
) {
    let mut decoder = Decoder::new();
    let instrument = adapter.instrument(slot);
    for (venue_time, body) in bodies {
        let instrument = Arc::clone(instrument);
        let event = Event { instrument, venue_time, recv_time: NOW, origin: None, body };
        bus::round_trip(&mut decoder, &event);
    }
}
