// Shows the latest trades, the newest on top.

import { byId, say } from "./dom.js";
import { exact, fromNanos, places, preciseClock, rate } from "./format.js";
import { text } from "./text.js";

const ROWS = 30;

// Over how long the rate of trades is taken.
const WINDOW_MS = 10_000;

export class Tape {
  #waiting = [];
  #times = [];
  #since = Date.now();
  // As many digits as the finest that was seen, so that points stand in a column.
  #priceDigits = 0;
  #qtyDigits = 0;

  take(trade) {
    this.#times.push(Date.now());
    this.#forgetOld();
    this.#waiting.push(trade);
    this.#priceDigits = Math.max(this.#priceDigits, places(trade.price));
    this.#qtyDigits = Math.max(this.#qtyDigits, places(trade.qty));
    if (this.#waiting.length > ROWS) this.#waiting.shift();
  }

  #forgetOld() {
    const oldest = Date.now() - WINDOW_MS;
    while (this.#times.length > 0 && this.#times[0] < oldest) this.#times.shift();
  }

  // Trades per second, as they arrive here.
  #rate() {
    this.#forgetOld();
    const seconds = Math.min(WINDOW_MS, Math.max(1000, Date.now() - this.#since)) / 1000;
    return this.#times.length / seconds;
  }

  draw() {
    const body = byId("tape-rows");
    for (const trade of this.#waiting) {
      // The oldest row is used again for the newest trade.
      const row = body.rows.length < ROWS ? makeRow() : body.rows[ROWS - 1];
      this.#write(row, trade);
      body.prepend(row);
    }
    this.#waiting.length = 0;
    say(byId("tape-rate"), text.market.rate(rate(this.#rate())));
  }

  #write(row, { venue_time: venueTime, recv_time: recvTime, price, qty, side }) {
    say(row.cells[0], preciseClock(fromNanos(venueTime ?? recvTime)));
    say(row.cells[1], exact(price, this.#priceDigits));
    say(row.cells[2], exact(qty, this.#qtyDigits));
    const mark = row.cells[3].firstElementChild;
    mark.className = `side ${side}`;
    say(mark, text.market[side] ?? side);
  }

  clear() {
    this.#waiting = [];
    this.#times = [];
    this.#since = Date.now();
    this.#priceDigits = 0;
    this.#qtyDigits = 0;
    byId("tape-rows").replaceChildren();
    say(byId("tape-rate"), "");
  }
}

function makeRow() {
  const row = document.createElement("tr");
  for (const name of ["", "num", "num", ""]) {
    const cell = document.createElement("td");
    cell.className = name;
    row.append(cell);
  }
  row.cells[3].append(document.createElement("span"));
  return row;
}
