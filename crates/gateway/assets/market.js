// The live market: a symbol that is chosen, its candles, its book and its trades.

import { Book } from "./book.js";
import * as candles from "./candles.js";
import { byId, say } from "./dom.js";
import { Fresh } from "./fresh.js";
import * as ladder from "./ladder.js";
import { sources } from "./sources.js";
import { Stream } from "./stream.js";
import { Tape } from "./tape.js";
import { text } from "./text.js";

// How often the book is drawn: an eye follows no more.
const DRAW_MS = 200;

// How soon a store that has nothing yet is asked again what it has.
const EMPTY_MS = 5000;

// What is shown first, if it is there.
const FAVOURITES = ["BTC-USDT", "BTC-PERPETUAL", "BTC-USD"];

const stream = new Stream();
const tape = new Tape();
const fresh = new Fresh();

let book = new Book();
let chosen = null;
let wishes = {};
let isHeld = false;
let isChanged = false;
let lost = 0;
let staleReason = "";

const placeOf = ({ venue, market, symbol }) => `${venue}/${market}/${symbol}`;

function known() {
  return sources.symbols.data?.data ?? [];
}

function find(place) {
  return known().find((symbol) => placeOf(symbol) === place);
}

// Reads `venue/market/symbol`.
function parse(place) {
  const parts = place.trim().split("/");
  if (parts.length !== 3 || parts.some((part) => part === "")) return null;
  const [venue, market, symbol] = parts;
  return { venue, market, symbol };
}

function favourite() {
  const traded = known().filter(({ kinds }) => kinds.includes("book"));
  const places = FAVOURITES.map((name) => traded.find(({ symbol }) => symbol === name));
  return places.find(Boolean) ?? traded[0] ?? known()[0] ?? null;
}

// Some markets tell single trades, some aggregates, some both.
function tradeKind(kinds) {
  return kinds.includes("agg_trade") && !kinds.includes("trade") ? "agg_trade" : "trade";
}

function choose({ venue, market, symbol }) {
  const place = placeOf({ venue, market, symbol });
  const kinds = find(place)?.kinds ?? [];
  chosen = { venue, market, symbol };
  byId("symbol").value = place;
  begin();
  candles.follow(chosen);
  fresh.follow([venue, market, symbol].map(encodeURIComponent).join("/"), kinds);
  wishes = {
    book: { kind: "book", ...chosen },
    trade: { kind: tradeKind(kinds), ...chosen },
    kline: { kind: "kline", ...chosen },
  };
  stream.want(Object.values(wishes));
}

// With nothing yet of what is to be shown.
function begin() {
  book = new Book();
  lost = 0;
  staleReason = "";
  tape.clear();
  ladder.clear();
  draw();
}

function takeEvent({ wish, data }) {
  if (wish === wishes.trade) {
    tape.take(data);
    candles.takePrice(data.price);
  } else if (wish === wishes.kline) {
    candles.take(data);
  } else if (wish === wishes.book) {
    if (!book.take(data)) stream.again(wish);
    if (book.isSynced) staleReason = "";
  }
  isChanged = true;
}

function takeLoss({ wish, data }) {
  lost += data.count;
  // What the gateway left out it makes good itself; what was lost on the way here it cannot know.
  if (data.isOurs && wish === wishes.book) {
    book.break();
    stream.again(wish);
  }
  isChanged = true;
}

function takeStale({ data }) {
  book.break();
  staleReason = data.reason;
  isChanged = true;
}

function notes() {
  if (isHeld) return text.market.held;
  if (stream.state === "open" && !book.isSynced && chosen) {
    return staleReason ? text.market.stale(staleReason) : text.market.waitingBook;
  }
  return lost > 0 ? text.market.gap(lost) : "";
}

function streamWords() {
  if (stream.state === "waiting") {
    return text.stream.waiting(Math.max(0, Math.ceil((stream.nextAt - Date.now()) / 1000)));
  }
  if (stream.state === "open" && stream.reason) return text.stream.quiet(stream.reason);
  return text.stream[stream.state];
}

function draw() {
  const isLive = stream.state === "open" && !stream.reason;
  say(byId("stream-state"), streamWords());
  const level = isLive ? "ok" : stream.state === "idle" ? "unknown" : "warn";
  byId("stream-state").className = `state ${level}`;
  say(byId("market-note"), notes());
  byId("ladder").classList.toggle("stale", !isLive || !book.isSynced);
  byId("tape").classList.toggle("stale", !isLive);
  byId("candles").classList.toggle("stale", !isLive);
  if (isHeld || !chosen) return;
  tape.draw();
  candles.draw();
  if (isChanged && book.lastId !== null) ladder.draw(book);
  isChanged = false;
}

// The symbols that can be chosen, as they are known by now.
function offer() {
  const options = known().map((symbol) => {
    const option = document.createElement("option");
    option.value = placeOf(symbol);
    return option;
  });
  byId("symbols").replaceChildren(...options);
  if (known().length === 0) setTimeout(() => sources.symbols.ask(), EMPTY_MS);
  if (!chosen) {
    const first = favourite();
    if (first) choose(first);
    return;
  }
  const kinds = find(placeOf(chosen))?.kinds ?? [];
  fresh.know(kinds);
  if (tradeKind(kinds) !== wishes.trade.kind) choose(chosen);
}

function submit(event) {
  event.preventDefault();
  const wanted = parse(byId("symbol").value);
  byId("symbol").setCustomValidity(wanted ? "" : text.market.bad);
  byId("symbol").reportValidity();
  if (wanted) choose(wanted);
}

function hold() {
  isHeld = !isHeld;
  isChanged = true;
  byId("hold").setAttribute("aria-pressed", String(isHeld));
  say(byId("hold"), isHeld ? text.market.go : text.market.hold);
  draw();
}

export const liveState = () => stream;

export function start() {
  stream.addEventListener("event", ({ detail }) => takeEvent(detail));
  stream.addEventListener("lost", ({ detail }) => takeLoss(detail));
  stream.addEventListener("stale", ({ detail }) => takeStale(detail));
  stream.addEventListener("change", () => {
    if (stream.state !== "open") book.break();
    draw();
  });
  sources.symbols.addEventListener("change", offer);
  byId("market-form").addEventListener("submit", submit);
  byId("symbol").addEventListener("input", () => byId("symbol").setCustomValidity(""));
  byId("symbol").addEventListener("change", () => {
    if (find(byId("symbol").value)) byId("market-form").requestSubmit();
  });
  byId("hold").addEventListener("click", hold);
  stream.start();
  fresh.start();
  candles.start();
  setInterval(draw, DRAW_MS);
  setInterval(() => fresh.draw(), 1000);
}

export function forget() {
  chosen = null;
  wishes = {};
  stream.want([]);
  begin();
  candles.follow(null);
}
