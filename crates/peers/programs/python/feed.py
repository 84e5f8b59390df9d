#!/usr/bin/env python3
"""cryptofeed: the text of a frame to its handler, up to a callback that does nothing.

    venv/bin/python feed.py TASK CASE FOLDER

Its handlers apply an update to the book before they call back, so that decoding a book's frames
alone is not to be had: those cases answer to the task `both` only.
"""

import asyncio
import json
import logging
import statistics
import sys
import time
from decimal import Decimal
from pathlib import Path

# Passes are made for so long before one counts, and then for so long, at least five.
WARM_UP_NS = 300_000_000
MEASURE_NS = 1_000_000_000


class Connection:
    """What a handler asks of its connection: nothing that matters offline."""

    uuid = "offline"
    address = ""
    subscription = {}


def answer(**what):
    print(json.dumps(what))
    sys.exit(0)


def symbol(case, frame):
    message = json.loads(frame)
    if case.startswith("binance"):
        return message["data"]["s"]
    if case.startswith("okx"):
        return message["arg"]["instId"]
    data = message["params"]["data"]
    return (data[0] if isinstance(data, list) else data)["instrument_name"]


def feed(case, symbols, count):
    """A feed that calls `count` back, and whether it keeps books."""
    from cryptofeed.defines import L2_BOOK, TICKER, TRADES
    from cryptofeed.exchanges.binance import Binance
    from cryptofeed.exchanges.binance_futures import BinanceFutures
    from cryptofeed.exchanges.deribit import Deribit
    from cryptofeed.exchanges.okx import OKX
    from cryptofeed.symbols import Symbols

    cases = {
        "binance-agg-trade": (Binance, TRADES),
        "binance-bbo": (Binance, TICKER),
        "binance-depth": (Binance, L2_BOOK),
        "binance-depth-26k": (Binance, L2_BOOK),
        "binance-perp-agg-trade": (BinanceFutures, TRADES),
        "binance-perp-depth": (BinanceFutures, L2_BOOK),
        "okx-trades": (OKX, TRADES),
        "okx-books": (OKX, L2_BOOK),
        "deribit-book": (Deribit, L2_BOOK),
    }
    if case not in cases:
        answer(unsupported=f"it does not read {case} so")
    kind, channel = cases[case]
    # Every symbol is called what the venue calls it: the list of instruments is not at hand.
    Symbols.set(kind.id, {name: name for name in symbols}, {"instrument_type": {}, "tick_size": {}})
    made = kind(
        symbols=list(symbols),
        channels=[channel],
        callbacks={channel: count},
        checksum_validation=False,
    )
    return made, channel == L2_BOOK


def side(levels):
    return {Decimal(price): Decimal(amount) for price, amount in levels}


async def begin(made, case, first):
    """Begins the books. What stands for Binance's snapshot is put where its request would put it."""
    from cryptofeed.types import OrderBook

    if not case.startswith("binance"):
        # What its feeds do when they subscribe.
        made._l2_book, made.seq_no = {}, {}
        for frame in first:
            await made.message_handler(frame, Connection, 1.0)
        return
    for frame in first:
        data = json.loads(frame)["data"]
        book = OrderBook(made.id, data["s"], bids=side(data["b"]), asks=side(data["a"]))
        book.delta = {}
        made._l2_book[data["s"]] = book
        made.last_update_id[data["s"]] = data["u"]


async def main():
    task, case, folder = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    first, frames = (
        (Path(folder) / f"{case}.{ending}").read_text().splitlines()
        for ending in ("first.jsonl", "jsonl")
    )
    symbols = sorted({symbol(case, frame) for frame in first + frames})
    events = 0

    async def count(_event, _received):
        nonlocal events
        events += 1

    made, is_book = feed(case, symbols, count)
    if (task == "both") != is_book or task == "apply":
        answer(unsupported=f"its handlers cannot be asked to {task} {case}")

    async def one_pass():
        nonlocal events
        made, _ = feed(case, symbols, count)
        await begin(made, case, first)
        events, handle = 0, made.message_handler
        began = time.perf_counter_ns()
        for frame in frames:
            await handle(frame, Connection, 1.0)
        return time.perf_counter_ns() - began

    began = time.perf_counter_ns()
    while time.perf_counter_ns() - began < WARM_UP_NS:
        await one_pass()
    passes, began = [], time.perf_counter_ns()
    while len(passes) < 5 or time.perf_counter_ns() - began < MEASURE_NS:
        passes.append(await one_pass())
    nanos = int(statistics.median_low(passes))
    answer(measured={"frames": len(frames), "events": events, "levels": None, "nanos": nanos})


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
