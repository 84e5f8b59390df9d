// The state of the suite in one sentence: all is well, or what is wrong and since when.

import { now } from "./clock.js";
import { fromNanos } from "./format.js";
import { alertLevel, alertsOpen, isSilenced } from "./findings.js";
import { joined, levelOf, otherUnits, reason } from "./services.js";
import { sources } from "./sources.js";
import { text } from "./text.js";
import { venuesLive } from "./venues.js";

const RANK = { bad: 0, warn: 1, info: 2 };

// When the page first saw what nobody gives a time for.
const seen = new Map();

// `since` is a time that the suite gives; where it gives none the page says when it saw it first.
function problem(level, key, words, since = null) {
  return { level, key, words, since, isSeen: since === null };
}

function* ofServices() {
  for (const service of joined()) {
    const { name, word, byGateway } = service;
    const level = levelOf(word);
    if (level !== "bad" && level !== "warn") continue;
    const words = text.problem[level === "bad" ? "down" : "degraded"](name, reason(service));
    const since = byGateway?.state === word ? Date.parse(byGateway.since) : null;
    yield problem(level, `service ${name}`, words, since);
  }
  const units = (sources.services.data?.data ?? []).map(({ unit }) => unit).filter(Boolean);
  for (const unit of [...units, ...otherUnits()]) {
    if (unit.active_state !== "failed") continue;
    const words = text.problem.unit(unit.name, unit.result ?? text.problem.unitResult);
    yield problem("bad", `unit ${unit.name}`, words);
  }
}

function* ofCollector() {
  for (const { venue, market, listed, reason: why } of sources.exchanges.data?.exchanges ?? []) {
    if (listed !== undefined || !why) continue;
    yield problem("bad", `list ${venue} ${market}`, text.problem.venueList(`${venue} ${market}`, why));
  }
  const collector = sources.collector.data;
  if (!collector) return;
  for (const connection of collector.connections) {
    const { name, state, reason: why, books, books_synced: synced } = connection;
    const since = fromNanos(connection.since);
    if (state === "down") {
      const words = text.problem.feedDown(name, why ?? text.problem.connecting);
      yield problem("bad", `feed ${name}`, words, since);
    } else if (state === "subscribing") {
      yield problem("warn", `feed ${name}`, text.problem.feedSubscribing(name), since);
    } else if (synced < books) {
      yield problem("warn", `books ${name}`, text.problem.books(name, books - synced, books));
    }
  }
  if (!collector.bus.connected) {
    yield problem("bad", "collector bus", text.problem.collectorBus(collector.bus.state));
  }
  if (collector.gaps_open > 0) {
    const words = text.problem.gaps(collector.gaps_open, collector.ids_missing);
    const declared = (sources.gaps.data?.open ?? []).map((gap) => fromNanos(gap.declared));
    const since = declared.length > 0 ? Math.min(...declared) : null;
    yield problem("warn", "gaps", words, since);
  }
}

function* ofStore() {
  for (const { kind, problem: why, stream } of sources.storage.data?.writers ?? []) {
    if (why) yield problem("bad", `store ${kind}`, text.problem.store(kind, why));
    else if (stream !== "flowing") {
      yield problem("warn", `reader ${kind}`, text.problem.reader(kind, stream));
    }
  }
  for (const words of sources.broker.data?.problems ?? []) {
    // Its figures change, its subject does not.
    yield problem("warn", `broker ${words.split(":")[0]}`, words);
  }
}

// Who silenced an alert knows of it.
function* ofAlerts() {
  for (const alert of alertsOpen()) {
    if (alert.state !== "firing" || isSilenced(alert)) continue;
    const key = `alert ${JSON.stringify([alert.name, alert.labels])}`;
    yield problem(alertLevel(alert), key, alert.summary, fromNanos(alert.since));
  }
}

function* ofSources() {
  for (const [name, source] of Object.entries(sources)) {
    if (source.failure === null || source.isForbidden) continue;
    // Who answers nothing the first time is asked again before it is a finding.
    if (source.data !== null && !source.isOld()) continue;
    const words = text.problem.source(text.source[name], source.failure.message);
    yield problem("warn", `source ${name}`, words, source.failingSince);
  }
}

// Everything that is wrong, the worst first, then the oldest.
export function problems() {
  const all = [...ofServices(), ...ofCollector(), ...ofStore(), ...ofAlerts(), ...ofSources()];
  const keys = new Set(all.map(({ key }) => key));
  for (const key of seen.keys()) if (!keys.has(key)) seen.delete(key);
  const timed = all.map((one) => {
    if (!one.isSeen) return one;
    if (!seen.has(one.key)) seen.set(one.key, now());
    return { ...one, since: seen.get(one.key) };
  });
  return timed.sort((a, b) => RANK[a.level] - RANK[b.level] || a.since - b.since);
}

// Whether enough is known to call it well.
function isKnown() {
  const { services, alerts, collector, exchanges, storage, broker } = sources;
  return [services, alerts, collector, exchanges, storage, broker].every(({ data }) => data !== null);
}

// `{ level, words, first, more }`: the sentence, the finding that it is about, and how many others.
// What is only a note does not make it unwell.
export function judge(found) {
  const first = found.find(({ level }) => level !== "info") ?? null;
  const more = found.length - (first ? 1 : 0);
  if (first) return { level: first.level, words: first.words, first, more };
  if (!isKnown()) return { level: "unknown", words: text.state.looking, first, more };
  return { level: "ok", words: text.state.well(joined().length, venuesLive()), first, more };
}

export function forget() {
  seen.clear();
}
