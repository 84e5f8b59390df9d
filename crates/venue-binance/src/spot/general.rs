//! Reads every frame, in whatever order its keys come.

use crate::frame::{
    agg_trade, book_ticker, control, depth, kline, open, push, ticker, trade, unknown,
};
use units::UnixNanos;
use venue::{FrameType, Instruments, Message, ParseError, Reject};

pub(super) fn parse(
    instruments: &mut Instruments,
    frame: &[u8],
    recv_time: UnixNanos,
    out: &mut Vec<Message>,
) -> Result<FrameType, ParseError> {
    let opened = open(frame)?;
    let (probe, payload) = (&opened.probe, opened.payload);
    let parsed = match probe.e.as_deref() {
        Some("trade") => trade(payload)?,
        Some("aggTrade") => agg_trade(payload)?,
        Some("depthUpdate") => depth(payload)?,
        Some("bookTicker") => book_ticker(payload)?,
        Some("24hrTicker") => ticker(payload)?,
        Some("kline") => kline(payload)?,
        Some("serverShutdown") => return Ok(FrameType::Closing),
        Some(other) => return Err(unknown(other)),
        None => match control(probe) {
            Some(answer) => return Ok(answer),
            None if probe.u.is_some() => book_ticker(payload)?,
            None => return Err(ParseError::new(Reject::UnknownType, "no event type")),
        },
    };
    push(instruments, parsed, recv_time, out)
}
