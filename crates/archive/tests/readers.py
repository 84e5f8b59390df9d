"""Reads an archive as its users do; prints what each tool counts and sums, one line per market.

Usage: readers.py PARQUET_FOLDER
"""

import decimal
import sys

import duckdb
import polars

decimal.getcontext().prec = 60
folder = sys.argv[1]


def duckdb_lines(kind, sql):
    """Runs a query over one kind."""
    files = f"read_parquet('{folder}/kind={kind}/**/*.parquet', hive_partitioning = true)"
    return duckdb.sql(sql.format(files=files)).fetchall()


def polars_frame(kind):
    """The rows of one kind."""
    return polars.read_parquet(f"{folder}/kind={kind}/**/*.parquet", hive_partitioning=True)


def show(tool, kind, rows):
    """Prints rows of venue, market, count and sum."""
    for venue, market, count, total in sorted(rows):
        print(tool, kind, venue, market, count, f"{decimal.Decimal(total):.7f}")


show("duckdb", "trade", duckdb_lines("trade", """
    SELECT venue, market, count(*),
           sum(price::DECIMAL(18, 2) * qty::DECIMAL(18, 5))
    FROM {files} GROUP BY venue, market"""))
show("duckdb", "book", duckdb_lines("book", """
    SELECT venue, market, count(*),
           sum(list_sum([l.price::DECIMAL(18, 2) * l.qty::DECIMAL(18, 5)
                         FOR l IN list_concat(bids, asks)]))
    FROM {files} GROUP BY venue, market"""))

trades = polars_frame("trade")
show("polars", "trade", [
    (venue, market, rows.height, sum(p * q for p, q in rows.select("price", "qty").iter_rows()))
    for (venue, market), rows in trades.group_by("venue", "market")
])
books = polars_frame("book")
show("polars", "book", [
    (venue, market, rows.height, sum(
        level["price"] * level["qty"]
        for side in ("bids", "asks") for levels in rows[side] for level in levels
    ))
    for (venue, market), rows in books.group_by("venue", "market")
])
