// Freshness: of each kind and venue, how long ago the last event came, and how fast they come.

import { now } from "./clock.js";
import { byId, fill, fillHead, say, show, state } from "./dom.js";
import { age, fromNanos, rate } from "./format.js";
import { Rates } from "./rates.js";
import { sources } from "./sources.js";
import { text } from "./text.js";

const events = new Rates();

const keyOf = ({ venue, market }, { kind }) => `${venue} ${market} ${kind}`;

// What each market of a venue brings of a kind: `{ market, ageMs, silentMs, mostMs, perSecond }`.
// `ageMs` is null if nothing has come; it is silent since the collector runs then. `mostMs` is how
// long it may be silent, null for ever.
function flowsOf(exchanges, venue, kind) {
  const upMs = (sources.collector.data?.uptime_seconds ?? 0) * 1000;
  const flows = [];
  for (const exchange of exchanges.filter((candidate) => candidate.venue === venue)) {
    const one = (exchange.kinds ?? []).find((candidate) => candidate.kind === kind);
    if (!one) continue;
    const ageMs = one.last === undefined ? null : now() - fromNanos(one.last);
    const most = one.silence_max_seconds;
    flows.push({
      market: exchange.market,
      ageMs,
      silentMs: ageMs ?? upMs,
      mostMs: most === undefined ? null : most * 1000,
      perSecond: events.of(keyOf(exchange, one)),
    });
  }
  return flows;
}

function words(ageMs, perSecond) {
  const since = ageMs === null ? text.flows.never : age(ageMs);
  return text.flows.both(since, rate(perSecond ?? NaN));
}

// A cell for the markets of a venue. One market that is silent for too long is what the cell says,
// whatever the others bring; all of them are named when it is pointed at.
export function cell(flows) {
  if (flows.length === 0) return text.none;
  const title = flows
    .map(({ market, ageMs, perSecond }) => text.flows.market(market, words(ageMs, perSecond)))
    .join(", ");
  const stale = flows.filter(({ silentMs, mostMs }) => mostMs !== null && silentMs > mostMs);
  if (stale.length > 0) {
    const worst = stale.reduce((a, b) => (b.silentMs > a.silentMs ? b : a));
    const said = text.flows.stale(worst.market, words(worst.ageMs, worst.perSecond));
    return { ...state("warn", said), title };
  }
  const seen = flows.map(({ ageMs }) => ageMs).filter((value) => value !== null);
  const rates = flows.map(({ perSecond }) => perSecond).filter((value) => value !== null);
  const newest = seen.length === 0 ? null : Math.min(...seen);
  const total = rates.length === 0 ? null : rates.reduce((sum, value) => sum + value, 0);
  return { words: words(newest, total), title };
}

// Notes the counters of an answer; each answer counts once.
export function note() {
  const { data, at } = sources.exchanges;
  for (const exchange of data?.exchanges ?? []) {
    for (const one of exchange.kinds ?? []) events.note(keyOf(exchange, one), one.events, at);
  }
}

export function forget() {
  events.forget();
}

export function render() {
  const exchanges = sources.exchanges.data?.exchanges ?? [];
  const venues = [...new Set(exchanges.map(({ venue }) => venue))];
  const named = exchanges.flatMap((exchange) => exchange.kinds ?? []);
  const kinds = [...new Set(named.map(({ kind }) => kind))];
  fillHead(byId("flows-head"), [text.flows.kind, ...venues]);
  const rows = kinds.map((kind) => ({
    // With other venues it is another row.
    key: [kind, ...venues].join(" "),
    cells: [kind, ...venues.map((venue) => cell(flowsOf(exchanges, venue, kind)))],
  }));
  fill(byId("flows-rows"), rows);
  show(byId("flows-table"), kinds.length > 0);
  show(byId("flows-note"), sources.exchanges.data !== null && kinds.length === 0);
  say(byId("flows-note"), text.flows.empty);
}
