"""Inserts trades with the two Python clients of ClickHouse; prints what took how long.

Usage: peers.py HOST HTTP_PORT NATIVE_PORT ROWS BATCH

Only the inserts are timed: the rows are Python objects before, as a program has them.
"""

import datetime
import decimal
import sys
import time

import clickhouse_connect
import clickhouse_driver

host = sys.argv[1]
http_port, native_port, rows, batch = (int(word) for word in sys.argv[2:6])
COLUMNS = [
    "venue", "market", "symbol", "instrument", "identity_major", "identity_minor",
    "stream_seq", "venue_time", "recv_time", "origin", "seq", "trade_id", "price", "qty", "side",
    "first_id", "last_id",
]
START = datetime.datetime(2026, 5, 9, tzinfo=datetime.timezone.utc)


def trade(number):
    """A trade as Python has it: exact decimals, and times."""
    seq = 4_000_000_000 + number
    walk = number * 7_919 % 1_000
    at = START + datetime.timedelta(milliseconds=number)
    price = decimal.Decimal(6_400_000 + walk) / 100
    qty = decimal.Decimal(1 + walk) / 100_000
    side = "buy" if number % 3 == 0 else "sell"
    return ("binance", "spot", "BTC-USDT", "BTCUSDT", seq, 0, number, at, at, "stream", seq,
            str(seq), price, qty, side, None, None)


def timed(insert):
    """Inserts everything, batch by batch; returns the seconds that the inserts took."""
    took = 0.0
    for first in range(0, rows, batch):
        lines = [trade(number) for number in range(first, first + batch)]
        began = time.monotonic()
        insert(lines)
        took += time.monotonic() - began
    return took


native = clickhouse_driver.Client(host, port=native_port, database="marketprism")
native.execute("CREATE TABLE bench_driver AS stored_trade")
names = ", ".join(COLUMNS)
statement = f"INSERT INTO bench_driver ({names}) VALUES"
print("clickhouse-driver", timed(lambda lines: native.execute(statement, lines)))

http = clickhouse_connect.get_client(
    host=host, port=http_port, database="marketprism", settings={"async_insert": 0})
http.command("CREATE TABLE bench_connect AS stored_trade")
print("clickhouse-connect",
      timed(lambda lines: http.insert("bench_connect", lines, column_names=COLUMNS)))
for table in ("bench_driver", "bench_connect"):
    count = http.query(f"SELECT count() FROM {table}").result_rows[0][0]
    if count != rows:
        sys.exit(f"{table} has {count} of {rows} rows")
