// Silences: of which alerts nobody is told, until when, and why; to make one and to end one.

import { now } from "./clock.js";
import { byId, fill, say, show, state } from "./dom.js";
import { alertsOpen } from "./findings.js";
import { clock } from "./format.js";
import { act, isIn, may, user } from "./session.js";
import { sources } from "./sources.js";
import { text } from "./text.js";

const HOUR_MS = 3_600_000;

const LEVELS = { active: "info", pending: "unknown" };

// A matcher as Alertmanager writes it: a label, an operator, and a value that may be in quotes.
const MATCHER = /[\s,]*([A-Za-z_]\w*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))[\s,]*/y;

const unquoted = (value) => value.replace(/\\(.)/g, (_, char) => (char === "n" ? "\n" : char));

const quoted = (value) => `"${value.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;

// The matchers of a line; null if it is something else.
export function matchersOf(line) {
  const found = [];
  MATCHER.lastIndex = 0;
  while (MATCHER.lastIndex < line.length) {
    const match = MATCHER.exec(line);
    if (match === null) return null;
    const [, name, operator, inQuotes, bare] = match;
    found.push({
      name,
      value: inQuotes === undefined ? bare : unquoted(inQuotes),
      isRegex: operator.endsWith("~"),
      isEqual: operator.startsWith("="),
    });
  }
  return found.length > 0 ? found : null;
}

// The line of some matchers.
export function lineOf(matchers) {
  const one = ({ name, value, isRegex = false, isEqual = true }) => {
    const operator = isRegex ? (isEqual ? "=~" : "!~") : isEqual ? "=" : "!=";
    return name + operator + quoted(value);
  };
  return matchers.map(one).join(" ");
}

// What was made or refused last.
let said = "";

async function attempt(action, words) {
  try {
    await action();
    said = words;
    await sources.silences.ask();
  } catch (failure) {
    said = failure.message;
  }
  // Who has signed out meanwhile is told nothing, and neither is the next one.
  if (!isIn()) said = "";
  render();
}

function submit(event) {
  event.preventDefault();
  const matchers = matchersOf(byId("silence-matchers").value);
  if (matchers === null) {
    said = text.silences.bad;
    render();
    return;
  }
  const startsAt = now();
  const endsAt = startsAt + byId("silence-hours").valueAsNumber * HOUR_MS;
  const silence = {
    matchers,
    startsAt: new Date(startsAt).toISOString(),
    endsAt: new Date(endsAt).toISOString(),
    createdBy: user() ?? text.silences.byKey,
    comment: byId("silence-comment").value.trim(),
  };
  const make = async () => {
    await act("write", "POST", "/api/v2/silences", silence);
    event.target.reset();
  };
  attempt(make, text.silences.made(clock(endsAt)));
}

function expire(id) {
  attempt(() => act("write", "DELETE", `/api/v2/silence/${id}`), text.silences.ended);
}

function row(silence) {
  const { id, matchers, status, endsAt, createdBy, comment } = silence;
  const of = lineOf(matchers);
  const end = { words: text.silences.expire, of, press: () => expire(id) };
  return {
    key: id,
    cells: [
      { words: of, title: id },
      state(LEVELS[status.state] ?? "unknown", text.silences.words[status.state] ?? status.state),
      clock(Date.parse(endsAt)),
      createdBy,
      comment,
      { buttons: may("write") ? [end] : [] },
    ],
  };
}

// Offers what would silence each alert that is open.
function offer() {
  const ofAlert = ({ name, labels }) => {
    const pairs = Object.entries({ alertname: name, ...labels });
    return lineOf(pairs.map(([label, value]) => ({ name: label, value })));
  };
  const lines = [...new Set(alertsOpen().map(ofAlert))];
  const list = byId("silence-offers");
  if ([...list.children].map(({ value }) => value).join() === lines.join()) return;
  const option = (line) => Object.assign(document.createElement("option"), { value: line });
  list.replaceChildren(...lines.map(option));
}

export function render() {
  const silences = (sources.silences.data ?? []).filter(({ status }) => status.state !== "expired");
  fill(byId("silences-rows"), silences.map(row));
  show(byId("silences-table"), silences.length > 0);
  show(byId("silences-note"), sources.silences.data !== null && silences.length === 0);
  say(byId("silences-note"), text.silences.empty);
  show(byId("silence-form"), may("write"));
  say(byId("silence-said"), said);
  offer();
}

export function forget() {
  said = "";
  byId("silence-form").reset();
}

export function start() {
  byId("silence-form").addEventListener("submit", submit);
}
