// The candles of a minute of one symbol: first what is stored of them, then what the live stream
// says. A canvas shows them, a table tells them.

import { byId, fill, say } from "./dom.js";
import { clock, exact, fromNanos, places } from "./format.js";
import { link } from "./link.js";
import { ask, isIn } from "./session.js";
import { text } from "./text.js";

const INTERVAL = "1m";

// Two hours are seen at a time, and what of them is told.
const SHOWN = 120;
const ROWS = 30;

// What closes while nothing is live is asked for so often.
const EVERY_MS = 30_000;

// Of the width of a candle, what its body takes.
const BODY_SHARE = 0.7;

// Candles by the time they open at.
export class Candles {
  #byTime = new Map();

  // Says whether it changes anything: what has closed stays as it was then.
  take(candle) {
    const known = this.#byTime.get(candle.open_time);
    if (candle.interval !== INTERVAL || known?.closed) return false;
    this.#byTime.set(candle.open_time, candle);
    if (this.#byTime.size > SHOWN) this.#byTime.delete(Math.min(...this.#byTime.keys()));
    return this.#byTime.has(candle.open_time);
  }

  // The oldest first.
  all() {
    return [...this.#byTime.values()].sort((a, b) => a.open_time - b.open_time);
  }
}

// Where the pixels of each candle are, on a paper of this size. Doubles are exact enough to draw.
export function layout(candles, width, height) {
  const low = Math.min(...candles.map((candle) => Number(candle.low)));
  const high = Math.max(...candles.map((candle) => Number(candle.high)));
  const y = (price) => {
    const share = high > low ? (high - Number(price)) / (high - low) : 0.5;
    return Math.round(1 + share * (height - 3));
  };
  const step = width / SHOWN;
  return candles.map(({ open, high: top, low: bottom, close }, index) => {
    const [first, last] = [y(open), y(close)];
    return {
      x: width - (candles.length - index - 0.5) * step,
      width: Math.max(1, step * BODY_SHARE),
      top: y(top),
      bottom: y(bottom),
      body: [Math.min(first, last), Math.max(1, Math.abs(first - last))],
      isUp: last <= first,
    };
  });
}

let candles = new Candles();
let place = null;
let price = null;
let problem = "";
let isChanged = true;
let drawnAt = "";

// A candle that rises is hollow and one that falls is full: the colour says no more.
function paint(canvas, shown) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const [up, down, paper] = ["--ok", "--bad", "--paper"].map((name) => style.getPropertyValue(name));
  for (const { x, width: wide, top, bottom, body, isUp } of layout(shown, width, height)) {
    const [from, tall] = body;
    pen.strokeStyle = isUp ? up : down;
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, bottom);
    pen.stroke();
    pen.fillStyle = isUp ? paper : down;
    pen.fillRect(x - wide / 2, from, wide, tall);
    pen.strokeRect(x - wide / 2, from, wide, tall);
  }
}

function tell(shown) {
  const fields = ["open", "high", "low", "close", "volume"];
  const digits = fields.map((name) => Math.max(0, ...shown.map((candle) => places(candle[name]))));
  const rows = shown.slice(-ROWS).reverse().map((candle) => ({
    key: String(candle.open_time),
    cells: [
      clock(fromNanos(candle.open_time)),
      ...fields.map((name, index) => exact(candle[name], digits[index])),
    ],
  }));
  fill(byId("candles-rows"), rows);
  if (shown.length === 0) return text.candles.none;
  const extreme = (name, pick) => shown.reduce((a, b) => (pick(a, b) ? a : b))[name];
  const low = extreme("low", (a, b) => Number(a.low) <= Number(b.low));
  const high = extreme("high", (a, b) => Number(a.high) >= Number(b.high));
  const since = clock(fromNanos(shown[0].open_time));
  return text.candles.words(shown.length, since, exact(low), exact(high));
}

export function draw() {
  say(byId("last-price"), price === null ? "" : text.candles.last(exact(price)));
  const canvas = byId("candles-canvas");
  // Another size or another scheme of colours wants another picture.
  const looks = getComputedStyle(canvas).getPropertyValue("--ok");
  const at = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio, looks].join(" ");
  if (!isChanged && at === drawnAt) return;
  [isChanged, drawnAt] = [false, at];
  const shown = candles.all();
  paint(canvas, shown);
  say(byId("candles-words"), [tell(shown), problem].filter(Boolean).join(" "));
}

export function take(candle) {
  if (candles.take(candle)) isChanged = true;
}

export function takePrice(traded) {
  price = traded;
}

async function load() {
  const [asked, into] = [place, candles];
  if (asked === null || !isIn() || link.since !== null) return;
  const query = new URLSearchParams({ ...asked, order: "desc", limit: String(SHOWN) });
  try {
    const { data } = await ask(`/api/v1/storage/klines?${query}`);
    if (into !== candles) return;
    data.forEach(take);
    problem = "";
  } catch (failure) {
    if (into !== candles) return;
    // What is live goes on, and it is asked for again.
    problem = failure.message;
  }
  isChanged = true;
}

// Begins with another symbol, or with none.
export function follow(symbol) {
  candles = new Candles();
  [place, price, problem, isChanged] = [symbol, null, "", true];
  draw();
  load();
}

export function start() {
  setInterval(() => {
    if (document.visibilityState === "visible") load();
  }, EVERY_MS);
}
