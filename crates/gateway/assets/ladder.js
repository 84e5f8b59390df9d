// Shows the best levels of a book.

import { byId, fill, say } from "./dom.js";
import { difference, exact, places } from "./format.js";
import { text } from "./text.js";

const LEVELS = 12;

function digitsOf(levels, column) {
  return Math.max(0, ...levels.map((level) => places(level[column])));
}

// Every price has as many digits as the finest of those shown, so that points stand in a column.
function rows(levels, side, all) {
  const [priceDigits, qtyDigits] = [digitsOf(all, 0), digitsOf(all, 1)];
  return levels.map(([price, qty], index) => ({
    key: `${side}${index}`,
    cells: [text.market[side], exact(price, priceDigits), exact(qty, qtyDigits)],
  }));
}

function measure(body, levels, largest) {
  levels.forEach(([, qty], index) => {
    const share = largest > 0 ? (100 * Number(qty)) / largest : 0;
    body.rows[index].style.setProperty("--share", `${share.toFixed(1)}%`);
  });
}

export function draw(book) {
  const bids = book.best("bids", LEVELS);
  const asks = book.best("asks", LEVELS).reverse();
  const all = [...bids, ...asks];
  fill(byId("asks-rows"), rows(asks, "ask", all));
  fill(byId("bids-rows"), rows(bids, "bid", all));
  const largest = Math.max(0, ...all.map(([, qty]) => Number(qty)));
  measure(byId("asks-rows"), asks, largest);
  measure(byId("bids-rows"), bids, largest);
  const [ask, bid] = [asks.at(-1)?.[0], bids[0]?.[0]];
  const spread = ask && bid ? difference(ask, bid) : null;
  const words = spread ? text.market.spread(exact(spread)) : text.market.noSpread;
  say(byId("spread"), words);
}

export function clear() {
  fill(byId("asks-rows"), []);
  fill(byId("bids-rows"), []);
  say(byId("spread"), text.market.noSpread);
}
