#!/usr/bin/env python3
"""Reads from MarketPrism: what was stored, and what comes in at this moment.

    python3 -m venv venv
    venv/bin/pip install httpx websockets nats-py clickhouse-connect
    export MARKETPRISM_KEY=mpk_...            # marketprism keys create --label research

    venv/bin/python client.py history BTC-USDT --count 5
    venv/bin/python client.py live BTC-USDT --count 5
    venv/bin/python client.py bus BTC-USDT --count 5
    venv/bin/python client.py clickhouse BTC-USDT --count 5

Each prints trades as JSON, one a line. Prices and quantities are text, so that no digit is lost:
`decimal.Decimal` reads them. Times are nanoseconds since the Unix epoch.
"""

import argparse
import asyncio
import json
import os
import sys

KEY = os.environ.get("MARKETPRISM_KEY", "")


def history(arguments):
    """What was stored, page by page, oldest first: `GET /api/v1/storage/trades`."""
    import httpx

    parameters = {
        "venue": arguments.venue,
        "market": arguments.market,
        "symbol": arguments.symbol,
        "order": "asc",
        "limit": 1_000,
    }
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=arguments.gateway, headers=headers, timeout=30) as client:
        while True:
            answer = client.get("/api/v1/storage/trades", params=parameters)
            answer.raise_for_status()
            page = answer.json()
            yield from page["data"]
            if not page["next_cursor"]:
                return
            parameters["cursor"] = page["next_cursor"]


async def live(arguments):
    """What comes in, from the gateway: it says when something was left out, and when to return."""
    import websockets

    url = arguments.gateway.replace("http", "ws", 1) + "/ws/v1/stream"
    headers = {"Authorization": f"Bearer {KEY}"}
    wanted = {
        "op": "subscribe",
        "id": 1,
        "kind": "trade",
        "venue": arguments.venue,
        "market": arguments.market,
        "symbol": arguments.symbol,
    }
    # This loop connects again after the gateway was restarted.
    async for socket in websockets.connect(url, additional_headers=headers):
        await socket.send(json.dumps(wanted))
        try:
            async for text in socket:
                message = json.loads(text)
                match message["type"]:
                    case "event":
                        yield message["data"]
                    case "gap" | "stale" | "error" | "bye":
                        print(text, file=sys.stderr)
        except websockets.ConnectionClosed:
            continue


async def bus(arguments):
    """What comes in, from the message bus itself: on the hosts that may reach it, without a hop."""
    import nats

    subject = f"md.trade.{arguments.venue}.{arguments.market}.{arguments.symbol}"
    login = {"user": arguments.nats_user, "password": arguments.nats_password}
    async with await nats.connect(arguments.nats, **login) as connection:
        messages = await connection.subscribe(subject)
        last = {}
        async for message in messages.messages:
            # The sequence of a producer shows what was lost on the way.
            headers = message.headers or {}
            producer = (headers.get("Mp-Producer"), headers.get("Mp-Epoch"))
            number = int(headers.get("Mp-Seq", 0))
            if producer in last and number != last[producer] + 1:
                print(f"{number - last[producer] - 1} messages were lost", file=sys.stderr)
            last[producer] = number
            yield json.loads(message.data)


def clickhouse(arguments):
    """What was stored, from ClickHouse: the view `trade` has every trade once."""
    import clickhouse_connect

    client = clickhouse_connect.get_client(dsn=arguments.clickhouse)
    query = """
        SELECT seq, toString(price) AS price, toString(qty) AS qty, side,
               toUnixTimestamp64Nano(venue_time) AS venue_time
        FROM marketprism.trade
        WHERE venue = {venue:String} AND market = {market:String} AND symbol = {symbol:String}
        ORDER BY seq
    """
    parameters = {
        "venue": arguments.venue,
        "market": arguments.market,
        "symbol": arguments.symbol,
    }
    with client.query_row_block_stream(query, parameters=parameters) as blocks:
        names = blocks.source.column_names
        for block in blocks:
            for row in block:
                yield dict(zip(names, row))


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", choices=["history", "live", "bus", "clickhouse"])
    parser.add_argument("symbol", help="such as BTC-USDT")
    parser.add_argument("--venue", default="binance")
    parser.add_argument("--market", default="spot")
    parser.add_argument("--count", type=int, default=10, help="end after so many trades")
    parser.add_argument("--gateway", default="http://127.0.0.1:8080")
    parser.add_argument("--nats", default="nats://127.0.0.1:4230")
    parser.add_argument("--nats-user")
    parser.add_argument("--nats-password")
    parser.add_argument("--clickhouse", default="clickhouse://127.0.0.1:8123")
    return parser.parse_args()


def show(trade):
    print(json.dumps(trade), flush=True)


async def follow(trades, count):
    shown = 0
    async for trade in trades:
        show(trade)
        shown += 1
        if shown == count:
            return


def main():
    arguments = options()
    sources = {"history": history, "live": live, "bus": bus, "clickhouse": clickhouse}
    trades = sources[arguments.source](arguments)
    if arguments.source in ("live", "bus"):
        asyncio.run(follow(trades, arguments.count))
        return
    for shown, trade in enumerate(trades, start=1):
        show(trade)
        if shown == arguments.count:
            return


if __name__ == "__main__":
    main()
