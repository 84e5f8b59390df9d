// How complete the stored days are: a row for each venue, market and kind, a column for each day.
// Storage is asked for one kind at a time, since an answer tells of every stream.

import { now } from "./clock.js";
import { byId, fill, fillHead, say, show, state } from "./dom.js";
import { age, share } from "./format.js";
import { link } from "./link.js";
import { ask, isIn } from "./session.js";
import { sources } from "./sources.js";
import { text } from "./text.js";

const DAYS = 30;
const DAY_MS = 86_400_000;

// Between two looks for a kind that is due; after a question that was not answered it is longer.
const LOOK_MS = 1000;
const FAILED_MS = 10_000;

// A kind is asked for again after this time.
const AGAIN_MS = 300_000;

// Storage reads its days for an answer: as long as the gateway waits for that.
const ANSWER_MAX_MS = 60_000;

// They tell of connections and of what is missing, and have no days of their own.
const NEVER = new Set(["gap", "status"]);

// The worst is the last.
const CONDITIONS = ["available", "pending", "degraded", "missing"];

const LEVELS = { available: "ok", pending: "info", degraded: "warn", missing: "bad" };

// By kind: `{ rows, at }`.
const answers = new Map();
// When each kind was asked for last, answered or not.
const askedAt = new Map();
let generation = 0;
let isFailing = false;
// What is drawn already is not drawn again each second.
let drawn = "";

// The last days, UTC, as storage writes them.
export function daysUntil(milliseconds) {
  const day = (ago) => new Date(milliseconds - ago * DAY_MS).toISOString().slice(0, 10);
  return Array.from({ length: DAYS }, (_, index) => day(DAYS - 1 - index));
}

function isWorse(one, other) {
  const [a, b] = [one, other].map(({ condition }) => CONDITIONS.indexOf(condition));
  return a === b ? one.coverage < other.coverage : a > b;
}

// Of each venue, market and kind, by day, the worst of its streams.
export function worst(streams, since) {
  const rows = new Map();
  for (const { venue, market, kind, symbol, days } of streams) {
    const name = `${venue} ${market} ${kind}`;
    if (!rows.has(name)) rows.set(name, new Map());
    const row = rows.get(name);
    for (const { date, condition, coverage = 1 } of days) {
      if (date < since) continue;
      const found = { condition, coverage, symbol };
      if (!row.has(date) || isWorse(found, row.get(date))) row.set(date, found);
    }
  }
  return rows;
}

// The kind that is due: one that was never asked for, or the one that was asked for first. One that
// is not answered comes again behind the others.
function due() {
  const names = (sources.storage.data?.writers ?? []).map(({ kind }) => kind);
  const isOld = (kind) => Date.now() - (answers.get(kind)?.at ?? -Infinity) >= AGAIN_MS;
  const kinds = names.filter((kind) => !NEVER.has(kind) && isOld(kind));
  const at = (kind) => askedAt.get(kind) ?? -Infinity;
  return kinds.reduce((a, b) => (a === null || at(b) < at(a) ? b : a), null);
}

// Asks for the kind that is due; false if there was no answer.
async function look() {
  const mayAsk = isIn() && link.since === null && document.visibilityState === "visible";
  const kind = mayAsk ? due() : null;
  if (kind === null) return true;
  const before = generation;
  askedAt.set(kind, Date.now());
  try {
    const since = daysUntil(now())[0];
    const signal = AbortSignal.timeout(ANSWER_MAX_MS);
    const { data } = await ask(`/api/v1/storage/condition?kind=${kind}&since=${since}`, { signal });
    if (before !== generation) return true;
    answers.set(kind, { rows: worst(data, since), at: Date.now() });
    drawn = "";
    return true;
  } catch {
    // The panel's age says so; the next look asks again.
    return false;
  }
}

function cell(day, date) {
  if (!day) return { words: text.none, title: `${date}: ${text.coverage.none}` };
  const word = text.coverage.words[day.condition] ?? day.condition;
  const title = text.coverage.day(date, word, day.symbol, share(day.coverage));
  return { ...state(LEVELS[day.condition] ?? "unknown", word), title };
}

function drawRows(days) {
  if (drawn === days[0]) return;
  drawn = days[0];
  const rows = [...answers.values()].flatMap(({ rows }) => [...rows]);
  rows.sort(([a], [b]) => a.localeCompare(b));
  const heads = days.map((date) => ({ words: date.slice(-2), title: date }));
  fillHead(byId("coverage-head"), [text.coverage.stream, ...heads]);
  const shown = rows.map(([name, row]) => ({
    key: name,
    cells: [name, ...days.map((date) => cell(row.get(date), date))],
  }));
  fill(byId("coverage-rows"), shown);
  show(byId("coverage-table"), rows.length > 0);
  show(byId("coverage-note"), answers.size > 0 && due() === null && rows.length === 0);
}

function drawAge() {
  const times = [...answers.values()].map(({ at }) => at);
  const isOld = isFailing || link.since !== null;
  const word = isOld ? "old" : "asOf";
  const oldest = Date.now() - Math.min(...times);
  say(byId("coverage-age"), times.length === 0 ? text.age.never : text.age[word](age(oldest)));
  byId("coverage-age").classList.toggle("old", isOld);
  byId("coverage").classList.toggle("stale", isOld);
}

export function render() {
  drawRows(daysUntil(now()));
  drawAge();
}

export function forget() {
  answers.clear();
  askedAt.clear();
  generation += 1;
  isFailing = false;
  drawn = "";
}

export function start() {
  const step = async () => {
    isFailing = !(await look());
    setTimeout(step, isFailing ? FAILED_MS : LOOK_MS);
  };
  step();
}
