// Venues and kinds: how fresh and how fast what comes in and what is stored.

import { now } from "./clock.js";
import { byId, fill, say, show, state } from "./dom.js";
import { age, count, fromNanos, percent, rate } from "./format.js";
import { Rates } from "./rates.js";
import { sources } from "./sources.js";
import { text } from "./text.js";

const frames = new Rates();
const events = new Rates();
const stored = new Rates();

// A connection is named `<venue>-<market>-…`.
export function connectionsOf({ venue, market }) {
  const prefix = `${venue}-${market}-`;
  const all = sources.collector.data?.connections ?? [];
  return all.filter((connection) => connection.name.startsWith(prefix));
}

export function wordOf(exchange) {
  const { connections, connections_up: up } = exchange;
  if (connections === 0) return exchange.listed === undefined ? "down" : "idle";
  if (up === connections) return "live";
  return up > 0 ? "partly" : "down";
}

const LEVELS = { live: "ok", partly: "warn", down: "bad", idle: "unknown" };

// The venues of which everything that is wanted is connected.
export function venuesLive() {
  const live = (sources.exchanges.data?.exchanges ?? []).filter(
    (exchange) => wordOf(exchange) === "live",
  );
  return new Set(live.map((exchange) => exchange.venue)).size;
}

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

// The sum of rates; null if none is known.
function total(rates, connections) {
  const known = connections
    .map(({ name }) => rates.of(name))
    .filter((value) => value !== null);
  return known.length === 0 ? NaN : sum(known, (value) => value);
}

function venueRow(exchange) {
  const connections = connectionsOf(exchange);
  const last = Math.max(...connections.map((connection) => connection.last_frame ?? 0));
  const word = wordOf(exchange);
  const books = sum(connections, (connection) => connection.books);
  const synced = sum(connections, (connection) => connection.books_synced);
  return {
    key: `${exchange.venue}/${exchange.market}`,
    cells: [
      { words: `${exchange.venue} ${exchange.market}`, title: exchange.stream_url },
      { ...state(LEVELS[word], text.venues.words[word]), title: exchange.reason ?? "" },
      last > 0 ? age(now() - fromNanos(last)) : text.none,
      rate(total(frames, connections)),
      rate(total(events, connections)),
      text.venues.of(count(synced), count(books)),
      count(exchange.instruments),
      text.venues.of(count(exchange.connections_up), count(exchange.connections)),
      count(sum(connections, (connection) => connection.disconnects)),
      count(sum(connections, (connection) => connection.rejects)),
    ],
  };
}

// What storage says of a kind, and what the broker says of its consumer.
function kindState(writer, consumers) {
  if (writer.problem) {
    return { ...state("bad", text.kinds.words.failing), title: writer.problem };
  }
  if (writer.stream !== "flowing") {
    return { ...state("warn", text.kinds.words.waiting), title: writer.stream };
  }
  const isRead = ({ waiting, ack_pending: inHand }) => waiting > 0 || inHand > 0;
  const isLeft = consumers.length > 0 && !consumers.some(isRead);
  if (isLeft) return state("warn", text.kinds.words.unread);
  // What never came does not flow.
  const isIdle = writer.last_cut_age_ms === null;
  return isIdle ? text.none : state("ok", text.kinds.words.flowing);
}

function kindRow(writer, streams) {
  const stream = streams.find((candidate) => candidate.kind === writer.kind);
  const consumers = stream?.consumers ?? [];
  const most = (of) => (consumers.length > 0 ? Math.max(...consumers.map(of)) : NaN);
  const isIdle = writer.last_cut_age_ms === null;
  return {
    key: writer.kind,
    faint: isIdle,
    cells: [
      writer.kind,
      kindState(writer, consumers),
      rate(stored.of(writer.kind)),
      isIdle ? text.none : age(writer.last_cut_age_ms + sources.storage.ageMs()),
      count(most(({ lag }) => lag)),
      count(most(({ pending }) => pending)),
      count(most(({ ack_pending: inHand }) => inHand)),
      stream ? percent(stream.used_percent) : text.none,
      count(writer.duplicates),
      count(writer.rejected),
    ],
  };
}

// Those that something was stored of come first.
function writers() {
  const isIdle = (writer) => Number(writer.last_cut_age_ms === null);
  return [...(sources.storage.data?.writers ?? [])].sort((a, b) => isIdle(a) - isIdle(b));
}

// Notes the counters of an answer; each answer counts once.
export function note() {
  const { collector, storage } = sources;
  for (const connection of collector.data?.connections ?? []) {
    frames.note(connection.name, connection.frames, collector.at);
    events.note(connection.name, connection.events, collector.at);
  }
  for (const writer of storage.data?.writers ?? []) {
    stored.note(writer.kind, writer.rows, storage.at);
  }
}

export function forget() {
  for (const rates of [frames, events, stored]) rates.forget();
}

export function render() {
  const exchanges = sources.exchanges.data?.exchanges ?? [];
  fill(byId("venues-rows"), exchanges.map(venueRow));
  show(byId("venues-note"), exchanges.length === 0);
  say(byId("venues-note"), text.venues.empty);
  const streams = sources.streams.data?.data ?? [];
  const kinds = writers().map((writer) => kindRow(writer, streams));
  fill(byId("kinds-rows"), kinds);
  show(byId("kinds-note"), kinds.length === 0);
  say(byId("kinds-note"), text.kinds.empty);
}
